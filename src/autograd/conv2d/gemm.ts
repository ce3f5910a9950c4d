/** Matrix products in workgroup memory, which never write the matrix of patches: for GPUs. */
import {
  areWhole,
  type Correlation,
  forwardCorrelation,
  inOneRow,
  inputGradCorrelation,
  isPointwise,
  type Taps,
  tapsOf,
} from './correlation.ts'
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
  type GemmTile,
  gemmFit,
  geometry,
  spread,
} from './variant.ts'

const rowsOf = (channels: number) => (channels > 32 ? 8 : channels > 16 ? 4 : 2)

/**
 * A tile that every adapter has room for, and no more rows than the product has. A thread fetches once, twice or four times
 * TAPS of a slice's vec4s: with few rows slices are short, lest it need more registers. The tuner knows others.
 */
const gemmTile = (rows: number, taps: Taps): GemmTile => {
  const ROWS = rowsOf(rows)
  return { name: 'gemm', ROWS, COLS: 16, SPAN: 16, DEPTH: taps === 3 ? 24 : ROWS > 2 ? 16 : 8, BUFFERS: 1 }
}

/** The same for the gradient of the weight, whose columns are k: three taps are three of them. */
const weightGradTile = (rows: number, taps: Taps): GemmTile => {
  const columns = taps === 3 ? 12 : 16
  return { ...gemmTile(rows, taps), COLS: columns, SPAN: columns }
}

const workgroupsOf = (s: ConvShape, c: Correlation, { ROWS, SPAN }: Pick<GemmTile, 'ROWS' | 'SPAN'>) =>
  Math.ceil(c.outG / (ROWS * 8)) * Math.ceil((s.n * c.grid) / (SPAN * 4)) * c.phases * s.groups

function gemmDispatch(
  s: ConvShape,
  c: Correlation,
  { name: _, ...tile }: GemmTile,
  epilogue: ConvEpilogue,
  y: ConvBuffer,
  splits: number,
  file = 'conv2d_gemm',
): ConvDispatch {
  const { offset = 0, gap = 0 } = epilogue
  const { outW, weightOut } = c.params as { outW: number; weightOut: number }
  const taps = tapsOf(s)
  const writesWide = c.phases === 1 && areWhole(outW, offset, gap)
  return {
    file,
    entry: writesWide ? 'conv2d_gemm_wide' : 'conv2d_gemm',
    bindings: {
      ...{ x: c.from, wide_x: c.from, weight: 'weight', wide_weight: 'weight', bias: biasBinding(epilogue) },
      [writesWide ? 'y4' : 'y']: y,
    },
    params: { ...c.params, ...epilogueParams(epilogue), splits },
    overrides: {
      TRANSPOSE: flag(c.transpose),
      WIDE: flag(taps === 3 || c.vec),
      TAPS: taps,
      WIDE_WEIGHT: flag(!c.transpose && areWhole(weightOut)),
      DENSE: flag(c.phases === 1),
      ...tile,
    },
    workgroups: spread(workgroupsOf(s, c, tile) * splits),
  }
}

/**
 * Where too few workgroups for a GPU would each add up a long sum, as in the deep layers of a network, several share one:
 * about 128 workgroups, of at least 128 k each.
 */
function gemmSplit(
  s: ConvShape,
  c: Correlation,
  tile: GemmTile,
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant[] {
  const least = Math.floor((c.inG * s.kh * s.kw) / (c.phases * 128))
  const { splits } = split(Math.max(1, least), workgroupsOf(s, c, tile), 128)
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
  const tile = gemmTile(c.outG, tapsOf(s))
  return [
    ...gemmSplit(s, c, tile, adapter, epilogue),
    ...[tile, ...(adapter.tuned?.tiles('forward', s, tile, c.outG, adapter) ?? [])].map((tile) => ({
      name: tile.name,
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
  const row = inOneRow(s)
  const taps = tapsOf(s)
  const first = weightGradTile(outG, taps)
  return [first, ...(adapter.tuned?.tiles('weightGrad', s, first, outG, adapter) ?? [])].map((tile) => {
    const { name, SPAN, ...overrides } = tile
    const tiles = s.groups * Math.ceil(outG / (tile.ROWS * 8)) * Math.ceil(depth / (SPAN * 4))
    const runs = split(Math.ceil((s.n * s.outH * s.outW) / tile.DEPTH), tiles, 256)
    return splitSum(
      name,
      {
        file: 'conv2d_weight_grad_gemm',
        entry: 'conv2d_weight_grad_gemm',
        bindings: { x: 'x', wide_x: 'x', dy: 'dy', wide_dy: 'dy' },
        params: { ...geometry(row), pixelsPerSplit: runs.rowsPerSplit * tile.DEPTH },
        overrides: {
          ...overrides,
          WIDE: flag(taps === 3 || (isPointwise(s) && areWhole(row.w))),
          TAPS: taps,
          WIDE_DY: flag(areWhole(s.outH * s.outW)),
        },
        workgroups: spread(tiles * runs.splits),
      },
      s.cout * depth,
      runs.splits,
      epilogue,
    )
  })
}
