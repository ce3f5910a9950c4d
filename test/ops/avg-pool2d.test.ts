import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type AvgPool2dOptions,
  adaptiveAvgPool2d,
  adaptiveShape,
  avgPool2d,
} from '../../src/autograd/ops/avg-pool2d.ts'
import { type Pair, pool2dShape } from '../../src/autograd/ops/window.ts'
import { testDevice } from '../device.ts'
import { type Array64, adjoint, checkGradients } from '../oracle.ts'
import { reference, runCase } from '../reference.ts'

/** Mean over [top, bottom) × [left, right) of each plane, divided by `count`. */
function means(
  x: Array64,
  [outH, outW]: readonly [number, number],
  rows: (i: number) => readonly [number, number],
  columns: (j: number) => readonly [number, number],
  count: (i: number, j: number) => number,
): Float64Array {
  const [n, c, h, w] = x.shape as [number, number, number, number]
  const y = new Float64Array(n * c * outH * outW)
  let o = 0
  for (let p = 0; p < n * c; p++)
    for (let i = 0; i < outH; i++)
      for (let j = 0; j < outW; j++, o++) {
        for (let r = rows(i)[0]; r < rows(i)[1]; r++)
          for (let k = columns(j)[0]; k < columns(j)[1]; k++)
            if (r >= 0 && r < h && k >= 0 && k < w) y[o]! += x.data[(p * h + r) * w + k]!
        y[o]! /= count(i, j)
      }
  return y
}

const avgOracle = (o: AvgPool2dOptions) => (x: Array64) => {
  const p = pool2dShape('avgPool2d', x.shape, o)
  const rows = (i: number) => [i * p.strideH - p.padH, i * p.strideH - p.padH + p.kh] as const
  const columns = (j: number) => [j * p.strideW - p.padW, j * p.strideW - p.padW + p.kw] as const
  const pad = o.countIncludePad === false ? 0 : 1
  const length = ([a, b]: readonly [number, number], size: number, padding: number) =>
    Math.min(b, size + pad * padding) - Math.max(a, -pad * padding)
  return means(
    x,
    [p.outH, p.outW],
    rows,
    columns,
    (i, j) => length(rows(i), p.h, p.padH) * length(columns(j), p.w, p.padW),
  )
}

const adaptiveOracle = (outputSize: Pair) => (x: Array64) => {
  const p = adaptiveShape(x.shape, outputSize)
  const rows = (i: number) => [Math.floor((i * p.h) / p.outH), Math.ceil(((i + 1) * p.h) / p.outH)] as const
  const columns = (j: number) =>
    [Math.floor((j * p.w) / p.outW), Math.ceil(((j + 1) * p.w) / p.outW)] as const
  return means(
    x,
    [p.outH, p.outW],
    rows,
    columns,
    (i, j) => (rows(i)[1] - rows(i)[0]) * (columns(j)[1] - columns(j)[0]),
  )
}

const file = reference('ops')
const two = (min: number, max: number) => fc.tuple(fc.integer({ min, max }), fc.integer({ min, max }))
const shape = fc.tuple(
  fc.integer({ min: 1, max: 3 }),
  fc.integer({ min: 1, max: 5 }),
  fc.constantFrom(1, 2, 3, 7, 8, 13),
  fc.constantFrom(1, 2, 5, 8, 11, 17),
)

describe('avgPool2d', () => {
  test.each(file.cases.filter((c) => c.op === 'avgPool2d'))('PyTorch: $name', async (c) => {
    const device = await testDevice()
    await runCase(device, file, c, ([x], attrs) => avgPool2d(x!, attrs as unknown as AvgPool2dOptions))
  })

  test('any shape: values and gradients of the float64 oracle', async () => {
    const options = fc.record({
      kernelSize: two(1, 9),
      stride: two(1, 3),
      padding: two(0, 2),
      ceilMode: fc.boolean(),
      countIncludePad: fc.boolean(),
    })
    await fc.assert(
      fc.asyncProperty(shape, options, async (x, o) => {
        try {
          pool2dShape('avgPool2d', x, o)
        } catch {
          fc.pre(false)
        }
        await checkGradients((t) => avgPool2d(t, o), avgOracle(o), [{ shape: x }], { maxElements: 20 })
      }),
      { numRuns: 40, seed: 3 },
    )
  })

  test('adjoint', async () => {
    await adjoint((x) => avgPool2d(x, { kernelSize: 3, stride: 2, padding: 1 }), [2, 3, 9, 12])
    await adjoint((x) => avgPool2d(x, { kernelSize: 2 }), [1, 5, 7, 8])
  })

  test('what does not fit is refused by a sentence', () => {
    expect(() => pool2dShape('avgPool2d', [1, 1, 2, 2], { kernelSize: 3 })).toThrow(
      'avgPool2d: a 3×3 kernel with padding 0×0 does not fit into x (1, 1, 2, 2)',
    )
  })
})

describe('adaptiveAvgPool2d', () => {
  test.each(file.cases.filter((c) => c.op === 'adaptiveAvgPool2d'))('PyTorch: $name', async (c) => {
    const device = await testDevice()
    await runCase(device, file, c, ([x], attrs) =>
      adaptiveAvgPool2d(x!, attrs as unknown as { outputSize: Pair }),
    )
  })

  test('any shape: values and gradients of the float64 oracle', async () => {
    await fc.assert(
      fc.asyncProperty(shape, fc.oneof(fc.constant(1), two(1, 9)), async (x, outputSize) => {
        await checkGradients(
          (t) => adaptiveAvgPool2d(t, { outputSize }),
          adaptiveOracle(outputSize),
          [{ shape: x }],
          { maxElements: 20 },
        )
      }),
      { numRuns: 40, seed: 3 },
    )
  })

  test('adjoint', async () => {
    await adjoint((x) => adaptiveAvgPool2d(x, { outputSize: 1 }), [2, 3, 40, 33])
    await adjoint((x) => adaptiveAvgPool2d(x, { outputSize: [5, 7] }), [1, 5, 13, 8])
  })

  test('what does not fit is refused by a sentence', () => {
    expect(() => adaptiveShape([1, 1, 2, 2], [0, 1])).toThrow(
      'adaptiveAvgPool2d: outputSize is a whole number of at least 1, or [height, width], got [0, 1]',
    )
  })
})
