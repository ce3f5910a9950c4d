import source from '../../../kernels/join_tiles.wgsl'
import { ShapeError } from '../../gpu/errors.ts'
import { kernel } from '../../gpu/kernel.ts'
import { defineUnaryResult } from '../op.ts'
import { formatShape, type Tensor } from '../tensor.ts'
import { concat } from './concat.ts'
import { slice } from './slice.ts'
import { type Pair, pair } from './window.ts'

const kernels = kernel('join_tiles', source)

/** A grid of overlapping tiles over an image: equal steps, the last tile of a row or column at the image's end. */
export interface TileGrid {
  readonly size: readonly [height: number, width: number]
  readonly rows: number
  readonly columns: number
  readonly step: readonly [y: number, x: number]
  readonly image: readonly [height: number, width: number]
}

/**
 * The tiles that cover an image of (height, width).
 *
 * @param options.size side of a tile, px, at most that of the image
 * @param options.overlap part of a tile that it shares with its neighbour, at least; 0.5
 */
export function tileGrid(
  image: readonly [height: number, width: number],
  { size, overlap = 0.5 }: { readonly size: Pair; readonly overlap?: number },
): TileGrid {
  const [h, w] = pair('tileGrid', 'size', size, 1)
  if (h > image[0] || w > image[1]) {
    throw new ShapeError(
      'tileGrid',
      `a tile of ${h}×${w} is larger than the image of ${image.join('×')} px; pad the image, or take smaller tiles`,
    )
  }
  if (!(overlap >= 0 && overlap < 1)) throw new ShapeError('tileGrid', `overlap is 0 up to 1, got ${overlap}`)
  const along = (length: number, tile: number) => {
    const step = Math.max(1, Math.floor(tile * (1 - overlap)))
    return { step, count: 1 + Math.ceil((length - tile) / step) }
  }
  const [y, x] = [along(image[0], h), along(image[1], w)]
  return { size: [h, w], rows: y.count, columns: x.count, step: [y.step, x.step], image }
}

/** Where tile k of `count` starts. */
export const startOf = (k: number, count: number, step: number, tile: number, length: number): number =>
  k + 1 === count ? length - tile : k * step

/** The tiles of (N, C, H, W), (N·rows·columns, C, h, w): image by image, row by row. Differentiable. */
export function splitTiles(x: Tensor, grid: TileGrid): Tensor {
  const [n, c] = x.shape as [number, number]
  const [h, w] = grid.size
  const tiles: Tensor[] = []
  for (let i = 0; i < n; i++) {
    for (let r = 0; r < grid.rows; r++) {
      const top = startOf(r, grid.rows, grid.step[0], h, grid.image[0])
      for (let k = 0; k < grid.columns; k++) {
        const left = startOf(k, grid.columns, grid.step[1], w, grid.image[1])
        tiles.push(slice(x, { starts: [i, 0, top, left], ends: [i + 1, c, top + h, left + w] }))
      }
    }
  }
  return concat(tiles, { axis: 0 })
}

function paramsOf(images: number, channels: number, { size, rows, columns, step, image }: TileGrid) {
  return {
    images,
    channels,
    height: image[0],
    width: image[1],
    tile_h: size[0],
    tile_w: size[1],
    rows,
    columns,
    step_y: step[0],
    step_x: step[1],
  }
}

const join = defineUnaryResult<TileGrid>({
  name: 'joinTiles',
  forward(run, [tiles], grid) {
    const [count, channels] = tiles!.shape as [number, number]
    const images = count / (grid.rows * grid.columns)
    const y = run.empty([images, channels, ...grid.image])
    run.launch({
      kernel: kernels,
      entry: 'join_tiles',
      bindings: { x: tiles!, y },
      params: paramsOf(images, channels, grid),
      threads: y.size,
    })
    return y
  },
  backward(run, { inputs: [tiles], grads: [dy], attrs: grid }) {
    const dx = run.empty(tiles!.shape)
    run.launch({
      kernel: kernels,
      entry: 'join_tiles_grad',
      bindings: { x: dy!, y: dx },
      params: paramsOf(dy!.shape[0]!, dy!.shape[1]!, grid),
      threads: dx.size,
    })
    return [dx]
  },
})

/**
 * Joins tiles to images: where tiles overlap, their mean weighted by a Gaussian about each tile's centre (deviation: an
 * eighth of the tile, as in nnU-Net). The inverse of `splitTiles` for tiles that agree.
 *
 * tiles: (N·rows·columns, C, h, w) in the order of `splitTiles`; the result (N, C, H, W). Gradient in tiles. Throws a
 * ShapeError for tiles that do not fit the grid.
 */
export function joinTiles(tiles: Tensor, grid: TileGrid): Tensor {
  const [count, , h, w] = tiles.shape
  const each = grid.rows * grid.columns
  if (tiles.rank !== 4 || h !== grid.size[0] || w !== grid.size[1] || count! % each !== 0 || count === 0) {
    throw new ShapeError(
      'joinTiles',
      `wants (N·${each}, C, ${grid.size.join(', ')}), got ${formatShape(tiles.shape)}`,
    )
  }
  return join([tiles], grid)
}
