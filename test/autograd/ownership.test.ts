import { expect, test } from 'vitest'
import { add } from '../../src/autograd/ops/add.ts'
import { argmax } from '../../src/autograd/ops/argmax.ts'
import { conv2d } from '../../src/autograd/ops/conv2d.ts'
import { maxPool2d } from '../../src/autograd/ops/max-pool2d.ts'
import { mul } from '../../src/autograd/ops/mul.ts'
import { permute } from '../../src/autograd/ops/permute.ts'
import { sum } from '../../src/autograd/ops/sum.ts'
import { ParameterBlock } from '../../src/autograd/parameters.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { UNet } from '../../src/nn/networks/unet.ts'
import { openDevice, testDevice } from '../device.ts'

test('a scope frees what was made in it, except what it returns and what was kept', async () => {
  const device = await testDevice()
  const x = device.tensor([1, 2, 3])
  let inner: Tensor | undefined
  let kept: Tensor | undefined
  const { y } = device.scope(() => {
    inner = mul(x, x)
    kept = add(x, x).keep()
    return { y: add(inner, x) }
  })
  expect(inner!.freed).toBe(true)
  expect(kept!.freed).toBe(false)
  expect([...(await y.data())]).toEqual([2, 6, 12])
  expect(() => add(inner!, x)).toThrow(
    /add: the tensor \(3\) made by mul was freed \(at the end of its scope\)/,
  )
})

test('a scope refuses async functions', async () => {
  const device = await testDevice()
  expect(() => device.scope(async () => 1)).toThrow(/must not be async/)
})

test('a cotangent that two inputs share is summed without being overwritten', async () => {
  const device = await testDevice()
  const x = device.tensor([3], [1], { requiresGrad: true })
  // x + x passes one cotangent to x twice; y is used twice.
  const y = add(x, x)
  const z = add(add(y, y), mul(y, y))
  z.backward()
  // z = 2y + y², y = 2x: dz/dx = (2 + 2y)·2 = 28
  expect(await x.grad!.item()).toBe(28)
})

test('gradients accumulate over backward calls', async () => {
  const device = await testDevice()
  const x = device.tensor([1, 2], [2], { requiresGrad: true })
  for (let i = 0; i < 3; i++) sum(mul(x, x)).backward()
  expect([...(await x.grad!.data())]).toEqual([6, 12])
})

test.each([
  ['in a block', true],
  ['alone', false],
])(
  'grad = undefined of a parameter %s: the next gradients begin at zero, by backward and in compiled steps',
  async (_, packed) => {
    const device = await testDevice()
    const [w, other] = [1, 2].map((v) => device.parameter(Float32Array.of(v, 2 * v), [2])) as [Tensor, Tensor]
    if (packed) new ParameterBlock(device, [w, other])
    const backward = () => sum(add(mul(w, w), mul(other, other))).backward()
    const gradients = async () => [[...(await w.grad!.data())], [...(await other.grad!.data())]]
    // Nothing to reset yet.
    w.grad = undefined
    expect(w.grad).toBeUndefined()
    backward()
    backward()
    w.grad = undefined
    expect(await gradients()).toEqual([
      [0, 0],
      [8, 16],
    ])
    backward()
    expect(await gradients()).toEqual([
      [2, 4],
      [12, 24],
    ])
    const accumulate = device.compile(backward)
    accumulate()
    w.grad = undefined
    accumulate()
    expect((await gradients())[0]).toEqual([2, 4])
    // As a part of the step itself.
    const afresh = device.compile(() => {
      w.grad = undefined
      backward()
    })
    afresh()
    afresh()
    expect(await gradients()).toEqual([
      [2, 4],
      [28, 56],
    ])
  },
)

test('noGrad records nothing; detach cuts the graph', async () => {
  const device = await testDevice()
  const x = device.tensor([2], [1], { requiresGrad: true })
  const silent = device.noGrad(() => mul(x, x))
  expect(() => silent.backward()).toThrow(/no gradient flows to this tensor/)
  const y = mul(x, mul(x, x).detach())
  y.backward()
  expect(await x.grad!.item()).toBe(4)
})

