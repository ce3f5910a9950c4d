import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { affineWarp } from '../../src/autograd/ops/affine-warp.ts'
import { type GridSampleOptions, gridSample } from '../../src/autograd/ops/grid-sample.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { inEveryForm, testDevice } from '../device.ts'
import { adjoint, checkGradients, randomValues } from '../oracle.ts'
import { expectClose, reference, runCase } from '../reference.ts'
import { type Padding, sampleOracle } from './warp-oracle.ts'

const file = reference('ops')
const modes = ['bilinear', 'nearest'] as const
const paddings = ['zeros', 'border', 'reflection'] as const

describe('PyTorch', () => {
  test.each(file.cases.filter((c) => c.op === 'gridSample'))('$name', async (c) => {
    await runCase(await testDevice(), file, c, ([x, grid], attrs) => gridSample(x!, grid!, attrs), {
      atol: 2e-6,
      gradAtol: 1e-5,
    })
  })
})

const cases = paddings.flatMap((paddingMode) =>
  [false, true].map((alignCorners) => ({ paddingMode, alignCorners })),
)

test.each(cases)('gradients in x and grid: $paddingMode, alignCorners $alignCorners', async (options) => {
  const { paddingMode, alignCorners } = options
  const pad: Padding = paddingMode === 'reflection' && alignCorners ? 'reflection-centers' : paddingMode
  await checkGradients(
    (x, grid) => gridSample(x, grid, options),
    (x, grid) =>
      sampleOracle(
        x,
        [2, 3, 4],
        (m, v, u) => {
          const i = 2 * ((m * 3 + v) * 4 + u)
          const [gx, gy] = [grid.data[i]! + 1, grid.data[i + 1]! + 1]
          return alignCorners ? [(gx * 6) / 2, (gy * 4) / 2] : [(gx * 7 - 1) / 2, (gy * 5 - 1) / 2]
        },
        { padX: pad, padY: pad },
      ),
    [{ shape: [2, 3, 5, 7] }, { shape: [2, 3, 4, 2], low: -1.9, high: 1.9 }],
    { seed: 5 },
  )
})

test('⟨Ax, y⟩ = ⟨x, Aᵀy⟩ for any shape, mode and border', async () => {
  const device = await testDevice()
  const size = fc.constantFrom(1, 2, 3, 5, 7, 8)
  await fc.assert(
    fc.asyncProperty(
      fc.tuple(fc.integer({ min: 1, max: 3 }), fc.constantFrom(1, 3), size, size),
      size,
      size,
      fc.constantFrom(...modes),
      fc.constantFrom(...paddings),
      fc.boolean(),
      async (shape, h, w, mode, paddingMode, alignCorners) => {
        const grid = device.tensor(randomValues([shape[0], h, w, 2], h + 10 * w, -1.7, 1.7), [
          shape[0],
          h,
          w,
          2,
        ])
        await adjoint((x) => gridSample(x, grid, { mode, paddingMode, alignCorners }), shape)
        grid.dispose()
      },
    ),
    { numRuns: 30, seed: 42 },
  )
})

/** The image gradient of sampling at `positions` (in px of a w×1 image). */
async function imageGradient(
  w: number,
  positions: readonly number[],
  dy: readonly number[],
  options: GridSampleOptions = {},
): Promise<Float32Array> {
  const device = await testDevice()
  const x = device.tensor(new Float32Array(w), [1, 1, 1, w], { requiresGrad: true })
  const grid = device.tensor(Float32Array.from(positions.flatMap((p) => [(2 * p + 1) / w - 1, 0])), [
    1,
    1,
    positions.length,
    2,
  ])
  const y = gridSample(x, grid, options)
  y.backward(device.tensor(Float32Array.from(dy), y.shape))
  const dx = (await x.grad!.data()) as Float32Array
  for (const t of [x.grad, x, grid, y]) t?.dispose()
  return dx
}

const bits = (a: Float32Array) => [...new Uint32Array(a.buffer)]

test('the image gradient has the same bits in any order of the samples', async () => {
  const { adapter } = await testDevice()
  const positions = [...randomValues([5000], 3, -2, 9)]
  const dy = [...randomValues([5000], 4)].map((v, i) => v * 10 ** ((i % 13) - 6))
  const order = positions.map((_, i) => (i * 1237) % 5000)
  await inEveryForm(async () => {
    const forwards = await imageGradient(8, positions, dy)
    const again = await imageGradient(8, positions, dy)
    const shuffled = await imageGradient(
      8,
      order.map((i) => positions[i]!),
      order.map((i) => dy[i]!),
    )
    expect(bits(again)).toEqual(bits(forwards))
    // On CPU drivers the order is fixed, and sums are of float32, of terms up to 1e6.
    if (adapter.cpu) expectClose(shuffled, forwards, 1e-6, 4, 'sums')
    else expect(bits(shuffled)).toEqual(bits(forwards))
  })
})

