import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { convTranspose2d, convTranspose2dShape } from '../../src/autograd/ops/conv-transpose2d.ts'
import { conv2d, conv2dShape } from '../../src/autograd/ops/conv2d.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { tune } from '../../src/gpu/tune.ts'
import { tunerOf } from '../../src/gpu/tuner.ts'
import { testDevice } from '../device.ts'
import { type Array64, adjoint, checkGradients, randomValues } from '../oracle.ts'
import { expectClose, reference, runCase } from '../reference.ts'

type Two = readonly [number, number]
interface Geometry {
  readonly stride: Two
  readonly padding: Two
  readonly dilation: Two
  readonly groups: number
}

/** Every (input, weight, output) triple of flat indices that a convolution multiplies. */
function* taps(x: readonly number[], w: readonly number[], out: Two, g: Geometry) {
  const [n, cin, height, width] = x as [number, number, number, number]
  const [cout, cinG, kh, kw] = w as [number, number, number, number]
  const [outH, outW] = out
  for (let b = 0; b < n; b++)
    for (let o = 0; o < cout; o++)
      for (let c = 0; c < cinG; c++) {
        const ci = Math.floor(o / (cout / g.groups)) * cinG + c
        for (let k = 0; k < kh; k++)
          for (let l = 0; l < kw; l++)
            for (let i = 0; i < outH; i++)
              for (let j = 0; j < outW; j++) {
                const iy = i * g.stride[0] - g.padding[0] + k * g.dilation[0]
                const ix = j * g.stride[1] - g.padding[1] + l * g.dilation[1]
                if (iy < 0 || iy >= height || ix < 0 || ix >= width) continue
                yield [
                  ((b * cin + ci) * height + iy) * width + ix,
                  ((o * cinG + c) * kh + k) * kw + l,
                  ((b * cout + o) * outH + i) * outW + j,
                ] as const
              }
      }
}

/** conv2d in float64. */
function convOracle(g: Geometry) {
  return (x: Array64, w: Array64, bias?: Array64): Float64Array => {
    const { n, cout, outH, outW } = conv2dShape(x.shape, w.shape, g)
    const y = new Float64Array(n * cout * outH * outW)
    if (bias) for (let i = 0; i < y.length; i++) y[i] = bias.data[Math.floor(i / (outH * outW)) % cout]!
    for (const [xi, wi, yi] of taps(x.shape, w.shape, [outH, outW], g)) y[yi]! += x.data[xi]! * w.data[wi]!
    return y
  }
}

/** convTranspose2d in float64: the same triples, read the other way. */
function transposeOracle(g: Geometry, outputPadding: Two) {
  return (x: Array64, w: Array64, bias?: Array64): Float64Array => {
    const s = convTranspose2dShape(x.shape, w.shape, { ...g, outputPadding })
    const y = new Float64Array(s.n * s.cin * s.h * s.w)
    if (bias) for (let i = 0; i < y.length; i++) y[i] = bias.data[Math.floor(i / (s.h * s.w)) % s.cin]!
    for (const [yi, wi, xi] of taps([s.n, s.cin, s.h, s.w], w.shape, [s.outH, s.outW], g))
      y[yi]! += x.data[xi]! * w.data[wi]!
    return y
  }
}

const withBias =
  (op: typeof conv2d, options: object) =>
  (x: Tensor, w: Tensor, bias?: Tensor): Tensor =>
    op(x, w, { ...options, bias })

const file = reference('ops')
// Gradients of weights of some hundred terms, by Winograd along the rows, are up to 2.4e-5 off; conv2d-variants.test.ts holds them
// to the size of their terms.
const tolerance = { rtol: 1e-5, atol: 2e-6, gradRtol: 2e-5, gradAtol: 3e-5 }

