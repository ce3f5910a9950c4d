import fc from 'fast-check'
import { expect, test } from 'vitest'
import { add } from '../../src/autograd/ops/add.ts'
import { batchNorm, batchNormShape } from '../../src/autograd/ops/batch-norm.ts'
import { mul } from '../../src/autograd/ops/mul.ts'
import { sum } from '../../src/autograd/ops/sum.ts'
import { ParameterBlock } from '../../src/autograd/parameters.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { inEveryForm, testDevice } from '../device.ts'
import { type Array64, checkGradients, randomValues } from '../oracle.ts'
import { expectClose, reference, runCase } from '../reference.ts'

/** Mean and biased variance of each channel in float64. */
function moments({ data, shape }: Array64): { mean: Float64Array; variance: Float64Array } {
  const [n, c, h, w] = shape as [number, number, number, number]
  const mean = new Float64Array(c)
  const variance = new Float64Array(c)
  const count = n * h * w
  data.forEach((v, i) => {
    mean[Math.floor(i / (h * w)) % c]! += v / count
  })
  data.forEach((v, i) => {
    const k = Math.floor(i / (h * w)) % c
    variance[k]! += (v - mean[k]!) ** 2 / count
  })
  return { mean, variance }
}

interface Form {
  readonly training: boolean
  readonly relu: boolean
  readonly affine: boolean
}

/** batchNorm in float64: x, weight, bias, running mean, running variance. */
const oracle =
  ({ training, relu, affine }: Form) =>
  (...inputs: Array64[]): Float64Array => {
    const x = inputs[0]!
    const [, c, h, w] = x.shape as [number, number, number, number]
    const running = inputs.slice(affine ? 3 : 1)
    const s = training ? moments(x) : { mean: running[0]!.data, variance: running[1]!.data }
    return x.data.map((v, i) => {
      const k = Math.floor(i / (h * w)) % c
      const xhat = (v - s.mean[k]!) / Math.sqrt(s.variance[k]! + 1e-5)
      const y = affine ? xhat * inputs[1]!.data[k]! + inputs[2]!.data[k]! : xhat
      return relu ? Math.max(0, y) : y
    })
  }

const call =
  ({ training, relu, affine }: Form) =>
  (...t: Tensor[]): Tensor => {
    const [runningMean, runningVar] = t.slice(affine ? 3 : 1)
    return batchNorm(t[0]!, {
      ...(affine ? { weight: t[1], bias: t[2] } : {}),
      ...(training ? {} : { runningMean, runningVar }),
      training,
      activation: relu ? 'relu' : undefined,
    })
  }

const file = reference('ops')

test.each(file.cases.filter((c) => c.op === 'batchNorm'))('PyTorch: $name', async (c) => {
  const device = await testDevice()
  await runCase(
    device,
    file,
    c,
    (inputs, attrs) => {
      const { x, ...named } = Object.fromEntries(c.inputs.map((name, i) => [name, inputs[i]]))
      const y = batchNorm(x!, { ...named, ...attrs })
      return c.outputs.length > 1 ? [y, named.runningMean!, named.runningVar!] : [y]
    },
    { rtol: 1e-5, atol: 3e-6, gradRtol: 5e-5, gradAtol: 2e-5 },
  )
})

test('any shape: values and gradients of the float64 oracle', async () => {
  const shape = fc.tuple(
    fc.integer({ min: 1, max: 4 }),
    fc.constantFrom(1, 2, 3, 5, 8, 16, 17),
    fc.constantFrom(1, 2, 3, 5, 8, 16),
    fc.constantFrom(1, 2, 4, 7, 9, 32),
  )
  const form = fc.record({ training: fc.boolean(), relu: fc.boolean(), affine: fc.boolean() })
  const property = fc.asyncProperty(shape, form, async (x, f) => {
    // Of very few values the gradient is a small difference of large terms.
    fc.pre(!f.training || x[0] * x[2] * x[3] >= 6)
    const c = [x[1]]
    const inputs = [
      { shape: x },
      ...(f.affine ? [{ shape: c, low: 0.5, high: 2 }, { shape: c }] : []),
      ...(f.training
        ? []
        : [
            { shape: c, grad: false },
            { shape: c, low: 0.5, high: 2, grad: false },
          ]),
    ]
    await checkGradients(call(f), oracle(f), inputs, {
      maxElements: 10,
      rtol: 2e-5,
      atol: 1e-5,
      gradRtol: 2e-4,
      gradAtol: 2e-4,
    })
  })
  await inEveryForm(() => fc.assert(property, { numRuns: 40, seed: 5 }))
})

