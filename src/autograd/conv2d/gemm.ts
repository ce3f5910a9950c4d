/** Matrix products in workgroup memory, which never write the matrix of patches: for GPUs. */
import { type Correlation, forwardCorrelation, inputGradCorrelation } from './correlation.ts'
import { split, splitSum } from './split.ts'
import {
  biasBinding,
  type ConvAdapter,
  type ConvEpilogue,
  type ConvShape,
  type ConvVariant,
  epilogueParams,
  geometry,
  spread,
} from './variant.ts'

/** Threads of a matrix-product workgroup: 8 rows and 4 columns of the product each, no more rows than it has. */
function gemmTile(rows: number, adapter: ConvAdapter) {
  const ROWS = rows > 32 ? 8 : rows > 16 ? 4 : 2
  const COLS = 16
  const DEPTH = 16
  const bytes = 16 * DEPTH * (ROWS * 2 + COLS)
  const fits = ROWS * COLS <= adapter.maxInvocations && bytes <= adapter.maxWorkgroupStorage
  return fits ? { ROWS, COLS, DEPTH } : undefined
}

/** Groups of few channels would leave most of a matrix tile empty. */
const gemmFit = (s: ConvShape) => s.groups === 1 || (s.cin / s.groups >= 8 && s.cout / s.groups >= 8)

function gemmVariant(s: ConvShape, c: Correlation, adapter: ConvAdapter, epilogue: ConvEpilogue) {
  const tile = gemmTile(c.outG, adapter)
  if (!tile || !gemmFit(s)) return undefined
  const blocks = Math.ceil(c.outG / (tile.ROWS * 8)) * Math.ceil((s.n * c.grid) / (tile.COLS * 4))
  return {
    name: 'gemm',
    scratch: {},
    dispatches: [
      {
        file: 'conv2d_gemm',
        entry: 'conv2d_gemm',
        bindings: { x: c.from, weight: 'weight' as const, bias: biasBinding(epilogue), y: c.to },
        params: { ...c.params, ...epilogueParams(epilogue) },
        overrides: { TRANSPOSE: c.transpose ? 1 : 0, ...tile },
        workgroups: spread(blocks * c.phases * s.groups),
      },
    ],
  }
}

export function gemmForward(
  s: ConvShape,
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant | undefined {
  return gemmVariant(s, forwardCorrelation(s), adapter, epilogue)
}

export function gemmInputGrad(
  s: ConvShape,
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant | undefined {
  return gemmVariant(s, inputGradCorrelation(s), adapter, epilogue)
}

export function gemmWeightGrad(
  s: ConvShape,
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant | undefined {
  const outG = s.cout / s.groups
  const tile = gemmTile(outG, adapter)
  if (!tile || !gemmFit(s)) return undefined
  const depth = (s.cin / s.groups) * s.kh * s.kw
  const tiles = s.groups * Math.ceil(outG / (tile.ROWS * 8)) * Math.ceil(depth / (tile.COLS * 4))
  const slices = Math.ceil((s.n * s.outH * s.outW) / tile.DEPTH)
  const runs = split(slices, tiles, 256)
  return splitSum(
    'gemm',
    {
      file: 'conv2d_weight_grad_gemm',
      entry: 'conv2d_weight_grad_gemm',
      bindings: { x: 'x', dy: 'dy' },
      params: { ...geometry(s), pixelsPerSplit: runs.rowsPerSplit * tile.DEPTH },
      overrides: tile,
      workgroups: spread(tiles * runs.splits),
    },
    s.cout * depth,
    runs.splits,
    epilogue,
  )
}
