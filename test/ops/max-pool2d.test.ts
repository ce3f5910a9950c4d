import fc from 'fast-check'
import { expect, test } from 'vitest'
import { maxPool2d } from '../../src/autograd/ops/max-pool2d.ts'
import { type Pair, pool2dShape } from '../../src/autograd/ops/window.ts'
import { testDevice } from '../device.ts'
import { type Array64, checkGradients, randomValues } from '../oracle.ts'
import { reference, runCase } from '../reference.ts'

interface Options {
  readonly kernelSize: Pair
  readonly stride?: Pair
  readonly padding?: Pair
  readonly dilation?: Pair
  readonly ceilMode?: boolean
}

/** maxPool2d in float64. */
const oracle =
  (options: Options) =>
  (x: Array64): Float64Array => {
    const p = pool2dShape('maxPool2d', x.shape, options)
    const y = new Float64Array(p.n * p.c * p.outH * p.outW).fill(Number.NEGATIVE_INFINITY)
    let o = 0
    for (let plane = 0; plane < p.n * p.c; plane++)
      for (let i = 0; i < p.outH; i++)
        for (let j = 0; j < p.outW; j++, o++)
          for (let k = 0; k < p.kh; k++)
            for (let l = 0; l < p.kw; l++) {
              const row = i * p.strideH - p.padH + k * p.dilationH
              const column = j * p.strideW - p.padW + l * p.dilationW
              if (row < 0 || row >= p.h || column < 0 || column >= p.w) continue
              y[o] = Math.max(y[o]!, x.data[(plane * p.h + row) * p.w + column]!)
            }
    return y
  }

const file = reference('ops')

test.each(file.cases.filter((c) => c.op === 'maxPool2d'))('PyTorch: $name', async (c) => {
  const device = await testDevice()
  await runCase(device, file, c, ([x], attrs) => maxPool2d(x!, attrs as unknown as Options))
})

test('any shape: values and gradients of the float64 oracle', async () => {
  const two = (min: number, max: number) => fc.tuple(fc.integer({ min, max }), fc.integer({ min, max }))
  const options = fc.oneof(
    fc.constant({ kernelSize: 2 }),
    fc.record({
      kernelSize: two(1, 4),
      stride: two(1, 3),
      padding: two(0, 1),
      dilation: two(1, 2),
      ceilMode: fc.boolean(),
    }),
  )
  const shape = fc.tuple(
    fc.integer({ min: 1, max: 3 }),
    fc.integer({ min: 1, max: 5 }),
    fc.constantFrom(1, 2, 3, 7, 8, 13),
    fc.constantFrom(1, 2, 5, 8, 11, 16, 24),
  )
  await fc.assert(
    fc.asyncProperty(shape, options, async (x, o) => {
      try {
        pool2dShape('maxPool2d', x, o)
      } catch {
        fc.pre(false)
      }
      await checkGradients((t) => maxPool2d(t, o), oracle(o), [{ shape: x, data: distinct(x) }], {
        maxElements: 30,
      })
    }),
    { numRuns: 40, seed: 3 },
  )
})

/** Values that differ by more than a finite difference. */
function distinct(shape: readonly number[]): Float32Array {
  const order = [...randomValues(shape, 9).entries()].sort((a, b) => a[1] - b[1])
  const values = new Float32Array(order.length)
  order.forEach(([i], rank) => {
    values[i] = (rank - order.length / 2) / 64
  })
  return values
}

test('of equal maxima the first in window order takes the gradient', async () => {
  const device = await testDevice()
  for (const w of [2, 8]) {
    const x = device.tensor(new Float32Array(2 * w).fill(3), [1, 1, 2, w], { requiresGrad: true })
    const y = maxPool2d(x, { kernelSize: 2 })
    y.backward(device.ones(y.shape))
    const g = [...(await x.grad!.data())]
    expect(g).toEqual(g.map((_, i) => (i < w && i % 2 === 0 ? 1 : 0)))
  }
})

test('a NaN in a window is its maximum', async () => {
  const device = await testDevice()
  for (const w of [6, 8]) {
    const values = Float32Array.from({ length: 2 * w }, (_, i) => i)
    values[0] = Number.NaN
    values[w + 3] = Number.NaN
    const y = maxPool2d(device.tensor(values, [1, 1, 2, w]), { kernelSize: 2 })
    const got = await y.data()
    expect(Number.isNaN(got[0]) && Number.isNaN(got[1])).toBe(true)
    expect(got[2]).toBe(w + 5)
  }
})

test('what does not fit is refused by a sentence', () => {
  const no = (f: () => unknown, text: string) => expect(f).toThrow(text)
  no(() => pool2dShape('maxPool2d', [1, 4, 4], { kernelSize: 2 }), 'maxPool2d: x must be (N, C, H, W)')
  no(
    () => pool2dShape('maxPool2d', [1, 1, 1, 4], { kernelSize: 2 }),
    'maxPool2d: a 2×2 kernel with padding 0×0',
  )
  no(() => pool2dShape('maxPool2d', [1, 1, 4, 4], { kernelSize: 2, padding: 2 }), 'more than half the kernel')
  no(() => pool2dShape('maxPool2d', [1, 1, 4, 4], { kernelSize: 2, stride: 0 }), 'stride is a whole number')
})