test('about a mean of a thousand values and gradients keep their digits', async () => {
  const shape = [3, 2, 16, 24]
  const data = randomValues(shape, 8, -1.7, 1.7).map((v) => v + 1000)
  for (const relu of [false, true])
    await inEveryForm(() =>
      checkGradients(
        call({ training: true, relu, affine: true }),
        oracle({ training: true, relu, affine: true }),
        [{ shape, data }, { shape: [2], low: 0.5, high: 2 }, { shape: [2] }],
        { maxElements: 10, rtol: 1e-6, atol: 2e-6, eps: 1e-6, gradRtol: 1e-4, gradAtol: 1e-4 },
      ),
    )
})

test('statistics stay sound: a mean of a thousand spreads, outliers in front, many runs', () =>
  inEveryForm(soundStatistics))

async function soundStatistics(): Promise<void> {
  const device = await testDevice()
  for (const [offset, outlier, shape] of [
    [1000, 0, [3, 2, 73, 81]],
    [0, 3000, [2, 2, 96, 96]],
    [0, 3000, [2, 2, 64, 96]],
    [0, 3000, [2000, 4, 1, 1]],
    [0, 3000, [8192, 1, 1, 1]],
    [1000, 0, [3, 2, 33, 47]],
    [-5, 0, [1, 1, 300, 301]],
    [3, 0, [1, 1, 512, 512]],
    [1000, 0, [2, 16, 16, 24]],
    [1000, 0, [3, 16, 16, 24]],
    [1000, 0, [8, 128, 31, 33]],
    [0, 3000, [2, 16, 8, 32]],
    [-5, 0, [4, 16, 64, 64]],
  ] as const) {
    const values = randomValues(shape, 4).map((v) => v + offset)
    if (outlier) values[0] = outlier
    const x = device.tensor(values, shape)
    const c = shape[1]
    const runningMean = device.zeros([c])
    const runningVar = device.zeros([c])
    batchNorm(x, { training: true, momentum: 1, runningMean, runningVar }).dispose()
    const { mean, variance } = moments({ data: Float64Array.from(values), shape })
    const count = values.length / c
    expectClose(await runningMean.data(), mean, 2e-6, 4e-6, `mean about ${offset}`)
    expectClose(
      await runningVar.data(),
      variance.map((v) => (v * count) / (count - 1)),
      1e-5,
      0,
      `variance about ${offset}`,
    )
  }
}

test('a channel of few values takes one launch each way', () =>
  inEveryForm(async () => {
    const device = await testDevice()
    const launches = async (shape: number[]) => {
      const x = device.parameter(randomValues(shape), shape)
      const call = () => batchNorm(x, { training: true }).backward(device.ones(shape))
      const profile = await device.profile(call, { print: false })
      const names = profile.kernels.map((k) => k.kernel.split('/'))
      return names.filter(([file]) => file!.startsWith('batch_norm')).map(([, entry]) => entry!)
    }
    expect((await launches([2, 16, 8, 8])).sort()).toEqual(['channel_gradient', 'normalize_channel'])
    expect((await launches([2, 16, 7, 7])).sort()).toEqual(['channel_gradient_any', 'normalize_channel_any'])
    expect((await launches([2, 3, 8, 8])).sort()).toEqual(['channel_gradient', 'normalize_channel'])
    // The last one launch and the first two: by the vec4s that a channel lies in, on CPU drivers up to eight channels by their number.
    const { cpu } = (await testDevice()).adapter
    const bounds = cpu
      ? [
          [
            [1, 1, 64, 128],
            [1, 1, 65, 128],
          ],
          [
            [4, 4, 64, 128],
            [5, 4, 64, 128],
          ],
          [
            [4, 9, 128, 128],
            [5, 9, 128, 128],
          ],
          [
            [1024, 1, 1, 1],
            [1025, 1, 1, 1],
          ],
        ]
      : [
          [
            [1, 17, 64, 64],
            [1, 17, 65, 64],
          ],
        ]
    for (const [one, two] of bounds) {
      expect(await launches(one!)).toHaveLength(2)
      expect(await launches(two!)).toContain('gradient_sums')
    }
    expect(await launches([1, 16, 512, 512])).toContain('normalize_batch')
  }))

