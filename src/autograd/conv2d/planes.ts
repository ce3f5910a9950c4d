/** A plane at a time: depthwise convolutions, groups of few channels, few channels in or out. Any adapter. */
import { type Correlation, forwardCorrelation, inputGradCorrelation } from './correlation.ts'
import { split, splitSum } from './split.ts'
import {
  biasBinding,
  type ConvAdapter,
  type ConvBuffer,
  type ConvEpilogue,
  type ConvPart,
  type ConvShape,
  type ConvVariant,
  flag,
  placeParams,
  spread,
  tileWorkgroup,
  WORKGROUP,
} from './variant.ts'

/** A window of 3×3 without stride, whatever its padding and dilation. */
const isDense3x3 = (s: ConvShape) => s.kh === 3 && s.kw === 3 && s.strideH === 1 && s.strideW === 1

/** Groups whose channels do not fill the tiles of other kernels. */
const smallGroups = (s: ConvShape) => s.groups > 1 && Math.min(s.cin, s.cout) / s.groups < 8

/**
 * The kernels of 3×3 windows take rows and columns that are equal modulo the dilation for an image. If those have one or
 * two pixels a side, tiles are all but empty, and the kernels of any window are faster, which leave out taps that see none.
 */
const isScattered = (s: ConvShape) =>
  isDense3x3(s) && s.dilationH > 1 && s.outH <= 2 * s.dilationH && s.outW <= 2 * s.dilationW

/**
 * Which kernel, where a plane at a time is the fastest: one channel comes out (of a weight's gradient: at most two in or out), or
 * groups are small.
 */
export function suitsPlanes(part: ConvPart, s: ConvShape, { cpu }: ConvAdapter): string | undefined {
  const ofWeight = part === 'weightGrad'
  const few = ofWeight ? Math.min(s.cin, s.cout) <= 2 : (part === 'forward' ? s.cout : s.cin) === 1
  if (!few && !smallGroups(s)) return undefined
  // Of weights' gradients pages on a GPU load the other for the tuner alone.
  return isScattered(s) && (cpu || !ofWeight) ? 'planes' : 'planes3x3'
}

/**
 * The rows and columns that are equal modulo the dilation, in bands of `rows` and strips of four columns. Where the
 * dilation is larger than the image there are as many as the image has.
 */
function bandsAndStrips(outH: number, outW: number, s: ConvShape, rows: number) {
  const bands = Math.ceil(Math.ceil(outH / s.dilationH) / rows)
  const strips = Math.ceil(Math.ceil(outW / s.dilationW) / 4)
  return { bands, strips, tiles: bands * strips * Math.min(s.dilationH, outH) * Math.min(s.dilationW, outW) }
}

/** The geometry without window and stride. */
function planesGeometry(s: ConvShape) {
  const { n, cin, h, w, cout, outH, outW, padH, padW, dilationH, dilationW } = s
  return { n, cin, h, w, cout, outH, outW, padH, padW, dilationH, dilationW }
}

function planes3x3(s: ConvShape, turn: boolean, adapter: ConvAdapter, epilogue: ConvEpilogue): ConvVariant {
  const inG = s.cin / s.groups
  const outG = s.cout / s.groups
  const weightGroup = outG * inG * 9
  const source = turn
    ? {
        ...{ cin: s.cout, h: s.outH, w: s.outW, cout: s.cin, outH: s.h, outW: s.w },
        ...{ inG: outG, outG: inG },
        padH: 2 * s.dilationH - s.padH,
        padW: 2 * s.dilationW - s.padW,
        ...{ weightOut: 9, weightIn: inG * 9 },
      }
    : { inG, outG, weightOut: inG * 9, weightIn: 9 }
  const params = { ...planesGeometry(s), ...source, weightGroup }
  const { bands, strips, tiles } = bandsAndStrips(params.outH, params.outW, s, 8)
  const count = s.n * params.cout * tiles
  const WG = adapter.cpu ? tileWorkgroup(count) : WORKGROUP
  const from: ConvBuffer = turn ? 'dy' : 'x'
  return {
    name: 'planes3x3',
    scratch: {},
    dispatches: [
      {
        file: 'conv2d_3x3_planes',
        entry: 'conv2d_3x3_planes',
        bindings: { x: from, x4: from, weight: 'weight', bias: biasBinding(epilogue), y: turn ? 'dx' : 'y' },
        params: { ...params, bands, strips, relu: flag(epilogue.relu), ...placeParams(epilogue) },
        overrides: {
          VEC: flag(params.padW === 1 && s.dilationW === 1 && params.w % 4 === 0),
          DILATED: flag(s.dilationH * s.dilationW > 1),
          TURN: flag(turn),
          BIAS: flag(epilogue.bias),
          ACCUMULATE: flag(epilogue.accumulate),
          WG,
        },
        workgroups: spread(Math.ceil(count / WG)),
      },
    ],
  }
}

