import { expect, test } from 'vitest'
import type { Device } from '../../src/autograd/device.ts'
import { add } from '../../src/autograd/ops/add.ts'
import { batchNorm } from '../../src/autograd/ops/batch-norm.ts'
import { channels } from '../../src/autograd/ops/channels.ts'
import { concat } from '../../src/autograd/ops/concat.ts'
import { convTranspose2d } from '../../src/autograd/ops/conv-transpose2d.ts'
import { conv2d } from '../../src/autograd/ops/conv2d.ts'
import { maxPool2d } from '../../src/autograd/ops/max-pool2d.ts'
import { mul } from '../../src/autograd/ops/mul.ts'
import { slice } from '../../src/autograd/ops/slice.ts'
import { sum } from '../../src/autograd/ops/sum.ts'
import { concatSlots, type Slot } from '../../src/autograd/slots.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { UNetPlusPlus } from '../../src/nn/networks/unet-plus-plus.ts'
import { testDevice } from '../device.ts'
import { randomValues } from '../oracle.ts'
import { expectClose } from '../reference.ts'

const norm = (x: Tensor, into?: Slot): Tensor => batchNorm(x, { training: true, activation: 'relu', into })

/** Launches of the kernel that copies, in `fn`. */
async function copies(device: Device, fn: () => unknown): Promise<number> {
  const { kernels } = await device.profile(fn, { print: false })
  return kernels.filter((k) => k.kernel.startsWith('move/')).reduce((n, k) => n + k.launches, 0)
}

const leaf = (device: Device, shape: readonly number[], seed: number): Tensor =>
  device.tensor(randomValues(shape, seed), shape, { requiresGrad: true })

test('what was written into slots is concatenated without a copy, forward and backward', async () => {
  const device = await testDevice()
  const shapes = [
    [3, 2, 4, 6],
    [3, 1, 4, 6],
    [3, 5, 4, 6],
  ]
  const xs = shapes.map((s, k) => leaf(device, s, k))
  const upstream = device.tensor(randomValues([3, 8, 4, 6], 9), [3, 8, 4, 6])
  const run = async (slots: readonly Slot[]) => {
    let y: Tensor | undefined
    const n = await copies(device, () => {
      y = concat(
        xs.map((x, k) => norm(x, slots[k])),
        { axis: 1 },
      ).keep()
      y.backward(upstream)
    })
    const grads = await Promise.all(xs.map((x) => x.grad!.data()))
    for (const x of xs) x.grad!.set(new Float32Array(x.size))
    return { n, values: await y!.data(), grads }
  }
  const copied = await run([])
  expect(copied.n).toBe(3)
  // In place, and with one part of three that lies elsewhere.
  const slots = concatSlots(device, shapes)
  const inPlace = await run(slots)
  expect(inPlace.n).toBe(0)
  expect(inPlace.values).toEqual(copied.values)
  expect(inPlace.grads).toEqual(copied.grads)
  const [first, , third] = concatSlots(device, shapes)
  const mixed = await run([first, undefined, third] as Slot[])
  expect(mixed.n).toBe(1)
  expect(mixed.values).toEqual(copied.values)
  expect(mixed.grads).toEqual(copied.grads)
})

/** What may consume a skip `a` beside its concatenation with `up`. */
const consumers = {
  joined: (a: Tensor, up: () => Tensor) => concat([up(), a], { axis: 1 }),
  pooled: (a: Tensor) => maxPool2d(a, { kernelSize: 2 }),
  overlapping: (a: Tensor) => maxPool2d(a, { kernelSize: 3, stride: 1, padding: 1 }),
  squared: (a: Tensor) => mul(a, a),
  convolved: (a: Tensor) => conv2d(a, filter(a.device), { padding: 1 }),
  mixed: (a: Tensor) => conv2d(a, pointwise(a.device)),
  enlarged: (a: Tensor) => convTranspose2d(a, turned(a.device), { stride: 2 }),
}

const filter = (device: Device) => device.tensor(randomValues([2, 3, 3, 3], 5), [2, 3, 3, 3])
const pointwise = (device: Device) => device.tensor(randomValues([16, 3, 1, 1], 7), [16, 3, 1, 1])
const turned = (device: Device) => device.tensor(randomValues([3, 2, 2, 2], 6), [3, 2, 2, 2])

