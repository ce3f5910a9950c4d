import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type InterpolateOptions, interpolate, interpolateShape } from '../../src/autograd/ops/interpolate.ts'
import { testDevice } from '../device.ts'
import { type Array64, adjoint, checkGradients } from '../oracle.ts'
import { reference, runCase } from '../reference.ts'

type Two = readonly [number, number]
type Options = InterpolateOptions & { readonly size: Two }

/** Neighbours and weight of output i in float64, by the formulas of the documentation. */
function source(i: number, size: number, out: number, o: Options): readonly [number, number, number] {
  if (o.mode !== 'bilinear') return [Math.floor((i * size) / out), 0, 0]
  const s = o.alignCorners
    ? (i * (size - 1)) / Math.max(1, out - 1)
    : Math.max(0, ((i + 0.5) * size) / out - 0.5)
  const low = Math.min(size - 1, Math.floor(s + 1e-12))
  return [low, Math.min(low + 1, size - 1), Math.max(0, s - low)]
}

const oracle = (o: Options) => (x: Array64) => {
  const [n, c, h, w] = x.shape as [number, number, number, number]
  const [outH, outW] = o.size
  const y = new Float64Array(n * c * outH * outW)
  let at = 0
  for (let p = 0; p < n * c; p++)
    for (let i = 0; i < outH; i++)
      for (let j = 0; j < outW; j++, at++) {
        const [top, bottom, t] = source(i, h, outH, o)
        const [left, right, u] = source(j, w, outW, o)
        const v = (r: number, k: number) => x.data[(p * h + r) * w + k]!
        y[at] =
          (1 - t) * ((1 - u) * v(top, left) + u * v(top, right)) +
          t * ((1 - u) * v(bottom, left) + u * v(bottom, right))
      }
  return y
}

const file = reference('ops')

test.each(file.cases.filter((c) => c.op === 'interpolate'))('PyTorch: $name', async (c) => {
  const device = await testDevice()
  await runCase(device, file, c, ([x], attrs) => interpolate(x!, attrs as unknown as InterpolateOptions))
})

const sizes = fc.constantFrom(1, 2, 3, 5, 8, 13, 16, 31)
const form = fc.constantFrom<Partial<InterpolateOptions>>(
  { mode: 'nearest' },
  { mode: 'bilinear' },
  { mode: 'bilinear', alignCorners: true },
)

test('any sizes: values and gradients of the float64 oracle', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 5 }), sizes, sizes),
      fc.tuple(sizes, sizes),
      form,
      async (x, size, f) => {
        const o = { ...f, size }
        await checkGradients((t) => interpolate(t, o), oracle(o), [{ shape: x }], { maxElements: 20 })
      },
    ),
    { numRuns: 60, seed: 11 },
  )
})

test('adjoint', async () => {
  for (const f of [
    { mode: 'nearest' },
    { mode: 'bilinear' },
    { mode: 'bilinear', alignCorners: true },
  ] as const) {
    await adjoint((x) => interpolate(x, { ...f, size: [20, 14] }), [2, 3, 9, 7])
    await adjoint((x) => interpolate(x, { ...f, size: [5, 3] }), [1, 5, 16, 31])
  }
})

test('many narrow planes', async () => {
  for (const mode of ['nearest', 'bilinear'] as const) {
    for (const [x, size] of [
      [
        [3, 37, 1, 1],
        [4, 4],
      ],
      [
        [2, 70, 2, 3],
        [5, 8],
      ],
      [
        [1, 300, 4, 4],
        [8, 12],
      ],
      [
        [2, 45, 40, 5],
        [9, 20],
      ],
      [
        [1, 19, 3, 17],
        [70, 4],
      ],
    ] as const) {
      const o = { mode, size }
      await checkGradients((t) => interpolate(t, o), oracle(o), [{ shape: [...x] }], { maxElements: 20 })
      // Every plane's gradient.
      await adjoint((t) => interpolate(t, o), [...x])
    }
  }
})

test('the same size is the same image, bit for bit', async () => {
  const device = await testDevice()
  const values = Float32Array.from({ length: 2 * 37 * 101 }, (_, i) => Math.sin(i))
  const x = device.tensor(values, [1, 2, 37, 101])
  for (const alignCorners of [false, true]) {
    const y = interpolate(x, { size: [37, 101], mode: 'bilinear', alignCorners })
    expect(await y.data()).toEqual(values)
  }
})

test('what does not fit is refused by a sentence', () => {
  const no = (f: () => unknown, text: string) => expect(f).toThrow(text)
  no(() => interpolateShape([1, 1, 2, 2], { size: 0 }), 'interpolate: size is a whole number of at least 1')
  no(() => interpolateShape([1, 2, 2], { size: 2 }), 'interpolate: x must be (N, C, H, W)')
  no(() => interpolateShape([1, 1, 2, 2], { size: 20000 }), 'sizes go up to 16384')
  no(() => interpolateShape([1, 1, 2, 2], { size: 2, alignCorners: true }), "goes with mode 'bilinear' only")
})