// On CPU drivers a channel is a lane's in the first five, a workgroup's in the others.
test.each([
  [8, 64, 1, 1],
  [2, 64, 3, 3],
  [4, 64, 4, 4],
  [4, 16, 5, 5],
  [3, 24, 9, 13],
  [3, 17, 9, 13],
  [3, 16, 19, 19],
])('channels in one launch, rows of any length, %i×%i×%i×%i', (...shape) =>
  inEveryForm(() => {
    const form = { training: true, relu: true, affine: true }
    const inputs = [{ shape }, { shape: [shape[1]!], low: 0.5, high: 2 }, { shape: [shape[1]!] }]
    return checkGradients(call(form), oracle(form), inputs, {
      maxElements: 20,
      rtol: 2e-5,
      atol: 1e-5,
      gradRtol: 2e-4,
      gradAtol: 2e-4,
    })
  }),
)

// More values than a workgroup takes, in long rows and short ones, that are whole vec4s and are not.
test.each([
  [2, 1, 72, 64],
  [3, 1, 53, 61],
  [4, 2, 64, 65],
  [600, 1, 4, 4],
  [1025, 1, 3, 3],
])('channels in two launches, %i×%i×%i×%i', (...shape) =>
  inEveryForm(async () => {
    for (const training of [true, false]) {
      const form = { training, relu: true, affine: true }
      const c = [shape[1]!]
      const positive = { shape: c, low: 0.5, high: 2 }
      const running = [
        { shape: c, grad: false },
        { ...positive, grad: false },
      ]
      await checkGradients(
        call(form),
        oracle(form),
        [{ shape }, positive, { shape: c }, ...(training ? [] : running)],
        {
          maxElements: 6,
          rtol: 2e-5,
          atol: 1e-5,
          gradRtol: 2e-4,
          gradAtol: 2e-4,
        },
      )
    }
  }),
)

test.each([
  [2, 16, 4, 8],
  [4, 2, 64, 65],
  [2, 16, 7, 7],
  [2, 64, 2, 2],
  [2, 3, 5, 8],
])('a NaN in a channel makes its running statistics NaN, and no other, %i×%i×%i×%i', (...shape) =>
  inEveryForm(async () => {
    const device = await testDevice()
    const [n, c, h, w] = shape as [number, number, number, number]
    const values = randomValues(shape)
    values[h * w] = Number.NaN
    const [mean, variance] = [device.zeros([c]), device.ones([c])]
    batchNorm(device.tensor(values, [n, c, h, w]), {
      runningMean: mean,
      runningVar: variance,
      training: true,
    })
    for (const t of [mean, variance])
      expect([...(await t.data())].map(Number.isNaN)).toEqual(Array.from({ length: c }, (_, i) => i === 1))
  }),
)

test('where x wants no gradient, weight and bias have theirs', async () => {
  const form = { training: true, relu: true, affine: true }
  const inputs = [{ shape: [2, 3, 5, 8], grad: false }, { shape: [3], low: 0.5, high: 2 }, { shape: [3] }]
  await inEveryForm(() => checkGradients(call(form), oracle(form), inputs))
})