test('a skip that several ops consume: its gradients add up, in any order', async () => {
  const device = await testDevice()
  const shape = [2, 3, 8, 8]
  /** Gradients of the sum of squares of what the named consumers make, in their order. */
  const run = async (names: readonly (keyof typeof consumers)[], slots: boolean) => {
    const [x, z] = [leaf(device, shape, 1), leaf(device, shape, 2)]
    const [first, second] = slots ? concatSlots(device, [shape, shape]) : []
    const a = norm(x, second)
    // Made late, as in a U-Net: its gradient is used up before the skip's others arrive.
    const made = names.map((name) => consumers[name](a, () => norm(z, first)))
    made
      .map((y) => sum(mul(y, y)))
      .reduce((p, q) => add(p, q))
      .backward()
    return [await x.grad!.data(), (await z.grad?.data()) ?? new Float32Array(z.size)]
  }
  const orders: (keyof typeof consumers)[][] = [
    ['pooled', 'joined'],
    ['joined', 'pooled'],
    ['overlapping', 'joined'],
    ['squared', 'joined'],
    ['joined', 'squared'],
    ['convolved', 'joined'],
    ['enlarged', 'joined'],
    ['mixed', 'joined'],
    ['joined', 'enlarged', 'convolved'],
    ['convolved', 'pooled', 'joined'],
    ['pooled', 'squared', 'joined', 'overlapping'],
  ]
  for (const names of orders) {
    // One at a time nothing is added into anything.
    const alone = await Promise.all(names.map((name) => run([name], false)))
    for (const slots of [false, true]) {
      const got = await run(names, slots)
      for (const k of [0, 1]) {
        const want = Float64Array.from(got[k]!, (_, i) => alone.reduce((t, g) => t + g[k]![i]!, 0))
        const what = `${names.join(', ')}${slots ? ' in slots' : ''}: gradient ${k}`
        expectClose(got[k]!, want, 1e-4, 1e-4, what)
      }
    }
  }
})

test('convolutions write into slots, with their bias, ReLU and gradients', async () => {
  const device = await testDevice()
  const parts = [
    [2, 3, 8, 8],
    [2, 2, 8, 8],
  ]
  const run = async (slots: boolean) => {
    const x = leaf(device, [2, 3, 4, 4], 1)
    const z = leaf(device, [2, 3, 8, 8], 2)
    const w = leaf(device, [3, 3, 2, 2], 3)
    const v = leaf(device, [2, 3, 3, 3], 4)
    const [up, skip] = slots ? concatSlots(device, parts) : []
    const bias = device.tensor([0.5, -0.5, 0.25], [3], { requiresGrad: true })
    let joined: Tensor | undefined
    const copied = await copies(device, () => {
      const a = conv2d(z, v, { padding: 1, activation: 'relu', into: skip })
      joined = concat([convTranspose2d(x, w, { bias, stride: 2, into: up }), a], { axis: 1 })
    })
    const values = await joined!.data()
    sum(mul(joined!, joined!)).backward()
    return { copied, all: [values, ...(await Promise.all([x, z, w, v, bias].map((t) => t.grad!.data())))] }
  }
  const [want, got] = [await run(false), await run(true)]
  expect([want.copied, got.copied]).toEqual([2, 0])
  got.all.forEach((values, k) => {
    expectClose(values, want.all[k]!, 1e-5, 1e-5, `array ${k}`)
  })
})

