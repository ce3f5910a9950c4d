import { type ConvBuffer, type ConvShape, geometry } from './variant.ts'

/** Without a window an image is one long row. */
export const isPointwise = (s: ConvShape) =>
  s.kh === 1 && s.kw === 1 && s.strideH === 1 && s.strideW === 1 && s.padH === 0 && s.padW === 0

/** The parameters that the transposing kernels share: what is source and destination, how the weight lies. */
export interface Correlation {
  from: ConvBuffer
  to: ConvBuffer
  transpose: boolean
  /** Channels of source and destination in a group. */
  inG: number
  outG: number
  phases: number
  /** Pixels of a phase. */
  grid: number
  /** Four neighbours of a phase lie at the same four of the source. */
  vec: boolean
  params: Record<string, number>
}

export function forwardCorrelation(s: ConvShape): Correlation {
  const plane = isPointwise(s) ? { h: 1, w: s.h * s.w, outH: 1, outW: s.h * s.w } : geometry(s)
  const inG = s.cin / s.groups
  const outG = s.cout / s.groups
  const taps = s.kh * s.kw
  return {
    from: 'x',
    to: 'y',
    transpose: false,
    inG,
    outG,
    phases: 1,
    grid: s.outH * s.outW,
    vec: isPointwise(s) && (s.h * s.w) % 4 === 0,
    params: {
      ...geometry(s),
      ...plane,
      weightOut: inG * taps,
      weightIn: taps,
      weightGroup: outG * inG * taps,
    },
  }
}

/** dx from dy: a correlation from (cout, outH, outW) to (cin, h, w), a phase of the stride at a time. */
export function inputGradCorrelation(s: ConvShape): Correlation {
  // Windows that tile the image: each pixel of dx has one tap, at the same place of dy for a whole phase.
  const tiling =
    s.kh === s.strideH &&
    s.kw === s.strideW &&
    s.padH === 0 &&
    s.padW === 0 &&
    s.dilationH === 1 &&
    s.dilationW === 1
  const whole = tiling && s.h === s.outH * s.strideH && s.w === s.outW * s.strideW
  const plane = isPointwise(s)
    ? { h: 1, w: s.h * s.w, outH: 1, outW: s.h * s.w }
    : { h: s.outH, w: s.outW, outH: s.h, outW: s.w }
  const outG = s.cin / s.groups
  const inG = s.cout / s.groups
  const taps = s.kh * s.kw
  return {
    from: 'dy',
    to: 'dx',
    transpose: true,
    inG,
    outG,
    phases: s.strideH * s.strideW,
    grid: Math.ceil(s.h / s.strideH) * Math.ceil(s.w / s.strideW),
    vec: whole && plane.w % 4 === 0,
    params: {
      ...geometry(s),
      ...plane,
      cin: s.cout,
      cout: s.cin,
      weightOut: taps,
      weightIn: outG * taps,
      weightGroup: outG * inG * taps,
    },
  }
}
