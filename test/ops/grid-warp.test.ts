import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { gridWarp } from '../../src/autograd/ops/grid-warp.ts'
import { testDevice } from '../device.ts'
import { adjoint, checkGradients, randomValues } from '../oracle.ts'
import { reference, runCase } from '../reference.ts'
import { sampleOracle } from './warp-oracle.ts'

const file = reference('warps')
const paddings = ['zeros', 'border', 'reflection'] as const

describe('PyTorch and OpenCV', () => {
  test.each(file.cases.filter((c) => c.op === 'gridWarp'))('$name', async (c) => {
    await runCase(await testDevice(), file, c, ([x, d], attrs) => gridWarp(x!, d!, attrs), {
      atol: 5e-6,
      gradAtol: 2e-5,
    })
  })
})

/** Linear interpolation of n values laid from the first to the last of `size` pixels: [index, weight] twice. */
function knots(i: number, size: number, n: number): [number, number][] {
  const s = size > 1 ? (i * (n - 1)) / (size - 1) : 0
  const low = Math.min(Math.floor(s), n - 1)
  return [
    [low, 1 - (s - low)],
    [Math.min(low + 1, n - 1), s - low],
  ]
}

test.each([
  ['zeros', 3, 2],
  ['border', 1, 4],
  ['reflection', 2, 9],
] as const)('gradients in image and displacements: %s, %i×%i', async (pad, gh, gw) => {
  const [h, w] = [6, 7]
  await checkGradients(
    (x, d) => gridWarp(x, d, { paddingMode: pad }),
    (x, d) =>
      sampleOracle(
        x,
        [2, h, w],
        (m, v, u) => {
          const at = [u, v]
          for (const axis of [0, 1]) {
            for (const [b, wb] of knots(v, h, gh)) {
              for (const [a, wa] of knots(u, w, gw)) {
                at[axis]! += wa * wb * d.data[((2 * m + axis) * gh + b) * gw + a]!
              }
            }
          }
          return [at[0]!, at[1]!]
        },
        { padX: pad, padY: pad },
      ),
    [{ shape: [2, 3, h, w] }, { shape: [2, 2, gh, gw], low: -1.7, high: 1.7 }],
    { seed: 3 },
  )
})

test('⟨Ax, y⟩ = ⟨x, Aᵀy⟩ for any shape and grid', async () => {
  const device = await testDevice()
  const size = fc.constantFrom(1, 2, 3, 5, 7, 11)
  await fc.assert(
    fc.asyncProperty(
      fc.tuple(fc.integer({ min: 1, max: 2 }), fc.constantFrom(1, 3), size, size),
      size,
      size,
      fc.constantFrom('bilinear' as const, 'nearest' as const),
      fc.constantFrom(...paddings),
      async (shape, gh, gw, mode, paddingMode) => {
        const dims = [shape[0], 2, gh, gw]
        const d = device.tensor(randomValues(dims, gh * 20 + gw, -3, 3), dims)
        await adjoint((x) => gridWarp(x, d, { mode, paddingMode }), shape)
        d.dispose()
      },
    ),
    { numRuns: 20, seed: 42 },
  )
})

test('no displacement changes nothing; one displacement everywhere is a shift', async () => {
  const device = await testDevice()
  const values = randomValues([6, 5])
  const x = device.tensor(values, [1, 1, 6, 5])
  expect([...(await gridWarp(x, device.zeros([1, 2, 3, 4])).data())]).toEqual([...values])
  const shift = device.tensor([1, 1, 1, 1, 0, 0, 0, 0], [1, 2, 2, 2])
  const y = await gridWarp(x, shift, { paddingMode: 'border' }).data()
  expect([...y]).toEqual(Array.from(values, (_, i) => values[i % 5 === 4 ? i : i + 1]!))
})

test('what does not fit', async () => {
  const device = await testDevice()
  const x = device.zeros([2, 1, 4, 4])
  expect(() => gridWarp(x, device.zeros([2, 3, 2, 2]))).toThrow(
    'gridWarp: displacements must be (N, 2, h, w), x and y in pixels at each point of a grid, got (2, 3, 2, 2)',
  )
  expect(() => gridWarp(x, device.zeros([3, 2, 2, 2]))).toThrow(/holds 3 rows, x has 2 images/)
})
