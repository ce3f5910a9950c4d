/** Depthwise, stride 1, windows up to 7 × 7, on CPU drivers with lanes: a lane walks down a strip of four columns. */
import {
  biasBinding,
  type ConvAdapter,
  type ConvBuffer,
  type ConvEpilogue,
  type ConvShape,
  type ConvVariant,
  flag,
  lanes,
  placeParams,
  sourceParams,
  spread,
} from './variant.ts'

/** Whether the columns that a strip sees lie in the twelve around it. */
const seesTwelve = (padW: number, s: ConvShape) => padW <= 4 && (s.kw - 1) * s.dilationW - padW <= 4

const fits = (s: ConvShape, adapter: ConvAdapter): boolean =>
  lanes(adapter) && s.groups === s.cin && s.strideH * s.strideW === 1 && Math.max(s.kh, s.kw) <= 7

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
  const [padH, padW] = turn
    ? [(s.kh - 1) * s.dilationH - s.padH, (s.kw - 1) * s.dilationW - s.padW]
    : [s.padH, s.padW]
  if (!fits(s, adapter) || Math.min(padH, padW) < 0 || !seesTwelve(padW, s) || (turn && s.cout > s.cin))
    return undefined
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
        bindings: { x: from, x4: from, weight: 'weight', bias: biasBinding(epilogue), [wide ? 'y4' : 'y']: to },
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
