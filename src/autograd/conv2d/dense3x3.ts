/** 3×3, stride 1, on CPU drivers: a window's nine taps share what a register tile holds of x. */
import { lanesRuns } from './lanes-runs.ts'
import { split, splitSum } from './split.ts'
import { storing } from './strips.ts'
import {
  biasBinding,
  type ConvAdapter,
  type ConvDispatch,
  type ConvEpilogue,
  type ConvShape,
  type ConvVariant,
  flag,
  lanes,
  placeParams,
  spread,
  tileWorkgroup,
} from './variant.ts'
import { type Conv3x3, forward3x3 } from './window3x3.ts'

/** Padding 1 and rows of whole vec4s, of a single one. */
const rowForms = ({ padW, w }: { padW: number; w: number }) => ({
  VEC: flag(padW === 1 && w % 4 === 0),
  NARROW: flag(padW === 1 && w === 4),
})

/**
 * What is done at the end, as kernels are compiled for it: a branch beside each value that is stored is
 * a tenth of a convolution on lavapipe, though no lane takes it.
 */
const epilogueOverrides = ({ bias, relu, accumulate }: ConvEpilogue) => ({
  BIAS: flag(bias),
  RELU: flag(relu),
  ACCUMULATE: flag(accumulate),
})

/** By `kernels/<file>.wgsl`, which binds `bindings` besides what every such kernel reads. */
function variant3x3(
  form: 'lanes' | 'tile',
  { file, bindings }: Pick<ConvDispatch, 'file' | 'bindings'>,
  c: Conv3x3,
  overrides: Record<string, number>,
  workgroups: number,
  epilogue: ConvEpilogue,
): ConvVariant {
  return {
    name: `${form}3x3`,
    scratch: {},
    dispatches: [
      {
        file,
        entry: `conv2d_3x3_${form}`,
        bindings: { x: c.from, x4: c.from, weight: 'weight', bias: biasBinding(epilogue), ...bindings },
        params: { ...c.params, ...placeParams(epilogue) },
        overrides: { TURN: flag(c.turn), ...overrides, ...epilogueOverrides(epilogue) },
        workgroups: spread(workgroups),
      },
    ],
  }
}

export function lanes3x3(
  c: Conv3x3 | undefined,
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant | undefined {
  if (!c || !lanes(adapter)) return undefined
  const { n, h, cout, outH, outW, padH } = c.params
  const pair = padH === 1 && outH === h && h <= 4
  // Four columns more, or two images more, share the weights.
  const SIDE = outW > 4 ? 1 : pair && n > 2 ? 2 : 0
  const images = Math.ceil(n / ((pair ? 2 : 1) * (SIDE === 2 ? 2 : 1)))
  const tiles = images * (pair ? 1 : Math.ceil(outH / 8)) * Math.ceil(outW / (SIDE === 1 ? 8 : 4))
  // Two files, not two entry points of one: kernels/parts/conv2d_3x3_lanes.wgsl says why.
  const { kernel, binding } = storing('conv2d_3x3_lanes', outW, c.to, epilogue)
  return variant3x3(
    'lanes',
    { file: kernel, bindings: { weight4: 'weight', ...binding } },
    c,
    { ...rowForms(c.params), PAIR: flag(pair), SIDE },
    tiles * Math.ceil(cout / 8),
    epilogue,
  )
}

export function tile3x3(c: Conv3x3 | undefined, epilogue: ConvEpilogue): ConvVariant | undefined {
  if (!c) return undefined
  const { n, cout, outH, outW } = c.params
  const count = n * Math.ceil(outH / 2) * Math.ceil(outW / 4) * Math.ceil(cout / 8)
  const WG = tileWorkgroup(count)
  const { VEC } = rowForms(c.params)
  const source = { file: 'conv2d_3x3_tile', bindings: { y: c.to } }
  return variant3x3('tile', source, c, { VEC, WG }, Math.ceil(count / WG), epilogue)
}

/** Rows that a column of the gradient of the weight is high. Of 16, 32 and 64 the fastest at 256² and 512²; at 64² it costs. */
const bandOf = (rows: number): number => (rows > 64 ? 32 : 64)

export function lanes3x3WeightGrad(
  s: ConvShape,
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant | undefined {
  if (!lanes(adapter) || !forward3x3(s)) return undefined
  const { n, cin, h, w, cout, outH, outW, padH, padW } = s
  const BLOCK = cout > 4 ? 8 : 4
  const tiles = Math.ceil(cin / 8) * Math.ceil(cout / BLOCK)
  const BAND = bandOf(outH)
  const columns = n * Math.ceil(outH / BAND) * Math.ceil(outW / 4)
  const runs = lanesRuns(288 * BLOCK * Math.min(outH, BAND) * columns, tiles)
  const { splits, rowsPerSplit: columnsPerSplit } = split(columns, 1, runs)
  return splitSum(
    'lanes3x3',
    {
      file: 'conv2d_3x3_weight_grad_lanes',
      entry: 'conv2d_3x3_weight_grad_lanes',
      bindings: { x: 'x', x4: 'x', dy: 'dy', dy4: 'dy' },
      params: { n, cin, h, w, cout, outH, outW, padH, padW, columnsPerSplit },
      overrides: { ...rowForms(s), BLOCK, BAND },
      workgroups: spread(tiles * splits),
    },
    cout * cin * 9,
    splits,
    epilogue,
    { sums: epilogue.sums === 'dy' ? cout : 0 },
  )
}

export function tile3x3WeightGrad(s: ConvShape, epilogue: ConvEpilogue): ConvVariant | undefined {
  if (!forward3x3(s)) return undefined
  const { n, cin, h, w, cout, outH, outW, padH, padW } = s
  const tiles = cin * Math.ceil(cout / 4)
  const { splits, rowsPerSplit } = split(n * outH, tiles, 256)
  return splitSum(
    'tile3x3',
    {
      file: 'conv2d_3x3_weight_grad_tile',
      entry: 'conv2d_3x3_weight_grad_tile',
      bindings: { x: 'x', x4: 'x', dy: 'dy', dy4: 'dy' },
      params: { n, cin, h, w, cout, outH, outW, padH, padW, rowsPerSplit },
      overrides: { VEC: rowForms(s).VEC, WG: 8 },
      workgroups: spread(Math.ceil((tiles * splits) / 8)),
    },
    cout * cin * 9,
    splits,
    epilogue,
  )
}
