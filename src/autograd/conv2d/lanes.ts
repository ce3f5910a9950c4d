/** Register tiles whose values go round a subgroup by shuffles: for CPU drivers with subgroups of eight. */
import { type Correlation, forwardCorrelation, inputGradCorrelation } from './correlation.ts'
import { lanesRuns } from './lanes-runs.ts'
import { split, splitSum } from './split.ts'
import { storing } from './strips.ts'
import {
  biasBinding,
  type ConvAdapter,
  type ConvEpilogue,
  type ConvShape,
  type ConvVariant,
  epilogueParams,
  geometry,
  lanes,
  sourceParams,
  spread,
} from './variant.ts'

/** A channel block of the lane kernels is mostly idle in a group of few channels. */
function lanesFit(s: ConvShape, adapter: ConvAdapter): boolean {
  return lanes(adapter) && (s.groups === 1 || (s.cin / s.groups >= 4 && s.cout / s.groups >= 4))
}

function lanesVariant(s: ConvShape, c: Correlation, epilogue: ConvEpilogue): ConvVariant {
  const CHANNELS = [1, 4, 8].find((channels) => c.outG <= channels) ?? 16
  // Pixels of a phase of several lie apart.
  const { kernel, binding } = storing('conv2d_lanes', c.phases === 1 ? c.grid : 1, c.to, epilogue)
  return {
    name: 'lanes',
    scratch: {},
    dispatches: [
      {
        file: 'conv2d_lanes',
        entry: kernel,
        bindings: { x: c.from, x4: c.from, weight: 'weight', bias: biasBinding(epilogue), ...binding },
        params: { ...c.params, ...epilogueParams(epilogue), ...sourceParams(epilogue) },
        overrides: { TRANSPOSE: c.transpose ? 1 : 0, VEC: c.vec ? 1 : 0, CHANNELS },
        workgroups: spread(s.n * s.groups * c.phases * Math.ceil(c.grid / 32) * Math.ceil(c.outG / CHANNELS)),
      },
    ],
  }
}

export function lanesForward(
  s: ConvShape,
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant | undefined {
  return lanesFit(s, adapter) ? lanesVariant(s, forwardCorrelation(s), epilogue) : undefined
}

export function lanesInputGrad(
  s: ConvShape,
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant | undefined {
  return lanesFit(s, adapter) ? lanesVariant(s, inputGradCorrelation(s), epilogue) : undefined
}

export function lanesWeightGrad(
  s: ConvShape,
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant | undefined {
  if (!lanesFit(s, adapter)) return undefined
  const pointwise = s.kw === 1 && s.strideW === 1 && s.padW === 0
  const depth = (s.cin / s.groups) * s.kh * s.kw
  const tiles = s.groups * Math.ceil(depth / 32) * Math.ceil(s.cout / s.groups / 8)
  const rows = s.n * s.outH
  const runs = split(rows, 1, lanesRuns(256 * s.outW * rows, tiles))
  return splitSum(
    'lanes',
    {
      file: 'conv2d_weight_grad_lanes',
      entry: 'conv2d_weight_grad_lanes',
      bindings: { x: 'x', x4: 'x', dy: 'dy', dy4: 'dy' },
      params: { ...geometry(s), rowsPerSplit: runs.rowsPerSplit, ...sourceParams(epilogue) },
      overrides: { XVEC: pointwise && s.w % 4 === 0 ? 1 : 0, DYVEC: s.outW % 4 === 0 ? 1 : 0 },
      workgroups: spread(tiles * runs.splits),
    },
    s.cout * depth,
    runs.splits,
    epilogue,
    { sums: epilogue.sums === 'dy' ? s.cout : 0 },
  )
}
