import fc from 'fast-check'
import { expect, test } from 'vitest'
import { castTo } from '../../src/autograd/op.ts'
import { add } from '../../src/autograd/ops/add.ts'
import { type BatchNormOptions, batchNorm, batchNormMaxPool2d } from '../../src/autograd/ops/batch-norm.ts'
import { concat } from '../../src/autograd/ops/concat.ts'
import { maxPool2d } from '../../src/autograd/ops/max-pool2d.ts'
import { mul } from '../../src/autograd/ops/mul.ts'
import { sum } from '../../src/autograd/ops/sum.ts'
import { concatSlots } from '../../src/autograd/slots.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { UNet } from '../../src/nn/networks/unet.ts'
import { inEveryForm, testDevice } from '../device.ts'
import { type Array64, checkGradients, randomValues } from '../oracle.ts'
import { expectClose } from '../reference.ts'

type Pooled = (x: Tensor, options: BatchNormOptions) => readonly [Tensor, Tensor]

/** What the fused op is to give: the two ops, whose own tests hold them to PyTorch and float64. */
const twoOps: Pooled = (x, options) => {
  const y = batchNorm(x, options)
  return [y, maxPool2d(y, { kernelSize: 2 })]
}

interface Case {
  readonly shape: readonly number[]
  readonly relu: boolean
  readonly affine: boolean
  readonly running: boolean
  /** Whose gradients arrive. */
  readonly wanted: 'y' | 'maxima' | 'both'
  /** x has another consumer, which leaves its part of the gradient first. */
  readonly shared: boolean
  /** y lies in the second half of a concatenation, from which its gradient comes, too. */
  readonly slot: boolean
  /** x wants no gradient. */
  readonly frozen?: boolean
}

const numbers = async (t: Tensor): Promise<Float32Array> => (await t.data()) as Float32Array

/** Values, gradients and running statistics of one form of the op. */
async function results(op: Pooled, c: Case): Promise<Record<string, Float32Array>> {
  const device = await testDevice()
  const channels = [c.shape[1]!]
  const leaf = device.parameter(randomValues(c.shape, 3, -2, 2), c.shape, { requiresGrad: !c.frozen })
  const x = mul(leaf, 1)
  const weight = device.parameter(randomValues(channels, 4, 0.5, 2), channels)
  const bias = device.parameter(randomValues(channels, 5), channels)
  const mean = device.parameter(randomValues(channels, 6), channels, { requiresGrad: false })
  const variance = device.parameter(randomValues(channels, 7, 0.5, 2), channels, { requiresGrad: false })
  const slots = c.slot ? concatSlots(device, [c.shape, c.shape]) : []
  const [y, maxima] = op(x, {
    ...(c.affine && { weight, bias }),
    ...(c.running && { runningMean: mean, runningVar: variance }),
    training: true,
    activation: c.relu ? 'relu' : undefined,
    into: slots[1],
  })
  const dotted = (t: Tensor, seed: number) => sum(mul(t, device.tensor(randomValues(t.shape, seed), t.shape)))
  const joined = c.slot ? concat([mul(y, 2), y], { axis: 1 }) : y
  const parts = [
    ...(c.wanted === 'maxima' ? [] : [dotted(joined, 8)]),
    ...(c.wanted === 'y' ? [] : [dotted(maxima, 9)]),
    ...(c.shared ? [dotted(x, 10)] : []),
  ]
  const values = { y: await numbers(y), maxima: await numbers(maxima) }
  parts.reduce((a, b) => add(a, b)).backward()
  const gradients = {
    ...(!c.frozen && { dx: leaf }),
    ...(c.affine && { dweight: weight, dbias: bias }),
  }
  const found: Record<string, Float32Array> = { ...values }
  for (const [name, t] of Object.entries(gradients)) found[name] = await numbers(t.grad!)
  if (c.running) Object.assign(found, { mean: await numbers(mean), variance: await numbers(variance) })
  for (const t of [leaf, weight, bias, mean, variance]) t.dispose()
  return found
}

