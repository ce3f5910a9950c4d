/** Register tiles without subgroups: for CPU drivers whose subgroups are smaller than eight. */
import { type Correlation, forwardCorrelation, inputGradCorrelation } from './correlation.ts'
import { split, splitSum } from './split.ts'
import {
  biasBinding,
  type ConvEpilogue,
  type ConvShape,
  type ConvVariant,
  epilogueParams,
  geometry,
  spread,
  tileWorkgroup,
} from './variant.ts'

/** In groups of few channels most of a tile's eight would be idle. */
const tileFit = (s: ConvShape) => s.groups === 1 || (s.cin / s.groups >= 3 && s.cout / s.groups >= 3)

function tileVariant(s: ConvShape, c: Correlation, epilogue: ConvEpilogue): ConvVariant | undefined {
  if (!tileFit(s)) return undefined
  const count = s.n * s.groups * c.phases * Math.ceil(c.grid / 4) * Math.ceil(c.outG / 8)
  const WG = tileWorkgroup(count)
  return {
    name: 'tile',
    scratch: {},
    dispatches: [
      {
        file: 'conv2d_tile',
        entry: 'conv2d_tile',
        bindings: { x: c.from, x4: c.from, weight: 'weight', bias: biasBinding(epilogue), y: c.to },
        params: { ...c.params, ...epilogueParams(epilogue) },
        overrides: { TRANSPOSE: c.transpose ? 1 : 0, VEC: c.vec ? 1 : 0, WG },
        workgroups: spread(Math.ceil(count / WG)),
      },
    ],
  }
}

export const tileForward = (s: ConvShape, epilogue: ConvEpilogue) =>
  tileVariant(s, forwardCorrelation(s), epilogue)

export const tileInputGrad = (s: ConvShape, epilogue: ConvEpilogue) =>
  tileVariant(s, inputGradCorrelation(s), epilogue)

export function tileWeightGrad(s: ConvShape, epilogue: ConvEpilogue): ConvVariant | undefined {
  if (!tileFit(s)) return undefined
  const pointwise = s.kw === 1 && s.strideW === 1 && s.padW === 0
  const depth = (s.cin / s.groups) * s.kh * s.kw
  const tiles = s.groups * Math.ceil(depth / 4) * Math.ceil(s.cout / s.groups / 8)
  const runs = split(s.n * s.outH, tiles, 1024)
  const WG = tileWorkgroup(tiles * runs.splits)
  return splitSum(
    'tile',
    {
      file: 'conv2d_weight_grad_tile',
      entry: 'conv2d_weight_grad_tile',
      bindings: { x: 'x', x4: 'x', dy: 'dy', dy4: 'dy' },
      params: { ...geometry(s), rowsPerSplit: runs.rowsPerSplit },
      overrides: { XVEC: pointwise && s.w % 4 === 0 ? 1 : 0, DYVEC: s.outW % 4 === 0 ? 1 : 0, WG },
      workgroups: spread(Math.ceil((tiles * runs.splits) / WG)),
    },
    s.cout * depth,
    runs.splits,
    epilogue,
  )
}