export const planes3x3Forward = (s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue) =>
  isDense3x3(s) ? planes3x3(s, false, adapter, epilogue) : undefined

export const planes3x3InputGrad = (s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue) =>
  isDense3x3(s) ? planes3x3(s, true, adapter, epilogue) : undefined

/** From the first tap of an axis that lies in the image for some output pixel to behind the last one. */
function touching(taps: number, out: number, size: number, stride: number, pad: number, dilation: number) {
  const touches = (k: number) => {
    const first = k * dilation - pad
    return first < size && first + (out - 1) * stride >= 0
  }
  const there = Array.from({ length: taps }, (_, k) => k).filter(touches)
  return there.length ? ([there[0]!, there.at(-1)! + 1] as const) : ([0, 0] as const)
}

/** Any window and stride. */
function planesVariant(
  s: ConvShape,
  c: Correlation,
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant {
  const { outH, outW, cout } = c.params as { outH: number; outW: number; cout: number }
  const [phasesH, phasesW] = c.transpose ? [s.strideH, s.strideW] : [1, 1]
  const gridH = Math.ceil(outH / phasesH)
  const gridW = Math.ceil(outW / phasesW)
  const bands = Math.ceil(gridH / 4)
  const strips = Math.ceil(gridW / 4)
  const count = s.n * cout * phasesH * phasesW * bands * strips
  const WG = adapter.cpu ? tileWorkgroup(count) : WORKGROUP
  const { groups: _, ...params } = c.params
  const [firstH, endH] = touching(s.kh, s.outH, s.h, s.strideH, s.padH, s.dilationH)
  const [firstW, endW] = touching(s.kw, s.outW, s.w, s.strideW, s.padW, s.dilationW)
  return {
    name: 'planes',
    scratch: {},
    dispatches: [
      {
        file: 'conv2d_planes',
        entry: 'conv2d_planes',
        bindings: { x: c.from, weight: 'weight', bias: biasBinding(epilogue), y: c.to },
        params: {
          ...params,
          inG: c.inG,
          outG: c.outG,
          ...{ firstH, endH, firstW, endW, bands, strips },
          relu: flag(epilogue.relu),
          ...placeParams(epilogue),
        },
        overrides: {
          TRANSPOSE: flag(c.transpose),
          SLIDE: flag(s.dilationW === (c.transpose ? 1 : s.strideW)),
          BIAS: flag(epilogue.bias),
          ACCUMULATE: flag(epilogue.accumulate),
          WG,
        },
        workgroups: spread(Math.ceil(count / WG)),
      },
    ],
  }
}

export const planesForward = (s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue) =>
  planesVariant(s, forwardCorrelation(s), adapter, epilogue)

export const planesInputGrad = (s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue) =>
  planesVariant(s, inputGradCorrelation(s), adapter, epilogue)

export function planes3x3WeightGrad(
  s: ConvShape,
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant | undefined {
  if (!isDense3x3(s)) return undefined
  const windows = s.cout * (s.cin / s.groups)
  const band = adapter.cpu ? 64 : 16
  const { bands, strips, tiles } = bandsAndStrips(s.outH, s.outW, s, band)
  const columns = s.n * tiles
  const { splits, rowsPerSplit: perSplit } = split(columns, windows, adapter.cpu ? 512 : 16384)
  const WG = adapter.cpu ? 8 : WORKGROUP
  return splitSum(
    'planes3x3',
    {
      file: 'conv2d_3x3_weight_grad_planes',
      entry: 'conv2d_3x3_weight_grad_planes',
      bindings: { x: 'x', x4: 'x', dy: 'dy', dy4: 'dy' },
      params: {
        ...planesGeometry(s),
        inG: s.cin / s.groups,
        outG: s.cout / s.groups,
        rows: Math.ceil(s.outH / s.dilationH),
        ...{ band, bands, strips, columns, perSplit },
      },
      overrides: {
        VEC: flag(s.padW === 1 && s.dilationW === 1 && s.w % 4 === 0 && s.outW % 4 === 0),
        WG,
      },
      workgroups: spread(Math.ceil((windows * splits) / WG)),
    },
    windows * 9,
    splits,
    epilogue,
  )
}