test('values, gradients and running statistics are those of the two ops', async () => {
  const shape = fc.tuple(
    fc.integer({ min: 1, max: 4 }),
    fc.constantFrom(1, 3, 8, 16, 24, 128),
    fc.constantFrom(2, 4, 6, 16),
    fc.constantFrom(8, 16, 24, 40),
  )
  const each = fc.record({
    shape,
    relu: fc.boolean(),
    affine: fc.boolean(),
    running: fc.boolean(),
    wanted: fc.constantFrom('y' as const, 'maxima' as const, 'both' as const),
    shared: fc.boolean(),
    slot: fc.boolean(),
  })
  const property = fc.asyncProperty(each, async (c) => {
    const got = await results(batchNormMaxPool2d, c)
    const want = await results(twoOps, c)
    for (const [name, values] of Object.entries(want)) {
      // Of few values the gradient is a small difference of large terms, and of a channel it sums all of them.
      const loose = name.startsWith('d')
      expectClose(got[name]!, values, loose ? 1e-4 : 1e-5, loose ? 1e-4 : 1e-5, name)
    }
  })
  await inEveryForm(() => fc.assert(property, { numRuns: 30, seed: 11 }))
})

test('channels of many values, of which lanes sum up parts', () =>
  inEveryForm(async () => {
    const form = {
      relu: true,
      affine: true,
      running: true,
      wanted: 'both',
      shared: false,
      slot: false,
    } as const
    const c = { ...form, shape: [2, 16, 64, 32] }
    const got = await results(batchNormMaxPool2d, c)
    const want = await results(twoOps, c)
    for (const [name, values] of Object.entries(want)) expectClose(got[name]!, values, 1e-4, 1e-3, name)
  }))

test('where x wants no gradient, weight and bias have theirs', () =>
  inEveryForm(async () => {
    const form = {
      relu: true,
      affine: true,
      running: false,
      wanted: 'both',
      shared: false,
      slot: false,
    } as const
    const c = { ...form, shape: [2, 16, 6, 8], frozen: true }
    const got = await results(batchNormMaxPool2d, c)
    const want = await results(twoOps, c)
    for (const [name, values] of Object.entries(want)) expectClose(got[name]!, values, 1e-5, 1e-4, name)
  }))

test('the maxima and their gradient are those of float64', async () => {
  const shape = [2, 16, 4, 8]
  const oracle = ({ data }: Array64): Float64Array => {
    const y = new Float64Array(data.length)
    for (let k = 0; k < 16; k++) {
      const at = [...data.keys()].filter((i) => Math.floor(i / 32) % 16 === k)
      const mean = at.reduce((s, i) => s + data[i]!, 0) / at.length
      const variance = at.reduce((s, i) => s + (data[i]! - mean) ** 2, 0) / at.length
      for (const i of at) y[i] = (data[i]! - mean) / Math.sqrt(variance + 1e-5)
    }
    return Float64Array.from({ length: y.length / 4 }, (_, o) => {
      const [plane, i, j] = [Math.floor(o / 8), Math.floor(o / 4) % 2, o % 4]
      const first = plane * 32 + 16 * i + 2 * j
      return Math.max(y[first]!, y[first + 1]!, y[first + 8]!, y[first + 9]!)
    })
  }
  // Apart by more than a finite difference.
  const data = Float32Array.from(
    [...randomValues(shape, 9).entries()].sort((a, b) => a[1] - b[1]).map(([i]) => i / 100),
  )
  await inEveryForm(() =>
    checkGradients((x) => batchNormMaxPool2d(x, { training: true })[1], oracle, [{ shape, data }], {
      gradRtol: 1e-3,
      gradAtol: 1e-4,
    }),
  )
})

