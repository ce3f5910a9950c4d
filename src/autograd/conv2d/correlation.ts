import { type ConvBuffer, type ConvShape, geometry } from './variant.ts'

/** Without a window an image is one long row. */
export const isPointwise = (s: ConvShape) =>
  s.kh === 1 && s.kw === 1 && s.strideH === 1 && s.strideW === 1 && s.padH === 0 && s.padW === 0

/** Counts that are whole vec4s. */
export const areWhole = (...counts: number[]) => counts.every((v) => v % 4 === 0)

/** k that matrix products fetch at once: three, where a window's rows are taps around a pixel in rows of whole vec4s. */
export const tapsOf = (s: ConvShape): Taps =>
  [s.kw === 3, s.padW === 1, s.dilationW === 1, s.strideH === 1, s.strideW === 1, areWhole(s.w)].every(
    Boolean,
  )
    ? 3
    : 1

export type Taps = 1 | 3

/** The shape, without a window as one long row. */
export const inOneRow = (s: ConvShape): ConvShape =>
  isPointwise(s) ? { ...s, h: 1, w: s.h * s.w, outH: 1, outW: s.h * s.w } : { ...s }

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
      ...inOneRow(s),
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
  const { h, w, outH, outW } = inOneRow(s)
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
    vec: whole && outW % 4 === 0,
    params: {
      ...geometry(s),
      ...{ h: outH, w: outW, outH: h, outW: w },
      cin: s.cout,
      cout: s.cin,
      weightOut: taps,
      weightIn: outG * taps,
      weightGroup: outG * inG * taps,
    },
  }
}