test('the image gradient is exact where sums cancel', async () => {
  // On pixel centres weights are 1: Σ dy in float64 is the truth.
  const positions = Array.from({ length: 4096 }, (_, i) => i % 4)
  const dy = [...randomValues([4096], 9)]
  const truth = new Float64Array(4)
  dy.forEach((v, i) => {
    truth[i % 4]! += v
  })
  const { adapter } = await testDevice()
  await inEveryForm(async () => {
    // On CPU drivers a thousand terms are summed in float32, whose units in sums up to 64 are 4e-6.
    const atol = adapter.cpu ? 4e-5 : 1e-9
    expectClose(await imageGradient(4, positions, dy), truth, 2e-7, atol, 'sums')
  })
})

test.each([2e-38, 1e-30, 1e-10, 1e10, 1e30, 1e37])('gradients of magnitude %s', async (scale) => {
  const dx = await imageGradient(4, [0, 1, 1, 3], [scale, scale, 2 * scale, -scale])
  expectClose(dx, [scale, 3 * scale, 0, -scale], 1e-6, 0, 'dx')
})

test.each([Number.NaN, Number.POSITIVE_INFINITY])('an upstream gradient with %s gives NaN', async (bad) => {
  const device = await testDevice()
  const identity = device.tensor([1, 0, 0, 0, 1, 0], [1, 2, 3])
  await inEveryForm(async () => {
    // Few planes and many.
    for (const shape of [
      [1, 1, 1, 3],
      [1, 9, 2, 3],
    ]) {
      const x = device.zeros(shape, { requiresGrad: true })
      const y = affineWarp(x, identity)
      const dy = new Float32Array(y.size)
      dy[1] = bad
      y.backward(device.tensor(dy, y.shape))
      expect([...(await x.grad!.data())].every(Number.isNaN)).toBe(true)
      for (const t of [x.grad, x, y]) t?.dispose()
    }
  })
  identity.dispose()
})

test('all samples on one border pixel', async () => {
  const dx = await imageGradient(3, new Array(3000).fill(50), new Array(3000).fill(0.5), {
    paddingMode: 'border',
  })
  expect([...dx]).toEqual([0, 0, 1500])
})

test('borders: zeros fade over a pixel, border repeats, reflection mirrors at the edge', async () => {
  const device = await testDevice()
  const x = device.tensor([1, 2, 4, 8], [1, 1, 1, 4])
  const positions = [-2, -1, -0.5, 0, 3, 3.5, 4, 5]
  const grid = device.tensor(
    positions.flatMap((p) => [(2 * p + 1) / 4 - 1, 0]),
    [1, 1, positions.length, 2],
  )
  const at = async (options: GridSampleOptions) => [...(await gridSample(x, grid, options).data())]
  expect(await at({ paddingMode: 'zeros' })).toEqual([0, 0, 0.5, 1, 8, 4, 0, 0])
  expect(await at({ paddingMode: 'border' })).toEqual([1, 1, 1, 1, 8, 8, 8, 8])
  expect(await at({ paddingMode: 'reflection' })).toEqual([2, 1, 1, 1, 8, 8, 8, 4])
})

test('nearest has a zero gradient in the grid', async () => {
  const device = await testDevice()
  const x = device.tensor([1, 2, 4, 8], [1, 1, 2, 2])
  const grid = device.tensor(randomValues([1, 3, 3, 2]), [1, 3, 3, 2], { requiresGrad: true })
  const y = gridSample(x, grid, { mode: 'nearest' })
  y.backward(device.ones(y.shape))
  expect([...(await grid.grad!.data())].every((v) => v === 0)).toBe(true)
})

test('inside a compiled step', async () => {
  const device = await testDevice()
  const w = device.parameter(randomValues([1, 2, 5, 5]), [1, 2, 5, 5])
  const run = (grid: Tensor) => {
    const y = gridSample(w, grid)
    y.backward(device.ones(y.shape))
    return { y }
  }
  const grid = device.tensor(randomValues([1, 4, 4, 2], 8), [1, 4, 4, 2])
  const eager = await run(grid).y.data()
  const gradient = await w.grad!.data()
  const step = device.compile(run)
  expect([...(await step(grid).y.data())]).toEqual([...eager])
  await step(grid).y.data()
  expectClose(await w.grad!.data(), gradient.map((v) => 3 * v) as Float32Array, 1e-6, 1e-6, 'three gradients')
  step.dispose()
})

test('no samples, and a grid that does not fit', async () => {
  const device = await testDevice()
  const x = device.zeros([2, 3, 4, 5], { requiresGrad: true })
  const y = gridSample(x, device.zeros([2, 0, 7, 2]))
  expect(y.shape).toEqual([2, 3, 0, 7])
  expect(() => gridSample(x, device.zeros([1, 2, 2, 2]))).toThrow(
    'gridSample: grid is float32 (1, 2, 2, 2); for x (2, 3, 4, 5) it must be float32 (2, height, width, 2)',
  )
  expect(() => gridSample(x, device.zeros([2, 2, 2, 2]), { mode: 'bicubic' as 'nearest' })).toThrow(
    `gridSample: mode is one of 'bilinear', 'nearest', got 'bicubic'`,
  )
})