test('of equal values the first takes the gradient, and a NaN is a maximum', () =>
  inEveryForm(async () => {
    const device = await testDevice()
    const shape = [1, 16, 2, 8]
    // Behind ReLU all of the first channel are 0 but one of the last window.
    const values = new Float32Array(256).fill(-1)
    values[15] = 3
    values[16] = Number.NaN
    const x = device.parameter(values, shape)
    const bias = device.parameter(new Float32Array(16), [16])
    const [y, maxima] = batchNormMaxPool2d(x, { bias, training: true, activation: 'relu' })
    const top = (await y.data())[15]!
    expect([...(await maxima.data())].slice(0, 8)).toEqual([0, 0, 0, top, ...Array(4).fill(Number.NaN)])
    maxima.backward(device.ones(maxima.shape))
    // The gradient of a 0 behind ReLU is 0: one term is left.
    expect([...(await bias.grad!.data())].slice(0, 2)).toEqual([1, 0])
  }))

test('halves that are equal once stored are equal to the gradient, too', () =>
  inEveryForm(async () => {
    const device = await testDevice()
    if (!device.adapter.f16) return
    const shape = [2, 16, 16, 16]
    const values = randomValues(shape, 12, -2, 2)
    const gradient = async (op: Pooled) => {
      const leaf = device.parameter(values, shape)
      const x = castTo(leaf, 'float16')
      // About 50 halves lie 1/32 apart.
      const [y, maxima] = op(x, { bias: device.full([16], 50), training: true })
      const up = device.tensor(randomValues(maxima.shape, 13), maxima.shape, { dtype: 'float16' })
      const stored = await numbers(y)
      maxima.backward(up)
      const found = { y: stored, dx: await numbers(leaf.grad!) }
      leaf.dispose()
      return found
    }
    const [got, want] = [await gradient(batchNormMaxPool2d), await gradient(twoOps)]
    expect(got.y).toEqual(want.y)
    // Half a unit of a half; another maximum of a window would be hundreds of times that.
    expectClose(got.dx, want.dx, 1e-3, 2e-3, 'dx')
  }))

test('shapes without kernels, evaluation and tracing take two ops', async () => {
  const device = await testDevice()
  const running = { runningMean: device.zeros([16]), runningVar: device.ones([16]) }
  const isOne = (shape: number[], options: BatchNormOptions) => {
    const x = device.parameter(randomValues(shape), shape)
    const [y, maxima] = batchNormMaxPool2d(x, options)
    expect(maxima.shape).toEqual(twoOps(x, options)[1].shape)
    return y.node === maxima.node
  }
  expect(isOne([2, 16, 4, 8], { training: true })).toBe(true)
  expect(isOne([2, 3, 4, 8], { training: true })).toBe(true)
  expect(isOne([2, 1, 128, 64], { training: true })).toBe(false)
  expect(isOne([2, 16, 256, 256], { training: true })).toBe(false)
  for (const [h, w] of [
    [5, 8],
    [4, 12],
    [4, 4],
  ] as const)
    expect(isOne([2, 16, h, w], { training: true })).toBe(false)
  expect(isOne([2, 16, 4, 8], running)).toBe(false)
  const { applied, release } = device.trace([2, 16, 4, 8], (x) => batchNormMaxPool2d(x, { training: true }))
  expect(applied.map(({ op }) => op)).toEqual(['batchNorm', 'maxPool2d'])
  release()
  expect(() => batchNormMaxPool2d(device.zeros([2, 16, 4, 8]), {})).toThrow(/needs runningMean/)
  const flat = device.zeros([2, 16, 1, 8])
  expect(() => batchNormMaxPool2d(flat, { ...running, training: true })).toThrow(/does not fit/)
  expect(await numbers(running.runningVar)).toEqual(new Float32Array(16).fill(1))
})

test('a training step of the U-Net launches no pooling', async () => {
  const device = await testDevice()
  const net = new UNet(device, { features: 16 })
  net.train()
  const x = device.tensor(randomValues([1, 1, 64, 64]), [1, 1, 64, 64])
  const { kernels } = await device.profile(
    () =>
      device.scope(() => {
        sum(net.forward(x)).backward()
      }),
    { print: false },
  )
  const launches = (file: string) =>
    kernels.filter((k) => k.kernel.startsWith(file)).reduce((n, k) => n + k.launches, 0)
  expect(launches('max_pool2d')).toBe(0)
  expect(launches('batch_norm_pooled')).toBeGreaterThanOrEqual(8)
})
