import { add } from '../autograd/ops/add.ts'
import { affineWarp } from '../autograd/ops/affine-warp.ts'
import { concat } from '../autograd/ops/concat.ts'
import { joinTiles, splitTiles, startOf, type TileGrid, tileGrid } from '../autograd/ops/join-tiles.ts'
import { mul } from '../autograd/ops/mul.ts'
import { slice } from '../autograd/ops/slice.ts'
import type { Pair } from '../autograd/ops/window.ts'
import type { Tensor } from '../autograd/tensor.ts'
import { FoveaError } from '../gpu/errors.ts'

/** Images (N, C, H, W) to maps (N, K, H, W): a network, or what is made of one here. */
export type Segment = (x: Tensor) => Tensor

/** x mirrored along x and/or y; exact, as positions are whole pixels. */
function mirrored(x: Tensor, alongX: boolean, alongY: boolean): Tensor {
  const [n, , h, w] = x.shape as [number, number, number, number]
  const row = [alongX ? -1 : 1, 0, alongX ? w - 1 : 0, 0, alongY ? -1 : 1, alongY ? h - 1 : 0]
  const matrix = x.device.tensor(
    Float32Array.from({ length: 6 * n }, (_, i) => row[i % 6]!),
    [n, 2, 3],
  )
  return affineWarp(x, matrix)
}

export type FlipAxes = 'x' | 'y' | 'xy'

/** Which mirror images are averaged with the image itself: for each whether it is mirrored along x, and along y. */
export const mirrorings = (axes: FlipAxes): readonly (readonly [alongX: boolean, alongY: boolean])[] => [
  [false, false],
  ...(axes === 'y' ? [] : ([[true, false]] as const)),
  ...(axes === 'x' ? [] : ([[false, true]] as const)),
  ...(axes === 'xy' ? ([[true, true]] as const) : []),
]

/**
 * Flip-averaged inference (test-time augmentation): the mean of the maps of the image and of its mirror images, each
 * mirrored back.
 *
 * @param axes 'x': left and right exchanged, two passes; 'xy': all four mirrorings, four passes
 * @throws FoveaError for other axes
 */
export function flipAveraged(segment: Segment, axes: FlipAxes = 'x'): Segment {
  if (!['x', 'y', 'xy'].includes(axes))
    throw new FoveaError(`flipAveraged: axes are 'x', 'y' or 'xy', got '${axes}'`)
  const flips = mirrorings(axes)
  return (x) => {
    const maps = flips.map(([fx, fy]) => mirrored(segment(mirrored(x, fx, fy)), fx, fy))
    return mul(
      maps.reduce((a, b) => add(a, b)),
      1 / flips.length,
    )
  }
}

export interface SlidingWindowOptions {
  /** Side of the tiles, px; smaller images go through whole. */
  readonly size: Pair
  /** Part of a tile shared with its neighbour, 0 up to but not 1; 0.5. */
  readonly overlap?: number
  /** Tiles in one pass; 16. */
  readonly batch?: number
}

/**
 * Sliding-window inference: images larger than what a network was trained on go through it in overlapping tiles of
 * that size; where tiles overlap, their maps are averaged with a Gaussian about each tile's centre.
 *
 * @throws FoveaError when batch is no whole number of at least 1; in use, ShapeError for a size or an overlap that cannot be
 */
export function slidingWindow(segment: Segment, options: SlidingWindowOptions): Segment {
  const { size, overlap = 0.5, batch = 16 } = options
  if (!Number.isInteger(batch) || batch < 1)
    throw new FoveaError(`slidingWindow: batch must be a whole number of at least 1, got ${batch}`)
  return (x) => {
    const [h, w] = [x.shape[2]!, x.shape[3]!]
    const [th, tw] = typeof size === 'number' ? [size, size] : size
    if (h <= th! && w <= tw!) return segment(x)
    const grid = tileGrid([h, w], { size: [Math.min(th!, h), Math.min(tw!, w)], overlap })
    const rows = Array.from({ length: grid.rows }, (_, r) =>
      x.device.scope(() => rowOfTiles(segment, x, grid, r, batch)),
    )
    return rows.length === 1 ? rows[0]! : joinRows(rows, grid)
  }
}

/** The maps of one row of tiles as a map as wide as the image: a grid of one row. */
function rowOfTiles(segment: Segment, x: Tensor, grid: TileGrid, r: number, batch: number): Tensor {
  const [n, c, h, w] = x.shape as [number, number, number, number]
  const [height] = grid.size
  const top = startOf(r, grid.rows, grid.step[0], height, h)
  const own: TileGrid = { ...grid, rows: 1, image: [height, w] }
  const tiles = splitTiles(slice(x, { starts: [0, 0, top, 0], ends: [n, c, top + height, w] }), own)
  const count = tiles.shape[0]!
  const maps: Tensor[] = []
  for (let i = 0; i < count; i += batch) {
    const ends = [Math.min(i + batch, count), ...tiles.shape.slice(1)]
    // What a pass makes on its way is freed before the next: an image may have hundreds of tiles.
    maps.push(x.device.scope(() => segment(slice(tiles, { starts: [i, 0, 0, 0], ends }))))
  }
  return joinTiles(concat(maps, { axis: 0 }), own)
}

/** Values that lie together in one tensor while rows are joined: 64 MB, half of what every adapter binds. */
const TOGETHER = 2 ** 24

/**
 * Joins rows of tiles. A tile's weight is w(y)·w(x), so the mean over all tiles is the mean over rows of the means
 * along them; columns of the image are joined apart, as many at a time as may lie together.
 */
function joinRows(rows: readonly Tensor[], grid: TileGrid): Tensor {
  const [n, k, height, w] = rows[0]!.shape as [number, number, number, number]
  const width = Math.min(w, Math.max(1, Math.floor(TOGETHER / (n * k * height * rows.length))))
  const parts: Tensor[] = []
  for (let left = 0; left < w; left += width) {
    const right = Math.min(left + width, w)
    const own: TileGrid = {
      ...grid,
      size: [height, right - left],
      columns: 1,
      image: [grid.image[0], right - left],
    }
    const tiles = Array.from({ length: n * rows.length }, (_, i) => {
      const [image, row] = [Math.floor(i / rows.length), rows[i % rows.length]!]
      return slice(row, { starts: [image, 0, 0, left], ends: [image + 1, k, height, right] })
    })
    parts.push(joinTiles(concat(tiles, { axis: 0 }), own))
  }
  return concat(parts, { axis: 3 })
}
