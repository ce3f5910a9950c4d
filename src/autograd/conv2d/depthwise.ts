/** Depthwise, stride 1, windows up to 7 × 7, on CPU drivers with lanes: a lane walks down a strip of four columns. */
import { lanesRuns, split, splitSum } from './split.ts'
import {
  biasBinding,
  type ConvAdapter,
  type ConvBuffer,
  type ConvEpilogue,
  type ConvPart,
  type ConvShape,
  type ConvVariant,
  flag,
  lanes,
  placeParams,
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
 * One channel in, 3×3, has a kernel whose channels share what they load.
 */
export function suitsDepthwise(part: ConvPart, s: ConvShape, adapter: ConvAdapter): boolean {
  if (!padding(part, s, adapter) || (s.groups === 1 && s.kh * s.kw <= 9)) return false
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
  const strips = Math.ceil(source.outW / 4)
  const residues = Math.min(s.dilationH, source.outH)
  const rows = Math.ceil(source.outH / s.dilationH)
  const band = bandOf(rows, s.n * source.cout * strips * residues)
  const bands = Math.ceil(rows / band)
  const tiles = s.n * strips * bands * residues
  const shared = 8 * Math.ceil(tiles / 8) <= 1.5 * tiles
  const count = source.cout * (shared ? Math.ceil(tiles / 8) : tiles / 8)
  const vec = source.w % 4 === 0
  const from: ConvBuffer = turn ? 'dy' : 'x'
  const to: ConvBuffer = turn ? 'dx' : 'y'
  const { offset, gap } = placeParams(epilogue)
  const wide = [source.outW, offset, gap].every((v) => v % 4 === 0)
  return {
    name: 'depthwise',
    scratch: {},
    dispatches: [
      {
        file: 'conv2d_depthwise_lanes',
        entry: wide ? 'conv2d_depthwise_lanes_wide' : 'conv2d_depthwise_lanes',
        bindings: {
          x: from,
          x4: from,
          weight: 'weight',
          bias: biasBinding(epilogue),
          [wide ? 'y4' : 'y']: to,
        },
        params: {
          n: s.n,
          ...source,
          ...{ outG: s.cout / s.groups, padH, dilationH: s.dilationH, strips, band, bands, residues },
          relu: flag(epilogue.relu),
          ...{ offset, gap },
          ...sourceParams(epilogue),
        },
        overrides: {
          ...{ KH: s.kh, KW: s.kw, DILATION: s.dilationW, SHIFT: 4 - padW },
          VEC: flag(vec),
          ENDS: flag(vec && 8 % strips > 0),
          SHARED: flag(shared),
          TURN: flag(turn),
          BIAS: flag(epilogue.bias),
          ACCUMULATE: flag(epilogue.accumulate),
        },
        workgroups: spread(Math.ceil(count)),
      },
    ],
  }
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
  const strips = Math.ceil(outW / 4)
  const residues = Math.min(dilationH, outH)
  const rows = Math.ceil(outH / dilationH)
  const band = bandOf(rows, n * strips * residues * 16)
  const bands = Math.ceil(rows / band)
  const eights = Math.ceil((n * strips * bands * residues) / 8)
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
        ...{ strips, band, bands, residues, perSplit },
        ...sourceParams(epilogue),
      },
      overrides: {
        ...{ KH: s.kh, KW: s.kw, DILATION: s.dilationW, SHIFT: 4 - padW },
        VEC: flag(vec),
        WIDE_DY: flag(outW % 4 === 0),
        ENDS: flag(vec && 8 % strips > 0),
      },
      workgroups: spread(cout * splits),
    },
    cout * s.kh * s.kw,
    splits,
    epilogue,
    { sums: epilogue.sums === 'dy' ? cout : 0 },
  )
}
