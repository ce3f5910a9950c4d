import fc from 'fast-check'
import { expect, test } from 'vitest'
import { add } from '../../src/autograd/ops/add.ts'
import { channels } from '../../src/autograd/ops/channels.ts'
import { concat } from '../../src/autograd/ops/concat.ts'
import { type InterpolateOptions, interpolate, interpolateShape } from '../../src/autograd/ops/interpolate.ts'
import { mul } from '../../src/autograd/ops/mul.ts'
import { sum } from '../../src/autograd/ops/sum.ts'
import { concatSlots } from '../../src/autograd/slots.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { inEveryForm, testDevice } from '../device.ts'
import { type Array64, adjoint, checkGradients, randomValues } from '../oracle.ts'
import { expectClose, reference, runCase } from '../reference.ts'

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

const twofold = [
  ['nearest', 2],
  ['bilinear', 2],
  ['bilinear', 0.5],
] as const

/** The gradient in x of Σ y·dy in float64: what each result takes from its neighbours is given back to them. */
function scattered(dy: ArrayLike<number>, [n, c, h, w]: readonly number[], o: Options): Float64Array {
  const [outH, outW] = o.size
  const dx = new Float64Array(n! * c! * h! * w!)
  let at = 0
  for (let p = 0; p < n! * c!; p++)
    for (let i = 0; i < outH; i++)
      for (let j = 0; j < outW; j++, at++) {
        const [top, bottom, t] = source(i, h!, outH, o)
        const [left, right, u] = source(j, w!, outW, o)
        for (const [row, v] of [[top, 1 - t] as const, [bottom, t] as const])
          for (const [k, s] of [[left, 1 - u] as const, [right, u] as const])
            dx[(p * h! + row) * w! + k]! += v * s * dy[at]!
      }
  return dx
}

test.each(twofold)(
  '%s times %d has kernels of its own: values and gradients of the oracle',
  async (mode, by) => {
    const device = await testDevice()
    const holds = async (shape: readonly number[]) => {
      const o = { mode, size: [shape[2]! * by, shape[3]! * by] as const }
      expect(interpolateShape(shape, o).twofold).toBeDefined()
      const values = randomValues(shape)
      const x = device.tensor(values, shape, { requiresGrad: true })
      const y = interpolate(x, o)
      const dy = randomValues(y.shape, 2)
      y.backward(device.tensor(dy, y.shape))
      const what = `${mode} ×${by} of ${shape.join('×')}`
      // What lies beyond a corner is the corner itself, to the bit.
      const corners = (of: ArrayLike<number>, [n, c, h, w]: readonly number[]) =>
        Array.from({ length: n! * c! }, (_, p) => of[p * h! * w!])
      if (by === 2) expect(corners(await y.data(), y.shape)).toEqual(corners(values, shape))
      expectClose(await y.data(), oracle(o)({ data: Float64Array.from(values), shape }), 1e-6, 1e-6, what)
      expectClose(await x.grad!.data(), scattered(dy, shape, o), 1e-6, 1e-6, `${what}, gradient`)
    }
    const times = by === 2 ? 1 : 2
    const planes = fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 5 }))
    await inEveryForm(async () => {
      await fc.assert(
        fc.asyncProperty(
          planes,
          fc.integer({ min: 1, max: 40 }),
          fc.constantFrom(4, 8, 12, 36),
          async (nc, h, w) => await holds([...nc, h * times, w * times]),
        ),
        { numRuns: 25, seed: 5 },
      )
      // An invocation takes as many rows as it may, and a last one fewer.
      await holds([8, 2, 131 * times, 64 * times])
    })
  },
)

test.each(twofold)(
  '%s times %d in channels of larger arrays: read, written, and added to gradients there',
  async (mode, by) => {
    const device = await testDevice()
    const [h, w] = by === 2 ? [5, 8] : [10, 16]
    const o = { mode, size: [h * by, w * by] as const }
    const shape = [3, 3, h, w]
    const values = randomValues([3, 5, h, w], 3)
    const part = new Float32Array(9 * h * w)
    for (let n = 0; n < 3; n++)
      part.set(values.subarray((5 * n + 1) * h * w, (5 * n + 4) * h * w), 3 * n * h * w)
    const resized = oracle(o)({ data: Float64Array.from(part), shape })
    const grad = scattered(
      resized.map((v) => 2 * v),
      shape,
      o,
    )
    for (const joined of [false, true]) {
      const leaf = device.tensor(values, [3, 5, h, w], { requiresGrad: true })
      const seen = channels(mul(leaf, 1), { first: 1, count: 3 })
      const beside = (size: readonly number[]) =>
        device.tensor(randomValues([3, 2, ...size], 4), [3, 2, ...size])
      const slots = concatSlots(device, [
        [3, 2, ...o.size],
        [3, 3, ...o.size],
      ])
      const y = concat([beside(o.size), interpolate(seen, { ...o, into: slots[1] })], { axis: 1 })
      const squares = (t: Tensor) => sum(mul(t, t))
      // Another consumer, whose gradient is there before: dense, or channels of a concatenation's.
      const other = joined ? concat([beside([h, w]), seen], { axis: 1 }) : seen
      const [a, b] = [squares(y), squares(other)]
      const kept = y.keep()
      add(a, b).backward()
      const got = await kept.data()
      const own = Float32Array.from({ length: resized.length }, (_, i) => {
        const each = 3 * h * w * by * by
        const image = Math.floor(i / each)
        return got[(image * 5 + 2) * h * w * by * by + (i - image * each)]!
      })
      expectClose(own, resized, 1e-6, 1e-6, `${mode} ×${by}`)
      const dx = await leaf.grad!.data()
      const want = new Float64Array(dx.length)
      for (let n = 0; n < 3; n++)
        for (let i = 0; i < 3 * h * w; i++)
          want[(5 * n + 1) * h * w + i] = grad[3 * n * h * w + i]! + 2 * part[3 * n * h * w + i]!
      expectClose(dx, want, 1e-6, 1e-6, `${mode} ×${by}, gradient, ${joined ? 'joined' : 'dense'}`)
    }
  },
)

test('only what is by two, and in whole vec4s, goes by the kernels for that', () => {
  const by = (x: readonly number[], o: InterpolateOptions) => interpolateShape(x, o).twofold?.forward.entry
  expect(by([2, 3, 5, 4], { size: [10, 8] })).toBe('repeat')
  expect(by([2, 3, 5, 4], { size: [10, 8], mode: 'bilinear' })).toBe('enlarge')
  expect(by([2, 3, 10, 8], { size: [5, 4], mode: 'bilinear' })).toBe('halve')
  expect(by([2, 3, 10, 8], { size: [5, 4] })).toBeUndefined()
  expect(by([2, 3, 5, 4], { size: [10, 4] })).toBeUndefined()
  expect(by([2, 3, 5, 6], { size: [10, 12] })).toBeUndefined()
  expect(by([2, 3, 5, 4], { size: [10, 8], mode: 'bilinear', alignCorners: true })).toBeUndefined()
  expect(by([2 ** 19, 1, 8, 4], { size: [16, 8] })).toBeUndefined()
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