test.each([
  ['depthwise', 3, 3, { kernel: 3, stride: 2, padding: 1, groups: 3 }],
  ['windows of 5×5', 8, 6, { kernel: 5, stride: 1, padding: 2, groups: 2 }],
  ['strides', 10, 8, { kernel: 3, stride: 2, padding: 1, groups: 2 }],
  ['products', 24, 26, { kernel: 1, stride: 1, padding: 0, groups: 2 }],
  ['patches', 64, 64, { kernel: 3, stride: 2, padding: 1, groups: 2 }],
] as const)(
  'groups read and write channels of larger arrays: %s',
  async (_, cin, cout, { kernel, ...options }) => {
    const device = await testDevice()
    const run = async (inPlace: boolean) => {
      const z = leaf(device, [2, 2 * cin, 8, 16], 1)
      const w = leaf(device, [cout, cin / options.groups, kernel, kernel], 2)
      const bias = leaf(device, [cout], 3)
      const whole = mul(z, z)
      const x = inPlace
        ? channels(whole, { first: cin, count: cin })
        : slice(whole, { starts: [0, cin, 0, 0], ends: [2, 2 * cin, 8, 16] })
      const side = 8 / options.stride
      const shape = [2, cout, side, 2 * side]
      const [, second] = inPlace ? concatSlots(device, [shape, shape]) : []
      const y = conv2d(x, w, { ...options, bias, activation: 'relu', into: second })
      const joined = concat([mul(y, y), y], { axis: 1 }).keep()
      sum(mul(joined, joined)).backward()
      return [await joined.data(), ...(await Promise.all([z, w, bias].map((t) => t.grad!.data())))]
    }
    const [want, got] = [await run(false), await run(true)]
    got.forEach((values, k) => {
      expectClose(values, want[k]!, 1e-5, 1e-5, `array ${k}`)
    })
  },
)

test('a 1×1 convolution into a slot: where its kernel cannot write there, its result is copied', async () => {
  const device = await testDevice()
  const shape = [2, 16, 8, 8]
  const x = device.tensor(randomValues([2, 16, 8, 8], 1), [2, 16, 8, 8])
  const w = device.tensor(randomValues([16, 16, 1, 1], 2), [16, 16, 1, 1])
  const want = await conv2d(x, w).data()
  const [up, skip] = concatSlots(device, [shape, shape])
  const made = concat([conv2d(x, w, { into: up }), conv2d(x, w, { into: skip })], { axis: 1 })
  const got = await made.data()
  for (const at of [0, 1024, 2048, 3072]) {
    const part = Math.floor(at / 2048) * 1024
    expectClose(got.subarray(at, at + 1024), want.subarray(part, part + 1024), 1e-6, 1e-6, `from ${at}`)
  }
})

test('an op that knows nothing of channels gets them dense', async () => {
  const device = await testDevice()
  const shape = [2, 3, 4, 4]
  const x = device.tensor(randomValues(shape, 3), shape)
  const want = await norm(x).data()
  const [, slot] = concatSlots(device, [shape, shape])
  const y = norm(x, slot)
  expect(y.channels).toBeDefined()
  const doubled = add(y, y)
  expect([...(await doubled.data())]).toEqual([...want].map((v) => 2 * v))
  expect(await y.data()).toEqual(want)
  const [again] = concatSlots(device, [shape, shape])
  const z = norm(x, again)
  expect(await z.detach().data()).toEqual(want)
  z.set(new Float32Array(z.size).fill(7))
  expect((await z.data()).every((v) => v === 7)).toBe(true)
  const weight = device.tensor(randomValues([4, 3, 3, 3], 5), [4, 3, 3, 3])
  const [, third] = concatSlots(device, [shape, shape])
  expect(await conv2d(norm(x, third), weight, { padding: 1 }).data()).toEqual(
    await conv2d(norm(x), weight, { padding: 1 }).data(),
  )
})

test('a captured step may return channels and take them', async () => {
  const device = await testDevice()
  const shape = [2, 3, 4, 4]
  const x = device.tensor(randomValues(shape, 3), shape)
  const step = device.compile((a: Tensor) => {
    const [up, skip] = concatSlots(device, [shape, shape])
    const [p, q] = [norm(a, up), norm(mul(a, 2), skip)]
    return { p, joined: concat([p, q], { axis: 1 }) }
  })
  const want = await norm(x).data()
  const [slot] = concatSlots(device, [shape, shape])
  for (let k = 0; k < 2; k++) {
    const { p, joined } = step(k === 0 ? x : x.detach())
    expect(await p.data()).toEqual(want)
    expect((await joined.data()).subarray(0, 48)).toEqual(want.subarray(0, 48))
  }
  const { p } = step(norm(x, slot))
  expectClose(await p.data(), await norm(norm(x)).data(), 1e-6, 1e-6, 'channels as argument')
  step.dispose()
})

