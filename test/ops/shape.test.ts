import fc from 'fast-check'
import { expect, test } from 'vitest'
import * as ops from '../../src/autograd/ops/index.ts'
import { stridesOf } from '../../src/autograd/shape.ts'
import { elements, type Shape, type Tensor } from '../../src/autograd/tensor.ts'
import { testDevice } from '../device.ts'
import { type Array64, adjoint, checkGradients } from '../oracle.ts'
import { reference, runCase } from '../reference.ts'

/** reshape, permute, slice, pad, concat, stack: ops that move elements and compute nothing. */

const file = reference('ops')
type Call = (inputs: Tensor[], attrs: Readonly<Record<string, unknown>>) => Tensor
const calls: Record<string, Call> = {
  reshape: ([x], attrs) => ops.reshape(x!, attrs as { shape: Shape }),
  permute: ([x], attrs) => ops.permute(x!, attrs as { axes: number[] }),
  slice: ([x], attrs) => ops.slice(x!, attrs as unknown as ops.SliceOptions),
  pad: ([x], attrs) => ops.pad(x!, attrs as unknown as ops.PadOptions),
  concat: (inputs, attrs) => ops.concat(inputs, attrs),
  stack: (inputs, attrs) => ops.stack(inputs, attrs),
}

test.each(file.cases.filter((c) => c.op in calls))('$name', async (c) => {
  await runCase(await testDevice(), file, c, calls[c.op]!, { rtol: 0, atol: 0 })
})

/** The element of x at each index of `shape`, where `source` says which. */
const gather = (x: Array64, shape: Shape, source: (index: number[]) => number[] | undefined, other = 0) => {
  const own = stridesOf(shape)
  const from = stridesOf(x.shape)
  return Float64Array.from({ length: elements(shape) }, (_, i) => {
    const at = source(shape.map((d, k) => Math.floor(i / own[k]!) % d))
    return at ? x.data[at.reduce((sum, c, k) => sum + c * from[k]!, 0)]! : other
  })
}

const size = fc.constantFrom(1, 2, 3, 4, 5, 7, 8, 12)
const shapes = fc.array(size, { minLength: 1, maxLength: 6 }).filter((s) => elements(s) <= 3000)
const runs = { numRuns: 15 }
const bitExact = { rtol: 0, atol: 0, gradRtol: 1e-6, gradAtol: 1e-6, maxElements: 8 }

test('permute: any order of up to six axes', async () => {
  const cases = shapes.chain((shape) =>
    fc.tuple(fc.constant(shape), fc.shuffledSubarray([...shape.keys()], { minLength: shape.length })),
  )
  await fc.assert(
    fc.asyncProperty(cases, async ([shape, axes]) => {
      const oracle = (x: Array64) => {
        const to = axes.map((a) => shape[a]!)
        return gather(x, to, (index) => shape.map((_, k) => index[axes.indexOf(k)]!))
      }
      await checkGradients((x) => ops.permute(x, { axes }), oracle, [{ shape }], bitExact)
      await adjoint((x) => ops.permute(x, { axes }), shape)
    }),
    runs,
  )
})

test('slice and pad: any box', async () => {
  const cases = shapes.chain((shape) =>
    fc.tuple(
      fc.constant(shape),
      fc.tuple(
        ...shape.map((d) =>
          fc.tuple(fc.nat(d - 1), fc.nat(d)).map(([s, e]) => [s, Math.max(s + 1, e)] as const),
        ),
      ),
      fc.tuple(...shape.map(() => fc.tuple(fc.constantFrom(0, 0, 1, 3, 4), fc.constantFrom(0, 0, 2, 4)))),
    ),
  )
  await fc.assert(
    fc.asyncProperty(cases, async ([shape, box, pads]) => {
      const starts = box.map(([s]) => s)
      const ends = box.map(([, e]) => e)
      const cut = (x: Array64) =>
        gather(
          x,
          box.map(([s, e]) => e - s),
          (index) => index.map((c, k) => c + starts[k]!),
        )
      await checkGradients((x) => ops.slice(x, { starts, ends }), cut, [{ shape }], bitExact)
      await adjoint((x) => ops.slice(x, { starts, ends }), shape)
      const grown = shape.map((d, k) => d + pads[k]![0] + pads[k]![1])
      if (elements(grown) > 20_000) return
      const padded = (x: Array64) =>
        gather(
          x,
          grown,
          (index) => {
            const at = index.map((c, k) => c - pads[k]![0])
            return at.every((c, k) => c >= 0 && c < shape[k]!) ? at : undefined
          },
          0.5,
        )
      await checkGradients((x) => ops.pad(x, { pads, value: 0.5 }), padded, [{ shape }], bitExact)
      await adjoint((x) => ops.pad(x, { pads }), shape)
    }),
    runs,
  )
})

test('concat and stack along any axis', async () => {
  const cases = shapes.chain((shape) =>
    fc.tuple(
      fc.constant(shape),
      fc.nat(shape.length - 1),
      fc.array(fc.constantFrom(0, 1, 2, 4, 5), { minLength: 1, maxLength: 4 }),
    ),
  )
  await fc.assert(
    fc.asyncProperty(cases, async ([shape, axis, sizes]) => {
      const parts = sizes.map((n) => shape.map((d, k) => (k === axis ? n : d)))
      const joined = shape.map((d, k) => (k === axis ? sizes.reduce<number>((a, b) => a + b, 0) : d))
      const oracle = (...xs: Array64[]) => {
        const y = new Float64Array(elements(joined))
        const own = stridesOf(joined)
        for (let i = 0; i < y.length; i++) {
          const index = joined.map((d, k) => Math.floor(i / own[k]!) % d)
          let part = 0
          while (index[axis]! >= sizes[part]!) index[axis]! -= sizes[part++]!
          const strides = stridesOf(parts[part]!)
          y[i] = xs[part]!.data[index.reduce((sum, c, k) => sum + c * strides[k]!, 0)]!
        }
        return y
      }
      const inputs = parts.map((p) => ({ shape: p }))
      await checkGradients((...xs) => ops.concat(xs, { axis }), oracle, inputs, bitExact)
    }),
    runs,
  )
  const x = { shape: [2, 3] }
  await checkGradients(
    (a, b) => ops.stack([a, b], { axis: -1 }),
    (a, b) => [...a.data].flatMap((v, i) => [v, b.data[i]!]),
    [x, x],
  )
})