describe('conv2d', () => {
  test.each(file.cases.filter((c) => c.op === 'conv2d'))('PyTorch: $name', async (c) => {
    const device = await testDevice()
    await runCase(device, file, c, ([x, w, bias], attrs) => conv2d(x!, w!, { ...attrs, bias }), tolerance)
  })

  const geometry = fc.record({
    n: fc.integer({ min: 1, max: 3 }),
    groups: fc.constantFrom(1, 1, 1, 2, 3),
    cinG: fc.constantFrom(1, 2, 3, 4, 5, 8),
    coutG: fc.constantFrom(1, 2, 3, 4, 7, 8),
    h: fc.constantFrom(1, 2, 3, 4, 5, 7, 8, 11, 12),
    w: fc.constantFrom(1, 2, 3, 4, 5, 7, 8, 11, 13),
    k: fc.constantFrom<Two>([3, 3], [3, 3], [1, 1], [2, 2], [1, 3], [5, 2]),
    stride: fc.constantFrom<Two>([1, 1], [1, 1], [2, 2], [1, 3]),
    padding: fc.constantFrom<Two>([1, 1], [0, 0], [2, 1]),
    dilation: fc.constantFrom<Two>([1, 1], [1, 1], [2, 2]),
    bias: fc.boolean(),
  })

  test('any shape: values and gradients of the float64 oracle', async () => {
    await fc.assert(
      fc.asyncProperty(geometry, async ({ n, cinG, coutG, h, w, k, bias, ...g }) => {
        const x = [n, cinG * g.groups, h, w]
        const weight = [coutG * g.groups, cinG, ...k]
        fc.pre(h + 2 * g.padding[0] > g.dilation[0] * (k[0] - 1))
        fc.pre(w + 2 * g.padding[1] > g.dilation[1] * (k[1] - 1))
        const inputs = [{ shape: x }, { shape: weight }, ...(bias ? [{ shape: [weight[0]!] }] : [])]
        await checkGradients(withBias(conv2d, g), convOracle(g), inputs, { atol: 1e-5, maxElements: 8 })
      }),
      { numRuns: 30, seed: 7 },
    )
  })

  test('adjoint in the image', async () => {
    const device = await testDevice()
    for (const [shape, w, options] of [
      [[2, 3, 9, 7], [5, 3, 3, 3], { padding: 1 }],
      [[1, 8, 16, 12], [16, 8, 3, 3], { padding: 1 }],
      [[2, 4, 11, 8], [6, 2, 3, 3], { stride: 2, padding: 1, groups: 2 }],
    ] as const) {
      const weight = device.tensor(randomValues(w, 5), w)
      await adjoint((x) => conv2d(x, weight, options), shape)
    }
  })

  test('a fused ReLU equals one behind it, and masks the gradient', async () => {
    const g: Geometry = { stride: [1, 1], padding: [1, 1], dilation: [1, 1], groups: 1 }
    const plain = convOracle(g)
    const relu = (...a: Array64[]) => plain(a[0]!, a[1]!, a[2]).map((v) => Math.max(0, v))
    for (const shape of [
      [2, 3, 5, 7],
      [1, 8, 8, 8],
    ]) {
      const inputs = [{ shape }, { shape: [8, shape[1]!, 3, 3] }, { shape: [8] }]
      await checkGradients(withBias(conv2d, { padding: 1, activation: 'relu' }), relu, inputs, {
        maxElements: 40,
      })
    }
  })

  test('a fused ReLU lets NaN through: a diverged network is not hidden', async () => {
    const device = await testDevice()
    const x = device.tensor(new Float32Array(4 * 8 * 8).fill(1), [1, 4, 8, 8])
    const w = device.tensor(new Float32Array(8 * 4 * 9).fill(Number.NaN), [8, 4, 3, 3])
    const y = await conv2d(x, w, { padding: 1, activation: 'relu' }).data()
    expect(y.every((v) => Number.isNaN(v))).toBe(true)
  })

  test('gradients accumulate over uses and calls; a weight that is no leaf gets its gradient through the tape', async () => {
    const device = await testDevice()
    const w = device.tensor(randomValues([4, 2, 3, 3]), [4, 2, 3, 3], { requiresGrad: true })
    const x = device.tensor(randomValues([1, 2, 6, 6], 2), [1, 2, 6, 6])
    const run = async () => {
      const y = conv2d(x, w, { padding: 1 })
      y.backward(device.ones(y.shape))
      return (await w.grad!.data()).slice()
    }
    const once = await run()
    const twice = await run()
    expectClose(
      twice,
      once.map((g) => 2 * g),
      1e-6,
      1e-6,
      'two calls',
    )
    // A weight that is a 1×1 convolution of another one.
    const g: Geometry = { stride: [1, 1], padding: [1, 1], dilation: [1, 1], groups: 1 }
    const oracle = (x: Array64, w: Array64, v: Array64) =>
      convOracle(g)(x, { data: convOracle({ ...g, padding: [0, 0] })(w, v), shape: w.shape })
    await checkGradients(
      (x, w, v) => conv2d(x, conv2d(w!, v!), { padding: 1 }),
      oracle as (...inputs: Array64[]) => Float64Array,
      [{ shape: [1, 2, 6, 6] }, { shape: [4, 2, 3, 3] }, { shape: [2, 2, 1, 1] }],
      { maxElements: 30 },
    )
  })

  test('tuning measures every variant, chooses one, and the result stays the same', async () => {
    const device = await testDevice()
    const x = device.tensor(randomValues([1, 8, 12, 12]), [1, 8, 12, 12], { requiresGrad: true })
    const w = device.tensor(randomValues([8, 8, 3, 3], 2), [8, 8, 3, 3], { requiresGrad: true })
    const step = () => {
      const y = conv2d(x, w, { padding: 1 })
      y.backward(device.ones(y.shape))
      return y
    }
    const before = await step().data()
    const timings = await tune(device, step)
    const keys = new Set(timings.map((t) => t.key))
    expect(timings.filter((t) => t.chosen).length).toBe(keys.size)
    expect(timings.every((t) => Number.isFinite(t.ms))).toBe(true)
    expectClose(await step().data(), before, 1e-5, 1e-5, 'tuned')
    tunerOf(device).clear()
  })

  test('what does not fit is refused by a sentence', () => {
    const no = (f: () => unknown, text: string) => expect(f).toThrow(text)
    no(
      () => conv2dShape([1, 1, 8, 8], [32, 3, 3, 3]),
      'conv2d: weight (32, 3, 3, 3) expects 3 input channels, x has 1; pass groups or another weight',
    )
    no(
      () => conv2dShape([1, 3, 8], [32, 3, 3, 3]),
      'conv2d: x must be (N, C, H, W), got (1, 3, 8); reshape it, or add axes of size 1',
    )
    no(() => conv2dShape([1, 4, 8, 8], [3, 2, 3, 3], { groups: 2 }), 'which 2 groups do not divide')
    no(() => conv2dShape([1, 1, 2, 2], [1, 1, 3, 3]), 'a 3×3 kernel with dilation 1×1 does not fit into x')
    no(
      () => conv2dShape([0, 1, 8, 8], [1, 1, 3, 3]),
      'conv2d: x (0, 1, 8, 8) and weight (1, 1, 3, 3) must not be empty',
    )
    no(() => conv2dShape([1, 1, 8, 8], [1, 1, 3, 3], { stride: 0 }), 'stride is a whole number of at least 1')
    no(() => conv2dShape([1, 1, 8, 8], [1, 1, 3, 3], { padding: [1, -1] }), 'padding is a whole number')
    no(() => conv2dShape([1, 1, 8, 8], [1, 1, 3]), 'weight must be (outChannels, inChannels / groups,')
  })
})

