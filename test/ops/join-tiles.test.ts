import fc from 'fast-check'
import { expect, test } from 'vitest'
import { joinTiles, splitTiles, type TileGrid, tileGrid } from '../../src/autograd/ops/join-tiles.ts'
import { testDevice } from '../device.ts'
import { checkGradients, randomValues } from '../oracle.ts'

const image = fc.record({
  h: fc.integer({ min: 1, max: 30 }),
  w: fc.integer({ min: 1, max: 30 }),
  part: fc.tuple(fc.double({ min: 0.1, max: 1, noNaN: true }), fc.double({ min: 0.1, max: 1, noNaN: true })),
  overlap: fc.double({ min: 0, max: 0.8, noNaN: true }),
})

test('tiles that agree join to the image; every pixel is covered', async () => {
  const device = await testDevice()
  await fc.assert(
    fc.asyncProperty(image, async ({ h, w, part, overlap }) => {
      const size = [Math.max(1, Math.round(h * part[0])), Math.max(1, Math.round(w * part[1]))] as const
      const grid = tileGrid([h, w], { size, overlap })
      const values = randomValues([2, 3, h, w], 5)
      const [y, tiles] = device.scope(() => {
        const t = splitTiles(device.tensor(values, [2, 3, h, w]), grid)
        return [joinTiles(t, grid), t]
      })
      expect(tiles.shape).toEqual([2 * grid.rows * grid.columns, 3, ...size])
      const got = await y.data()
      for (let i = 0; i < values.length; i++) expect(Math.abs(got[i]! - values[i]!)).toBeLessThan(1e-6)
      y.dispose()
      tiles.dispose()
    }),
    { numRuns: 40 },
  )
})

/** The formula in float64. */
function oracle(x: ArrayLike<number>, grid: TileGrid): Float64Array {
  const [h, w] = grid.size
  const [height, width] = grid.image
  const weight = (i: number, n: number) => Math.max(Math.exp(-32 * ((i + 0.5) / n - 0.5) ** 2), 1e-3)
  const start = (k: number, count: number, step: number, tile: number, length: number) =>
    k + 1 === count ? length - tile : k * step
  const sum = new Float64Array(height * width)
  const total = new Float64Array(height * width)
  for (let r = 0; r < grid.rows; r++)
    for (let k = 0; k < grid.columns; k++)
      for (let v = 0; v < h; v++)
        for (let u = 0; u < w; u++) {
          const at =
            (start(r, grid.rows, grid.step[0], h, height) + v) * width +
            start(k, grid.columns, grid.step[1], w, width) +
            u
          const g = weight(v, h) * weight(u, w)
          sum[at]! += g * x[((r * grid.columns + k) * h + v) * w + u]!
          total[at]! += g
        }
  return sum.map((s, i) => s / total[i]!)
}

test('tiles that differ are weighted by a Gaussian; gradients', async () => {
  const grid = tileGrid([7, 9], { size: [4, 5], overlap: 0.5 })
  await checkGradients(
    (tiles) => joinTiles(tiles, grid),
    ({ data }) => oracle(data, grid),
    [{ shape: [grid.rows * grid.columns, 1, 4, 5] }],
  )
})

test('grids and tiles that do not fit', async () => {
  expect(() => tileGrid([8, 8], { size: 9 })).toThrow(/a tile of 9×9 is larger than the image of 8×8 px; pad/)
  expect(() => tileGrid([8, 8], { size: 4, overlap: 1 })).toThrow(/overlap is 0 up to 1, got 1/)
  const device = await testDevice()
  const grid = tileGrid([8, 8], { size: 4, overlap: 0 })
  expect(() => joinTiles(device.zeros([3, 1, 4, 4]), grid)).toThrow(
    /joinTiles: wants \(N·4, C, 4, 4\), got \(3, 1, 4, 4\)/,
  )
})