test('an op without a gradient is named by the backward that needs it', async () => {
  const device = await testDevice()
  const x = device.tensor([1, 5, 2], [3], { requiresGrad: true })
  const i = argmax(x, { axis: 0 })
  expect(() => i.backward()).toThrow(/argmax has no gradient/)
})

test('backward wants an upstream of the right shape', async () => {
  const device = await testDevice()
  const x = device.tensor([1, 2], [2], { requiresGrad: true })
  expect(() => mul(x, x).backward()).toThrow(/the tensor is \(2\); pass an upstream gradient/)
  expect(() => mul(x, x).backward(device.ones([3]))).toThrow(/upstream is \(3\), the tensor is \(2\)/)
})

test('after the second of many eager steps the bytes held stay where they are', async () => {
  const device = await testDevice()
  const w = device.parameter(new Float32Array(1000).fill(0.5), [1000])
  const step = () =>
    device.scope(() => {
      const x = device.tensor(new Float32Array(1000).fill(2), [1000])
      sum(mul(mul(w, x), add(w, x))).backward()
    })
  step()
  step()
  await device.idle()
  const { bytesHeld, storages } = device.memory()
  for (let i = 0; i < 100; i++) step()
  await device.idle()
  expect(device.memory().bytesHeld).toBe(bytesHeld)
  // Fewer is possible: what earlier tests forgot may be collected meanwhile.
  expect(device.memory().storages).toBeLessThanOrEqual(storages)
})

test('a tensor of another device, or wrong data, is refused by a sentence', async () => {
  const device = await testDevice()
  expect(() => device.tensor([1, 2, 3], [2, 2])).toThrow('tensor: shape (2, 2) wants 4 values, got 3')
  expect(() => device.tensor(Int32Array.of(1), [1], { requiresGrad: true })).toThrow(/only float32/)
  expect(() => device.zeros([1.5])).toThrow(/whole numbers/)
  const x = device.tensor([1, 2])
  expect(() => x.set(Float32Array.of(1))).toThrow(/the tensor holds 2 values of float32 \(2\), got 1/)
})

test('a forgotten, misspelt or missing argument is refused by the op, not by JavaScript', async () => {
  const device = await testDevice()
  const x = device.zeros([1, 1, 4, 4])
  // What a caller without a type checker may write.
  const call =
    (f: unknown, ...args: unknown[]) =>
    () =>
      (f as (...a: unknown[]) => unknown)(...args)
  expect(call(maxPool2d, x)).toThrow(/maxPool2d: pass its options as the last argument: { kernelSize, stride/)
  expect(call(conv2d, x)).toThrow(/conv2d: pass a weight/)
  expect(call(conv2d, x, x, { strides: 2 })).toThrow(
    /conv2d: there is no option 'strides'; it knows bias, stride/,
  )
  expect(call(permute, x, [0, 1, 3, 2])).toThrow(/permute: pass its options/)
  expect(call(mul, x)).toThrow(/mul: /)
})

test('freeing what a recorded launch still reads neither submits nor spoils it', async () => {
  const device = await testDevice()
  device.flush()
  const p = device.parameter(Float32Array.of(1, 2), [2])
  const y = add(p, 1)
  const { submissions } = device.counters
  p.dispose()
  expect(device.counters.submissions).toBe(submissions)
  expect([...(await y.data())]).toEqual([2, 3])
  // Timed one by one, submissions wait for each other: the buffer waits, too.
  const profiled: number[][] = []
  await device.profile(
    async () => {
      const q = device.parameter(Float32Array.of(3), [1])
      const z = add(q, 1)
      q.dispose()
      profiled.push([...(await z.data())])
    },
    { print: false },
  )
  expect(profiled).toEqual([[4]])
})

test('a network is built in one submission', async () => {
  const device = await openDevice()
  const net = new UNet(device, { features: 2 })
  await device.idle()
  expect(net.parameters().length).toBeGreaterThan(50)
  expect(device.counters.submissions).toBe(1)
  device.destroy()
})
