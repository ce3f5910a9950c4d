import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { affineWarp } from '../../src/autograd/ops/affine-warp.ts'
import { testDevice } from '../device.ts'
import { adjoint, checkGradients, randomValues } from '../oracle.ts'
import { reference, runCase } from '../reference.ts'
import { sampleOracle } from './warp-oracle.ts'

const file = reference('warps')
const paddings = ['zeros', 'border', 'reflection'] as const

describe('PyTorch and OpenCV', () => {
  test.each(file.cases.filter((c) => c.op === 'affineWarp'))('$name', async (c) => {
    await runCase(await testDevice(), file, c, ([x, matrix], attrs) => affineWarp(x!, matrix!, attrs), {
      atol: 5e-6,
      gradAtol: 5e-5,
    })
  })
})

test.each(paddings)('gradients in image and matrix: %s', async (pad) => {
  await checkGradients(
    (x, matrix) => affineWarp(x, matrix, { size: [5, 6], paddingMode: pad }),
    (x, { data }) =>
      sampleOracle(
        x,
        [2, 5, 6],
        (m, v, u) => {
          const a = data.subarray(6 * m, 6 * m + 6)
          return [a[0]! * u + a[1]! * v + a[2]!, a[3]! * u + a[4]! * v + a[5]!]
        },
        { padX: pad, padY: pad },
      ),
    [
      { shape: [2, 3, 5, 7] },
      {
        shape: [2, 2, 3],
        // No position lies within 3e-3 px of a kink.
        data: [
          1.1337, 0.3119, -0.7243, -0.2421, 0.9147, 0.8361, 0.7713, -0.5237, 3.3119, 0.4391, 1.3817, -1.1923,
        ],
      },
    ],
  )
})

test('⟨Ax, y⟩ = ⟨x, Aᵀy⟩ for any shape and matrix', async () => {
  const device = await testDevice()
  const size = fc.constantFrom(1, 2, 3, 5, 7, 11)
  await fc.assert(
    fc.asyncProperty(
      fc.tuple(fc.integer({ min: 1, max: 2 }), fc.constantFrom(1, 3), size, size),
      size,
      size,
      fc.constantFrom('bilinear' as const, 'nearest' as const),
      fc.constantFrom(...paddings),
      async (shape, h, w, mode, paddingMode) => {
        const matrix = device.tensor(randomValues([shape[0], 2, 3], h * 20 + w, -1.5, 1.5), [shape[0], 2, 3])
        await adjoint((x) => affineWarp(x, matrix, { size: [h, w], mode, paddingMode }), shape)
        matrix.dispose()
      },
    ),
    { numRuns: 20, seed: 42 },
  )
})

test('identity, shifts and flips move pixels exactly', async () => {
  const device = await testDevice()
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: -3, max: 3 }),
      fc.integer({ min: -3, max: 3 }),
      fc.boolean(),
      async (h, w, dx, dy, flip) => {
        const values = randomValues([h, w], h * 10 + w)
        const matrix = flip ? [-1, 0, w - 1 - dx, 0, 1, dy] : [1, 0, dx, 0, 1, dy]
        const y = await affineWarp(
          device.tensor(values, [1, 1, h, w]),
          device.tensor(matrix, [1, 2, 3]),
        ).data()
        const expected = Array.from({ length: h * w }, (_, i) => {
          const u = flip ? w - 1 - dx - (i % w) : (i % w) + dx
          const v = Math.floor(i / w) + dy
          return u >= 0 && u < w && v >= 0 && v < h ? values[v * w + u]! : 0
        })
        expect([...y]).toEqual(expected)
      },
    ),
    { numRuns: 20, seed: 42 },
  )
})

test('many matrices for one image, and what does not fit', async () => {
  const device = await testDevice()
  const x = device.tensor(randomValues([1, 2, 3, 4]), [1, 2, 3, 4])
  const matrix = device.tensor([1, 0, 0, 0, 1, 0, 1, 0, 1, 0, 1, 0], [2, 2, 3])
  const y = affineWarp(x, matrix)
  expect(y.shape).toEqual([2, 2, 3, 4])
  expect([...(await y.data()).subarray(0, 24)]).toEqual([...(await x.data())])
  expect(() => affineWarp(x, device.zeros([1, 3, 2]))).toThrow(
    'affineWarp: matrix must be (N, 2, 3), got (1, 3, 2)',
  )
  expect(() => affineWarp(x, matrix, { paddingMode: 'wrap' as 'zeros' })).toThrow(
    `affineWarp: paddingMode is one of 'zeros', 'border', 'reflection', got 'wrap'`,
  )
})
