/** Depthwise, stride 1 or 2, windows up to 7 × 7, on CPU drivers with lanes: a lane walks down a strip of four columns. */
import { lanesRuns } from './lanes-runs.ts'
import { split, splitSum } from './split.ts'
import { sourceAndResult, strips } from './strips.ts'
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

/** The gradient of x with a stride is no convolution, and has a kernel of its own. */
const spreads = (part: ConvPart, s: ConvShape) => part === 'inputGrad' && s.strideH === 2

/** Zeros before the image that a part reads, where kernels by strips see it: columns that lie in the twelve around a strip. */
export function stripPadding(part: ConvPart, s: ConvShape): { padH: number; padW: number } | undefined {
  const turn = part === 'inputGrad' && s.strideH === 1
  const [spanH, spanW] = [(s.kh - 1) * s.dilationH, (s.kw - 1) * s.dilationW]
  const [padH, padW] = turn ? [spanH - s.padH, spanW - s.padW] : [s.padH, s.padW]
  const dense = s.dilationH * s.dilationW === 1
  const strided = s.strideH === s.strideW && (s.strideH === 1 || (s.strideH === 2 && dense))
  const small = Math.max(s.kh, s.kw) <= 7
  const seen = Math.min(padH, padW) >= 0 && padW <= 4 * s.strideW && spanW - padW <= 4 * s.strideW
  return strided && small && seen ? { padH, padW } : undefined
}

function padding(part: ConvPart, s: ConvShape, adapter: ConvAdapter) {
  const depthwise = s.groups === s.cin && !(part === 'inputGrad' && s.cout > s.cin)
  return lanes(adapter) && depthwise ? stripPadding(part, s) : undefined
}

/**
 * Which kernel, where this one is there: it, where it was measured faster on lavapipe, but for gradients of weights whose sums are
 * too short for the addition over lanes. Of one channel in, strides and the gradient of a small window have kernels whose channels
 * share what they load; forward 3×3 takes two thirds of their time here.
 */
export function suitsDepthwise(part: ConvPart, s: ConvShape, adapter: ConvAdapter): string | undefined {
  const taps = s.kh * s.kw
  if (!padding(part, s, adapter)) return undefined
  const few = s.groups === 1 && (taps <= 9 || s.strideH > 1)
  if (few) return part === 'forward' && taps === 9 && s.strideH === 1 ? 'depthwise' : undefined
  if (part !== 'weightGrad' || s.n * s.outH * s.outW >= 128) return 'depthwise'
  return s.strideH > 1 ? 'planes' : undefined
}

/** Rows of a strip's band, so that sixteen subgroups or more have work, if there are so many rows. */
export function bandOf(rows: number, strips: number): number {
  const bands = Math.max(1, Math.min(Math.ceil(128 / strips), Math.floor(rows / 8)))
  return Math.ceil(rows / bands)
}

/** Whether a row is whole vec4s, all of which some strip loads; and whether eight strips may end within one. */
export function wideRows(w: number, strips: number, stride: number) {
  const vec = w % 4 === 0 && w <= 4 * stride * strips
  return { VEC: flag(vec), ENDS: flag(vec && 8 % strips > 0) }
}

function depthwise(
  s: ConvShape,
  part: 'forward' | 'inputGrad',
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant | undefined {
  const pad = padding(part, s, adapter)
  if (!pad) return undefined
  const { padH, padW } = pad
  const turn = part === 'inputGrad'
  const apart = spreads(part, s)
  const source = sourceAndResult(s, turn)
  const across = Math.ceil(source.outW / (apart ? 8 : 4))
  // Pairs of rows that begin at −padding, but for those that lie before the image.
  const rows = apart ? Math.ceil((source.outH + (padH % 2)) / 2) : source.outH
  const residues = Math.min(s.dilationH, rows)
  const lines = Math.ceil(rows / s.dilationH)
  const band = bandOf(lines, s.n * source.cout * across * residues)
  const bands = Math.ceil(lines / band)
  const overrides = { KH: s.kh, KW: s.kw, PAD: padW, ...wideRows(source.w, across, turn ? 1 : s.strideW) }
  const file = apart ? 'conv2d_depthwise_input_grad_lanes' : 'conv2d_depthwise_lanes'
  return strips('depthwise', file, turn, epilogue, {
    params: {
      n: s.n,
      ...source,
      ...{ outG: s.cout / s.groups, padH, dilationH: s.dilationH },
      ...{ strips: across, rows, band, bands, residues },
    },
    // In place of one that is turned it takes every other tap.
    overrides: apart ? { ...overrides, TURN: 0 } : { ...overrides, DILATION: s.dilationW, STRIDE: s.strideW },
    channels: source.cout,
    tiles: s.n * across * bands * residues,
  })
}

export const depthwiseForward = (s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue) =>
  depthwise(s, 'forward', adapter, epilogue)

export const depthwiseInputGrad = (s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue) =>
  depthwise(s, 'inputGrad', adapter, epilogue)

export const depthwiseWeightGrad = (s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue) =>
  padding('weightGrad', s, adapter) ? weightGrad('depthwise', s, epilogue) : undefined

/** A window of a group after the other. */
export const groupsWeightGrad = (s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue) =>
  lanes(adapter) && s.groups > 1 && s.groups < s.cin && stripPadding('weightGrad', s)
    ? weightGrad('groups', s, epilogue)
    : undefined

function weightGrad(variant: string, s: ConvShape, epilogue: ConvEpilogue): ConvVariant {
  const { n, cin, h, w, cout, outH, outW, padH, padW, dilationH, groups } = s
  const across = Math.ceil(outW / 4)
  const residues = Math.min(dilationH, outH)
  const rows = Math.ceil(outH / dilationH)
  const band = bandOf(rows, n * across * residues * 16)
  const bands = Math.ceil(rows / band)
  const eights = Math.ceil((n * across * bands * residues) / 8)
  const windows = (cout * cin) / groups
  const work = s.kh * s.kw * n * outH * outW
  const { splits, rowsPerSplit: perSplit } = split(eights, 1, lanesRuns(work, windows))
  const name = 'conv2d_depthwise_weight_grad_lanes'
  return splitSum(
    variant,
    {
      file: name,
      entry: name,
      bindings: { x: 'x', x4: 'x', dy: 'dy', dy4: 'dy' },
      params: {
        ...{ n, cin, h, w, cout, outH, outW, inG: cin / groups, outG: cout / groups, padH, dilationH },
        ...{ strips: across, band, bands, residues, perSplit },
        ...sourceParams(epilogue),
      },
      overrides: {
        ...{ KH: s.kh, KW: s.kw, DILATION: s.dilationW, PAD: padW, STRIDE: s.strideW },
        ...wideRows(w, across, s.strideW),
        WIDE_DY: flag(outW % 4 === 0),
      },
      workgroups: spread(windows * splits),
    },
    windows * s.kh * s.kw,
    splits,
    epilogue,
    { sums: epilogue.sums === 'dy' ? cout : 0 },
  )
}