describe('convTranspose2d', () => {
  test.each(file.cases.filter((c) => c.op === 'convTranspose2d'))('PyTorch: $name', async (c) => {
    const device = await testDevice()
    await runCase(
      device,
      file,
      c,
      ([x, w, bias], attrs) => convTranspose2d(x!, w!, { ...attrs, bias }),
      tolerance,
    )
  })

  const geometry = fc.record({
    n: fc.integer({ min: 1, max: 3 }),
    groups: fc.constantFrom(1, 1, 1, 2),
    cinG: fc.constantFrom(1, 2, 3, 4, 8),
    coutG: fc.constantFrom(1, 2, 3, 4, 8),
    h: fc.constantFrom(1, 2, 3, 5, 8),
    w: fc.constantFrom(1, 2, 4, 7),
    k: fc.constantFrom<Two>([2, 2], [2, 2], [3, 3], [1, 1], [4, 2]),
    stride: fc.constantFrom<Two>([2, 2], [2, 2], [1, 1], [3, 2]),
    padding: fc.constantFrom<Two>([0, 0], [0, 0], [1, 1]),
    outputPadding: fc.constantFrom<Two>([0, 0], [0, 0], [1, 1]),
    dilation: fc.constantFrom<Two>([1, 1], [1, 1], [2, 2]),
    bias: fc.boolean(),
  })

  test('any shape: values and gradients of the float64 oracle', async () => {
    await fc.assert(
      fc.asyncProperty(geometry, async ({ n, cinG, coutG, h, w, k, bias, outputPadding, ...g }) => {
        for (const a of [0, 1] as const) {
          fc.pre(outputPadding[a] < Math.max(g.stride[a], g.dilation[a]))
          const out =
            ([h, w][a]! - 1) * g.stride[a] -
            2 * g.padding[a] +
            g.dilation[a] * (k[a] - 1) +
            outputPadding[a] +
            1
          fc.pre(out > 0)
        }
        const x = [n, cinG * g.groups, h, w]
        const weight = [cinG * g.groups, coutG, ...k]
        const inputs = [{ shape: x }, { shape: weight }, ...(bias ? [{ shape: [coutG * g.groups] }] : [])]
        await checkGradients(
          withBias(convTranspose2d, { ...g, outputPadding }),
          transposeOracle(g, outputPadding),
          inputs,
          { atol: 1e-5, maxElements: 8 },
        )
      }),
      { numRuns: 25, seed: 8 },
    )
  })

  test('adjoint in the image', async () => {
    const device = await testDevice()
    const weight = device.tensor(randomValues([3, 5, 2, 2], 5), [3, 5, 2, 2])
    await adjoint((x) => convTranspose2d(x, weight, { stride: 2 }), [2, 3, 6, 7])
    await adjoint((x) => convTranspose2d(x, weight, { stride: 3, outputPadding: 1 }), [1, 3, 5, 4])
  })

  test('what does not fit is refused by a sentence', () => {
    const no = (f: () => unknown, text: string) => expect(f).toThrow(text)
    no(
      () => convTranspose2dShape([1, 4, 8, 8], [3, 2, 2, 2]),
      'convTranspose2d: weight (3, 2, 2, 2) expects 3 input channels, x has 4; the first axis of a transposed weight is the input’s'.replace(
        '’',
        "'",
      ),
    )
    no(
      () => convTranspose2dShape([1, 3, 8, 8], [3, 2, 2, 2], { stride: 2, outputPadding: 2 }),
      'outputPadding 2×2 must be smaller than stride 2×2 or dilation 1×1',
    )
    no(() => convTranspose2dShape([1, 3, 1, 1], [3, 2, 2, 2], { padding: 1 }), 'pass less padding')
  })
})