test('a slot is written once; what does not fit lies elsewhere', async () => {
  const device = await testDevice()
  const shape = [2, 3, 4, 4]
  const [x, z] = [leaf(device, shape, 1), leaf(device, shape, 2)]
  const [up, skip] = concatSlots(device, [shape, shape])
  const first = norm(x, up)
  const kept = await norm(x).data()
  const second = norm(z, up)
  expect(second.channels).toBeUndefined()
  expect(await second.data()).toEqual(await norm(z).data())
  const other = norm(z, skip)
  // The other order, twice the same, and a part whose slot is taken by another: all copied.
  for (const parts of [
    [other, first],
    [first, first],
    [first, second],
  ]) {
    const want = [...(await parts[0]!.detach().data()).subarray(0, 48)]
    expect([...(await concat(parts, { axis: 1 }).data()).subarray(0, 48)]).toEqual(want)
  }
  expect(await first.detach().data()).toEqual(kept)
  expect(norm(leaf(device, [2, 3, 4, 8], 1), concatSlots(device, [shape])[0]).channels).toBeUndefined()
  const odd = [2, 3, 3, 3]
  expect(norm(leaf(device, odd, 1), concatSlots(device, [odd, odd])[0]).channels).toBeUndefined()
  expect(() => concatSlots(device, [shape, [2, 3, 4, 5]])).toThrow(
    'concatSlots: shapes are (N, C, H, W) that agree in N, H and W, got (2, 3, 4, 4) and (2, 3, 4, 5)',
  )
})

test('channels of channels: a concatenation inside a concatenation', async () => {
  const device = await testDevice()
  const shape = [2, 2, 4, 4]
  const run = async (slots: boolean) => {
    const xs = [1, 2, 3].map((seed) => leaf(device, shape, seed))
    const s = slots ? concatSlots(device, [shape, shape]) : []
    const inner = concat([norm(xs[0]!, s[0]), norm(xs[1]!, s[1])], { axis: 1 })
    const outer = concat([norm(xs[2]!), inner], { axis: 1 })
    sum(mul(outer, outer)).backward()
    return Promise.all(xs.map((x) => x.grad!.data()))
  }
  expect(await run(true)).toEqual(await run(false))
})

test('nothing is left behind', async () => {
  const device = await testDevice()
  const shape = [2, 3, 8, 8]
  const [x, z] = [leaf(device, shape, 1), leaf(device, shape, 2)]
  const step = (grad: boolean) =>
    device.scope(() => {
      const [up, skip] = concatSlots(device, [shape, shape])
      const a = norm(x, skip)
      const pooled = maxPool2d(a, { kernelSize: 2 })
      const joined = concat([norm(z, up), a], { axis: 1 })
      if (grad) add(sum(mul(joined, joined)), sum(pooled)).backward()
    })
  step(true)
  const before = device.memory().bytesInUse
  step(true)
  device.noGrad(() => step(false))
  expect(device.memory().bytesInUse).toBe(before)
})

test('U-Net++ copies once for each joined map, and gathers no gradient', async () => {
  const device = await testDevice()
  const encoder = { blocks: [1, 1, 1, 1], features: 8 } as const
  const net = new UNetPlusPlus(device, { encoder, seed: 3 })
  const x = device.tensor(randomValues([2, 1, 64, 64], 1), [2, 1, 64, 64])
  const plain = new UNetPlusPlus(device, { encoder, seed: 3, activationCheckpointing: true })
  net.eval()
  plain.eval()
  const evaluate = (n: UNetPlusPlus) => device.noGrad(() => n.forward(x).keep())
  let y: Tensor | undefined
  // Of ten joined maps the last of the stem's column alone begins with nothing that lies elsewhere.
  expect(await copies(device, () => (y = evaluate(net)))).toBe(9)
  expect(await y!.data()).toEqual(await evaluate(plain).data())
  net.train()
  const upstream = device.tensor(randomValues(y!.shape, 2), y!.shape)
  expect(await copies(device, () => net.forward(x).backward(upstream))).toBe(9)
  net.dispose()
  plain.dispose()
})
