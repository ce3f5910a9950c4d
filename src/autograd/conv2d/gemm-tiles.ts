/** Tiles of the matrix products of GPUs besides the default, for the tuner. None of them could be timed on a GPU yet. */
import { tapsOf } from './correlation.ts'
import type { ConvAdapter, ConvShape, GemmTile } from './variant.ts'

/** Others than the default say their tile, and `x2` for two buffers. */
const nameOf = ({ ROWS, COLS, SPAN, BUFFERS }: GemmTile) =>
  `gemm${8 * ROWS}x${4 * SPAN}${SPAN > COLS ? 'wide' : ''}${BUFFERS > 1 ? 'x2' : ''}`

/** Those that fit the adapter, where a slice takes so many vec4s of workgroup memory. */
const fitting = (
  tiles: readonly GemmTile[],
  { maxInvocations, maxWorkgroupStorage }: ConvAdapter,
  vec4s: (tile: GemmTile) => number,
) =>
  tiles
    .filter((t) => t.ROWS * t.COLS <= maxInvocations && 16 * t.BUFFERS * vec4s(t) <= maxWorkgroupStorage)
    .map((t) => ({ ...t, name: nameOf(t) }))

/** Besides the default for a product of so many rows. A thread fetches one, two or four times TAPS of a slice's vec4s. */
export function gemmTiles(s: ConvShape, tile: GemmTile, rows: number, adapter: ConvAdapter): GemmTile[] {
  const taps = tapsOf(s)
  const [two, large] = [
    { ...tile, BUFFERS: 2 },
    { ...tile, SPAN: 32 },
  ]
  const tiles =
    taps === 3
      ? [two, { ...large, DEPTH: 12 }, { ...large, DEPTH: 12, BUFFERS: 2 }]
      : [two, { ...large, COLS: 32, DEPTH: 8, BUFFERS: 2 }]
  if (tile.ROWS > 2 && taps === 1) tiles.push({ ...large, DEPTH: 8, BUFFERS: 2 })
  if (rows > 64) tiles.push({ ...large, ROWS: 16, DEPTH: 8 * taps })
  return fitting(tiles, adapter, (t) => t.DEPTH * (t.ROWS * 2 + t.SPAN))
}

/** The same for the gradient of the weight, whose columns are k: the lines of one tile are a vec4 longer. */
export function weightGradTiles(
  s: ConvShape,
  tile: GemmTile,
  rows: number,
  adapter: ConvAdapter,
): GemmTile[] {
  const tiles = [{ ...tile, BUFFERS: 2 }]
  if (tapsOf(s) === 3) tiles.push({ ...tile, COLS: 24, SPAN: 24 })
  else if (rows > 64) tiles.push({ ...tile, ROWS: 16 })
  return fitting(tiles, adapter, (t) => t.DEPTH * (t.ROWS * 2 + t.COLS) + 4 * t.COLS)
}