test('a weight of zero, below zero and a constant channel', async () => {
  const device = await testDevice()
  const values = randomValues([2, 3, 4, 4], 6)
  values.forEach((_, i) => {
    if (Math.floor(i / 16) % 3 === 2) values[i] = 5
  })
  const [weight, bias] = [Float32Array.of(0, -2, 3), Float32Array.of(1, 0.5, -1)]
  const form = { training: true, relu: true, affine: true }
  const y = call(form)(
    device.tensor(values, [2, 3, 4, 4]),
    device.tensor(weight, [3]),
    device.tensor(bias, [3]),
  )
  const exact = [values, weight, bias].map((v, k) => ({
    data: Float64Array.from(v),
    shape: k === 0 ? [2, 3, 4, 4] : [3],
  }))
  expectClose(await y.data(), oracle(form)(...exact), 1e-5, 1e-5, 'values')
})

test('parameters in one block: gradients are added into theirs', async () => {
  const device = await testDevice()
  const weight = device.parameter(Float32Array.of(1, 2, 3), [3])
  const bias = device.parameter(Float32Array.of(0, 1, 0), [3])
  new ParameterBlock(device, [weight, bias])
  const mean = device.parameter(new Float32Array(3), [3], { requiresGrad: false })
  const variance = device.parameter(new Float32Array(3).fill(1), [3], { requiresGrad: false })
  new ParameterBlock(device, [mean, variance])
  const x = device.tensor(randomValues([2, 3, 4, 4]), [2, 3, 4, 4])
  const step = async (activation?: 'relu') => {
    const y = batchNorm(x, {
      weight,
      bias,
      runningMean: mean,
      runningVar: variance,
      training: true,
      activation,
    })
    y.backward(device.ones(y.shape))
    return [...(await bias.grad!.data())]
  }
  expect(await step()).toEqual([32, 32, 32])
  expect(await step()).toEqual([64, 64, 64])
  await step('relu')
  expect((await mean.data()).every((v) => v !== 0)).toBe(true)
})

test.each([
  [2, 16, 4, 8],
  [2, 3, 5, 3],
  [2, 16, 5, 3],
  [1, 16, 64, 64],
])('where x has other consumers its gradient is added to theirs, %i×%i×%i×%i', (...shape) =>
  inEveryForm(async () => {
    const device = await testDevice()
    const values = randomValues(shape)
    const gradient = async (inner: boolean, consumers: readonly ('norm' | 'add')[]) => {
      const leaf = device.parameter(values, shape)
      const x = inner ? mul(leaf, 1) : leaf
      const results = consumers.map((c) => (c === 'norm' ? mul(batchNorm(x, { training: true }), 1) : x))
      const product = mul(
        results.reduce((a, b) => add(a, b)),
        device.tensor(randomValues(shape, 2), shape),
      )
      const profile = await device.profile(() => sum(product).backward(), { print: false })
      const data = await leaf.grad!.data()
      leaf.dispose()
      // The leaf's own, and what the tape had to add besides.
      const added = profile.kernels.filter((k) => k.op === 'backward: accumulate')
      return { data, added: added.reduce((n, k) => n + k.launches, 0) }
    }
    const alone = await gradient(true, ['norm'])
    const identity = await gradient(true, ['add'])
    for (const inner of [true, false]) {
      const both = await gradient(inner, ['norm', 'add'])
      const want = alone.data.map((v, i) => v + identity.data[i]!)
      expectClose(both.data, want, 1e-5, 1e-5, 'both')
      if (inner) expect(both.added).toBe(alone.added)
    }
  }),
)

test('what does not fit is refused by a sentence', async () => {
  const device = await testDevice()
  const no = (f: () => unknown, text: string) => expect(f).toThrow(text)
  no(() => batchNormShape([1, 3, 1, 1], true), 'batchNorm: training needs at least 2 values a channel')
  const x = device.zeros([1, 3, 2, 2])
  no(() => batchNorm(x), 'batchNorm: evaluation needs runningMean and runningVar; got none')
  no(
    () => batchNorm(x, { training: true, weight: device.zeros([2]) }),
    'batchNorm: weight must be float32 (3), one value a channel of x, got float32 (2)',
  )
  no(
    () => batchNorm(x, { training: true, runningMean: device.zeros([3]) }),
    'give both runningMean and runningVar, or neither; got runningMean',
  )
})
