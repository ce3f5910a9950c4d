/** Depthwise, stride 1, windows up to 7 × 7, on CPU drivers with lanes: a lane walks down a strip of four columns. */
import { lanesRuns, split, splitSum } from './split.ts'
import { strips } from './strips.ts'
import {
  type ConvAdapter,
  type ConvEpilogue,
  type ConvPart,
  type ConvShape,
  type ConvVariant,
  flag,
  lanes,
  sourceParams,
  spread,
} from './variant.ts'

/** Zeros before the image that a part reads, if it has the form: the columns that a strip sees lie in the twelve around it. */
function padding(part: ConvPart, s: ConvShape, adapter: ConvAdapter) {
  const turn = part === 'inputGrad'
  const [spanH, spanW] = [(s.kh - 1) * s.dilationH, (s.kw - 1) * s.dilationW]
  const [padH, padW] = turn ? [spanH - s.padH, spanW - s.padW] : [s.padH, s.padW]
  const depthwise = s.groups === s.cin && !(turn && s.cout > s.cin)
  const small = s.strideH * s.strideW === 1 && Math.max(s.kh, s.kw) <= 7
  const seen = Math.min(padH, padW) >= 0 && padW <= 4 && spanW - padW <= 4
  return lanes(adapter) && depthwise && small && seen ? { padH, padW } : undefined
}

/**
 * Where it was measured faster on lavapipe: but for gradients of weights whose sums are too short for the addition over lanes.
 * Of one channel in, the gradient of a small window has kernels whose channels share what they load; forward 3×3 takes two thirds
 * of their time here.
 */
export function suitsDepthwise(part: ConvPart, s: ConvShape, adapter: ConvAdapter): boolean {
  const taps = s.kh * s.kw
  if (!padding(part, s, adapter)) return false
  if (s.groups === 1 && taps <= 9) return part === 'forward' && taps === 9
  return part !== 'weightGrad' || s.n * s.outH * s.outW >= 128
}

/** Rows of a strip's band, so that sixteen subgroups or more have work, if there are so many rows. */
function bandOf(rows: number, strips: number): number {
  const bands = Math.max(1, Math.min(Math.ceil(128 / strips), Math.floor(rows / 8)))
  return Math.ceil(rows / bands)
}

function depthwise(
  s: ConvShape,
  turn: boolean,
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant | undefined {
  const pad = padding(turn ? 'inputGrad' : 'forward', s, adapter)
  if (!pad) return undefined
  const { padH, padW } = pad
  const source = turn
    ? { cin: s.cout, h: s.outH, w: s.outW, cout: s.cin, outH: s.h, outW: s.w }
    : { cin: s.cin, h: s.h, w: s.w, cout: s.cout, outH: s.outH, outW: s.outW }
  const across = Math.ceil(source.outW / 4)
  const residues = Math.min(s.dilationH, source.outH)
  const rows = Math.ceil(source.outH / s.dilationH)
  const band = bandOf(rows, s.n * source.cout * across * residues)
  const bands = Math.ceil(rows / band)
  const vec = source.w % 4 === 0
  return strips('depthwise', 'conv2d_depthwise_lanes', turn, epilogue, {
    params: {
      n: s.n,
      ...source,
      ...{ outG: s.cout / s.groups, padH, dilationH: s.dilationH, strips: across, band, bands, residues },
    },
    overrides: {
      ...{ KH: s.kh, KW: s.kw, DILATION: s.dilationW, SHIFT: 4 - padW },
      VEC: flag(vec),
      ENDS: flag(vec && 8 % across > 0),
    },
    channels: source.cout,
    tiles: s.n * across * bands * residues,
  })
}

export const depthwiseForward = (s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue) =>
  depthwise(s, false, adapter, epilogue)

export const depthwiseInputGrad = (s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue) =>
  depthwise(s, true, adapter, epilogue)

export function depthwiseWeightGrad(
  s: ConvShape,
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant | undefined {
  if (!padding('weightGrad', s, adapter)) return undefined
  const { n, cin, h, w, cout, outH, outW, padH, padW, dilationH, groups } = s
  const across = Math.ceil(outW / 4)
  const residues = Math.min(dilationH, outH)
  const rows = Math.ceil(outH / dilationH)
  const band = bandOf(rows, n * across * residues * 16)
  const bands = Math.ceil(rows / band)
  const eights = Math.ceil((n * across * bands * residues) / 8)
  const work = s.kh * s.kw * n * outH * outW
  const { splits, rowsPerSplit: perSplit } = split(eights, 1, lanesRuns(work, cout))
  const vec = w % 4 === 0
  const name = 'conv2d_depthwise_weight_grad_lanes'
  return splitSum(
    'depthwise',
    {
      file: name,
      entry: name,
      bindings: { x: 'x', x4: 'x', dy: 'dy', dy4: 'dy' },
      params: {
        ...{ n, cin, h, w, cout, outH, outW, outG: cout / groups, padH, dilationH },
        ...{ strips: across, band, bands, residues, perSplit },
        ...sourceParams(epilogue),
      },
      overrides: {
        ...{ KH: s.kh, KW: s.kw, DILATION: s.dilationW, SHIFT: 4 - padW },
        VEC: flag(vec),
        WIDE_DY: flag(outW % 4 === 0),
        ENDS: flag(vec && 8 % across > 0),
      },
      workgroups: spread(cout * splits),
    },
    cout * s.kh * s.kw,
    splits,
    epilogue,
    { sums: epilogue.sums === 'dy' ? cout : 0 },
  )
}