test('long inner axes, launched without divisions', async () => {
  for (const shape of [
    [3, 5, 64],
    [2, 3, 63],
    [4, 2, 256],
  ]) {
    await adjoint((x) => ops.concat([x, x], { axis: 1 }), shape)
    await adjoint((x) => ops.permute(x, { axes: [1, 0, 2] }), shape)
    await adjoint((x) => ops.sum(x, { axes: [1] }), shape)
    const starts = [1, 0, 0]
    const [n, c, w] = shape as [number, number, number]
    const inner = { starts: [0, 1, 0], ends: [n, 2, w] }
    await checkGradients(
      (x) => ops.slice(x, inner),
      (x) => gather(x, [n, 1, w], ([i, , k]) => [i!, 1, k!]),
      [{ shape }],
      bitExact,
    )
    await checkGradients(
      (x) => ops.permute(x, { axes: [1, 0, 2] }),
      (x) => gather(x, [c, n, w], ([j, i, k]) => [i!, j!, k!]),
      [{ shape }],
      bitExact,
    )
    await adjoint((x) => ops.slice(x, { starts, ends: shape }), shape)
  }
})

test('integers keep their bits; views: flatten, squeeze, unsqueeze, transpose', async () => {
  const device = await testDevice()
  const x = device.tensor(Int32Array.of(-1, 2147483647, 3, 2139095041, 5, 6), [2, 3])
  expect([...(await ops.transpose(x).data())]).toEqual([-1, 2139095041, 2147483647, 5, 3, 6])
  expect([...(await ops.concat([x, x], { axis: 1 }).data())].slice(0, 6)).toEqual([
    -1, 2147483647, 3, -1, 2147483647, 3,
  ])
  expect(ops.transpose(x).dtype).toBe('int32')
  const y = device.zeros([2, 3, 1, 5])
  expect(ops.flatten(y).shape).toEqual([30])
  expect(ops.flatten(y, { startAxis: 1 }).shape).toEqual([2, 15])
  expect(ops.squeeze(y).shape).toEqual([2, 3, 5])
  expect(ops.squeeze(y, { axis: 2 }).shape).toEqual([2, 3, 5])
  expect(ops.unsqueeze(y, { axis: -1 }).shape).toEqual([2, 3, 1, 5, 1])
  expect(ops.unsqueeze(y, { axis: 0 }).shape).toEqual([1, 2, 3, 1, 5])
  expect(ops.transpose(y, { axes: [0, 1] }).shape).toEqual([3, 2, 1, 5])
})

test('size 0', async () => {
  const device = await testDevice()
  const none = device.zeros([0, 3])
  expect(ops.permute(none, { axes: [1, 0] }).shape).toEqual([3, 0])
  expect([
    ...(await ops
      .pad(none, {
        pads: [
          [1, 0],
          [0, 0],
        ],
        value: 2,
      })
      .data()),
  ]).toEqual([2, 2, 2])
  expect(ops.slice(device.zeros([2, 3]), { starts: [1, 1], ends: [1, 3] }).shape).toEqual([0, 2])
  expect(ops.concat([none, device.ones([1, 3])]).shape).toEqual([1, 3])
})

test('what is refused', async () => {
  const device = await testDevice()
  const x = device.zeros([2, 3])
  expect(() => ops.reshape(x, { shape: [4, 2] })).toThrow(
    'reshape: (2, 3) has 6 elements, which do not make (4, 2)',
  )
  expect(() => ops.reshape(x, { shape: [-1, -1] })).toThrow(/one size may be -1/)
  expect(() => ops.permute(x, { axes: [0, 0] })).toThrow(
    'permute: axes [0, 0] must name each of the 2 axes of x (2, 3) once',
  )
  expect(() => ops.permute(x, { axes: [0, 2] })).toThrow('permute: axis 2 is not among the 2 axes of x')
  expect(() => ops.slice(x, { starts: [0], ends: [1] })).toThrow(
    'slice: x (2, 3) has 2 axes, got 1 starts and 1 ends; give one of each an axis',
  )
  expect(() => ops.slice(x, { starts: [0, 0], ends: [2, 4] })).toThrow(
    'slice: [0, 4) is no range of axis 1, which has size 3 in x (2, 3)',
  )
  expect(() => ops.pad(x, { pads: [[1, 1]] })).toThrow('pad: x (2, 3) has 2 axes, got 1 pads')
  expect(() => ops.concat([x, device.zeros([2, 4])])).toThrow(
    'concat: (2, 4) does not fit (2, 3): sizes may differ along axis 0 only',
  )
  expect(() => ops.concat([])).toThrow('concat')
  expect(() => ops.stack([x, device.zeros([2, 4])])).toThrow(
    'stack: tensor 0 is (2, 3), tensor 1 is (2, 4); they must have the same shape',
  )
})
