/** Matrix products in workgroup memory, which never write the matrix of patches: for GPUs. */
import { type Correlation, forwardCorrelation, inputGradCorrelation } from './correlation.ts'
import { reduceImage, split, splitSum } from './split.ts'
import {
  biasBinding,
  type ConvAdapter,
  type ConvBuffer,
  type ConvDispatch,
  type ConvEpilogue,
  type ConvShape,
  type ConvVariant,
  epilogueParams,
  flag,
  geometry,
  spread,
} from './variant.ts'

/** A tile of the product: 8·ROWS × 4·SPAN, threads ROWS × COLS, slices of DEPTH k in one buffer or two. */
interface GemmTile {
  readonly ROWS: number
  readonly COLS: number
  readonly SPAN: number
  readonly DEPTH: number
  readonly BUFFERS: number
}

/**
 * Tiles for a product of so many rows, the default first: no more rows than it has. None of them could be timed on
 * a GPU yet; the others are there for the tuner.
 */
function gemmTiles(rows: number, adapter: ConvAdapter): GemmTile[] {
  const ROWS = rows > 32 ? 8 : rows > 16 ? 4 : 2
  const tiles: GemmTile[] = [
    { ROWS, COLS: 16, SPAN: 16, DEPTH: 16, BUFFERS: 1 },
    { ROWS, COLS: 16, SPAN: 16, DEPTH: 8, BUFFERS: 2 },
    { ROWS, COLS: 16, SPAN: 32, DEPTH: 8, BUFFERS: 2 },
    { ROWS, COLS: 32, SPAN: 32, DEPTH: 8, BUFFERS: 2 },
  ]
  if (rows > 64) tiles.push({ ROWS: 16, COLS: 16, SPAN: 32, DEPTH: 8, BUFFERS: 1 })
  return tiles.filter(
    (t) =>
      t.ROWS * t.COLS <= adapter.maxInvocations &&
      16 * t.BUFFERS * t.DEPTH * (t.ROWS * 2 + t.SPAN + 2) <= adapter.maxWorkgroupStorage,
  )
}

/** The default is `gemm`; others say their tile, and `x2` for two buffers. */
const gemmName = ({ ROWS, COLS, SPAN, BUFFERS }: GemmTile, first: boolean) =>
  first ? 'gemm' : `gemm${8 * ROWS}x${4 * SPAN}${SPAN > COLS ? 'wide' : ''}${BUFFERS > 1 ? 'x2' : ''}`

/** Groups of few channels would leave most of a matrix tile empty. */
export const gemmFit = (s: ConvShape) => s.groups === 1 || (s.cin / s.groups >= 8 && s.cout / s.groups >= 8)

const workgroupsOf = (s: ConvShape, c: Correlation, { ROWS, SPAN }: GemmTile) =>
  Math.ceil(c.outG / (ROWS * 8)) * Math.ceil((s.n * c.grid) / (SPAN * 4)) * c.phases * s.groups

function gemmDispatch(
  s: ConvShape,
  c: Correlation,
  tile: GemmTile,
  epilogue: ConvEpilogue,
  y: ConvBuffer,
  splits: number,
  file = 'conv2d_gemm',
): ConvDispatch {
  return {
    file,
    entry: 'conv2d_gemm',
    bindings: { x: c.from, weight: 'weight', bias: biasBinding(epilogue), y },
    params: { ...c.params, ...epilogueParams(epilogue), splits },
    overrides: { TRANSPOSE: flag(c.transpose), ...tile },
    workgroups: spread(workgroupsOf(s, c, tile) * splits),
  }
}

/**
 * Where too few workgroups for a GPU would each add up a long sum, as in the deep layers of a network, several share one:
 * about 128 workgroups, of at least eight slices of k each.
 */
function gemmSplit(
  s: ConvShape,
  c: Correlation,
  tile: GemmTile,
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant[] {
  const slices = Math.ceil((c.inG * s.kh * s.kw) / (c.phases * tile.DEPTH))
  const { splits } = split(Math.max(1, Math.floor(slices / 8)), workgroupsOf(s, c, tile), 128)
  if (splits === 1) return []
  const { cout, outH, outW } = c.params as { cout: number; outH: number; outW: number }
  const image = { cout, plane: outH * outW }
  const count = s.n * image.cout * image.plane
  return [
    {
      name: 'gemmSplit',
      scratch: { partial: splits * count },
      dispatches: [
        gemmDispatch(
          s,
          c,
          tile,
          {},
          'scratch:partial',
          splits,
          adapter.half ? 'conv2d_gemm@sums' : undefined,
        ),
        reduceImage('scratch:partial', c.to, count, splits, image, epilogue),
      ],
    },
  ]
}

function gemmVariants(
  s: ConvShape,
  c: Correlation,
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant[] {
  if (!gemmFit(s)) return []
  const tiles = gemmTiles(c.outG, adapter)
  return [
    ...tiles.slice(0, 1).flatMap((tile) => gemmSplit(s, c, tile, adapter, epilogue)),
    ...tiles.map((tile, i) => ({
      name: gemmName(tile, i === 0),
      scratch: {},
      dispatches: [gemmDispatch(s, c, tile, epilogue, c.to, 1)],
    })),
  ]
}

export const gemmForward = (s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue) =>
  gemmVariants(s, forwardCorrelation(s), adapter, epilogue)

export const gemmInputGrad = (s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue) =>
  gemmVariants(s, inputGradCorrelation(s), adapter, epilogue)

export function gemmWeightGrad(s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue): ConvVariant[] {
  if (!gemmFit(s)) return []
  const outG = s.cout / s.groups
  const depth = (s.cin / s.groups) * s.kh * s.kw
  // This kernel has no wide form.
  const fitting = gemmTiles(outG, adapter).filter((t) => t.SPAN === t.COLS)
  return fitting.map((tile, i) => {
    const { SPAN, ...overrides } = tile
    const tiles = s.groups * Math.ceil(outG / (tile.ROWS * 8)) * Math.ceil(depth / (SPAN * 4))
    const runs = split(Math.ceil((s.n * s.outH * s.outW) / tile.DEPTH), tiles, 256)
    return splitSum(
      gemmName(tile, i === 0),
      {
        file: 'conv2d_weight_grad_gemm',
        entry: 'conv2d_weight_grad_gemm',
        bindings: { x: 'x', dy: 'dy' },
        params: { ...geometry(s), pixelsPerSplit: runs.rowsPerSplit * tile.DEPTH },
        overrides,
        workgroups: spread(tiles * runs.splits),
      },
      s.cout * depth,
      runs.splits,
      epilogue,
    )
  })
}
