import { expect, test } from 'vitest'
import { concat } from '../../src/autograd/ops/concat.ts'
import { joinTiles, splitTiles, tileGrid } from '../../src/autograd/ops/join-tiles.ts'
import { mul } from '../../src/autograd/ops/mul.ts'
import { pow } from '../../src/autograd/ops/pow.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { flipAveraged, slidingWindow } from '../../src/pipelines/inference.ts'
import { fillHoles, keepLargest } from '../../src/pipelines/postprocess.ts'
import { testDevice } from '../device.ts'
import { randomValues } from '../oracle.ts'

/** Rows of a picture: `#` is 1. */
const picture = (...rows: string[]) => ({
  data: Float32Array.from([...rows.join('')], (c) => (c === '#' ? 1 : 0)),
  shape: [1, 1, rows.length, rows[0]!.length],
})

test('flips of a network that sees pixels alone change nothing; a shifting one is averaged', async () => {
  const device = await testDevice()
  const values = randomValues([2, 1, 5, 6], 3)
  const x = device.tensor(values, [2, 1, 5, 6])
  const square = (t: Tensor) => pow(t, 2)
  for (const axes of ['x', 'y', 'xy'] as const)
    expect(await flipAveraged(square, axes)(x).data()).toEqual(values.map((v) => v * v))
  // A network that sees its left column only: mirrored, it sees the right one.
  const left = device.tensor(
    Float32Array.from({ length: 30 }, (_, i) => (i % 6 === 0 ? 1 : 0)),
    [1, 1, 5, 6],
  )
  const got = await flipAveraged((t) => mul(t, left))(x).data()
  const want = values.map((v, i) => (i % 6 === 0 || i % 6 === 5 ? v / 2 : 0))
  expect(got).toEqual(want)
})

test('a sliding window over a network that sees pixels alone is the network', async () => {
  const device = await testDevice()
  const values = randomValues([2, 1, 20, 33], 4)
  const x = device.tensor(values, [2, 1, 20, 33])
  let passes = 0
  const square = (t: Tensor) => {
    passes++
    expect(t.shape.slice(2)).toEqual([16, 16])
    return pow(t, 2)
  }
  const got = await slidingWindow(square, { size: 16, batch: 5 })(x).data()
  for (let i = 0; i < values.length; i++) expect(Math.abs(got[i]! - values[i]! ** 2)).toBeLessThan(1e-6)
  expect(passes).toBe(Math.ceil((2 * 2 * 4) / 5))
  const small = device.tensor(values.slice(0, 12), [1, 1, 3, 4])
  expect(await slidingWindow((t) => pow(t, 2), { size: 16 })(small).data()).toEqual(
    values.slice(0, 12).map((v) => v * v),
  )
})

test('rows of tiles are joined as all tiles at once are, of several images and channels', async () => {
  const device = await testDevice()
  const [n, h, w] = [2, 21, 33]
  const x = device.tensor(randomValues([n, 1, h, w], 6), [n, 1, h, w])
  // A map that is another in every place of a tile, so that the weights count.
  const slope = device.tensor(randomValues([1, 2, 8, 16], 7), [1, 2, 8, 16])
  const segment = (t: Tensor) => mul(concat([t, t], { axis: 1 }), slope)
  for (const overlap of [0, 0.3, 0.75]) {
    const grid = tileGrid([h, w], { size: [8, 16], overlap })
    const want = await joinTiles(segment(splitTiles(x, grid)), grid).data()
    const got = await slidingWindow(segment, { size: [8, 16], overlap, batch: 3 })(x).data()
    got.forEach((v, i) => {
      expect(Math.abs(v - want[i]!)).toBeLessThan(1e-6)
    })
  }
})

test('more tiles than one tensor may hold', async () => {
  const device = await testDevice()
  // 241 rows of tiles of 64 px: 4 MB each, 240 MB of tiles in all.
  const values = Float32Array.from({ length: 304 * 4096 }, (_, i) => Math.sin(i))
  const x = device.tensor(values, [1, 1, 304, 4096])
  const y = slidingWindow((t) => mul(t, 2), { size: [64, 4096], overlap: 0.99 })(x)
  const got = (await y.data()) as Float32Array
  const worst = got.reduce((most, v, i) => Math.max(most, Math.abs(v - 2 * values[i]!)), 0)
  expect(worst).toBeLessThan(1e-5)
})

test('axes and batches that cannot be', () => {
  const same = (t: Tensor) => t
  // A batch of 0 tiles would never end.
  for (const batch of [0, 1.5, -2])
    expect(() => slidingWindow(same, { size: 16, batch })).toThrow(
      `batch must be a whole number of at least 1, got ${batch}`,
    )
  expect(() => flipAveraged(same, 'z' as 'x')).toThrow("axes are 'x', 'y' or 'xy', got 'z'")
})

test('the k largest components', async () => {
  const device = await testDevice()
  const { data, shape } = picture('##..#', '#...#', '...#.', '##...')
  const x = device.tensor(data, shape)
  const of = async (k: number) => [...(await keepLargest(x, { k }).data())]
  expect(await of(1)).toEqual([...picture('##...', '#....', '.....', '.....').data])
  expect(await of(2)).toEqual([...picture('##..#', '#...#', '.....', '.....').data])
  expect(await of(9)).toEqual([...data])
  expect(() => keepLargest(x, { k: 0 })).toThrow(/k must be a whole number of at least 1, got 0/)
})

test('holes are filled, bays are not', async () => {
  const device = await testDevice()
  const { data, shape } = picture('.####.', '.#..#.', '.#.##.', '.####.', '..#.#.', '..#.#.')
  const filled = picture('.####.', '.####.', '.####.', '.####.', '..#.#.', '..#.#.')
  expect(await fillHoles(device.tensor(data, shape)).data()).toEqual(filled.data)
  const open = picture('###', '#.#', '##.')
  // The hole meets the outside diagonally.
  expect(await fillHoles(device.tensor(open.data, open.shape)).data()).toEqual(
    picture('###', '###', '##.').data,
  )
  expect(await fillHoles(device.tensor(open.data, open.shape), { connectivity: 8 }).data()).toEqual(open.data)
})
