/** Few channels or groups, on CPU drivers with lanes: up to four channels share what is loaded of x. 3×3, stride 1, and others. */
import { bandOf, stripPadding, wideRows } from './depthwise.ts'
import { lanesRuns } from './lanes-runs.ts'
import { split, splitSum } from './split.ts'
import { fillsLanes, sourceAndResult, strips } from './strips.ts'
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

const fits = (s: ConvShape): boolean =>
  s.kh === 3 &&
  s.kw === 3 &&
  s.strideH * s.strideW * s.dilationH * s.dilationW === 1 &&
  s.padH <= 2 &&
  s.padW <= 2

/**
 * Where it was measured faster on lavapipe: groups of any size, and few channels in or out. The gradient of the weight ends in
 * an addition over lanes, which short sums are not worth.
 */
export function suitsGroups3x3(part: ConvPart, s: ConvShape, adapter: ConvAdapter): boolean {
  if (!lanes(adapter) || !fits(s) || (s.groups === 1 && Math.min(s.cin, s.cout) > 4)) return false
  const pixels = s.n * s.outH * s.outW
  const pairs = together(s.cin / s.groups) * together(s.cout / s.groups)
  return part !== 'weightGrad' || (pixels >= 128 && pixels * pairs >= 1024)
}

/** Channels of a group that go together: at most four, and as many in each block. */
const together = (channels: number) => Math.ceil(channels / Math.ceil(channels / 4))

/** Padding 1 and rows of whole vec4s; of a single one; such that eight strips may end within one. */
function rowForms({ padW, w }: { padW: number; w: number }, strips: number) {
  const vec = padW === 1 && w % 4 === 0
  return { VEC: flag(vec), NARROW: flag(vec && w === 4), ENDS: flag(vec && 8 % strips > 0) }
}

/** How the weight lies for one direction, and what is source and result. */
function directed(s: ConvShape, turn: boolean) {
  const [inG, outG, taps] = [s.cin / s.groups, s.cout / s.groups, s.kh * s.kw]
  return {
    ...sourceAndResult(s, turn),
    ...(turn
      ? { inG: outG, outG: inG, weightOut: taps, weightIn: inG * taps }
      : { inG, outG, weightOut: inG * taps, weightIn: taps }),
    weightGroup: inG * outG * taps,
  }
}

function groups3x3(
  s: ConvShape,
  turn: boolean,
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant | undefined {
  if (!lanes(adapter) || !fits(s)) return undefined
  const directions = directed(s, turn)
  const [padH, padW] = turn ? [2 - s.padH, 2 - s.padW] : [s.padH, s.padW]
  const source = { ...directions, padH, padW }
  const CHANNELS = together(source.outG)
  const blocks = Math.ceil(source.outG / CHANNELS)
  const across = Math.ceil(source.outW / 4)
  const tilesOf = (height: number) => s.n * across * Math.ceil(source.outH / height)
  // Of long sums in many channels shorter code counts for more than rows that are loaded twice.
  const tall = source.outH > 4 && !(CHANNELS === 4 && source.inG >= 4 && fillsLanes(tilesOf(4)))
  const height = tall ? 8 : 4
  const bands = Math.ceil(source.outH / height)
  return strips('groups3x3', 'conv2d_3x3_groups_lanes', turn, epilogue, {
    params: {
      n: s.n,
      ...source,
      ...{ strips: across, bands, blocks },
    },
    overrides: {
      CHANNELS,
      TALL: flag(tall),
      ...rowForms(source, across),
    },
    channels: s.groups * blocks,
    tiles: tilesOf(height),
  })
}

/** The strips of a walk: eight tiles or more, so that lanes share weights, if there are so many rows. */
function walkOf(s: ConvShape, { outG, outH, outW }: { outG: number; outH: number; outW: number }) {
  const CHANNELS = together(outG)
  const blocks = Math.ceil(outG / CHANNELS)
  const across = Math.ceil(outW / 4)
  const enough = Math.ceil(outH / Math.ceil(8 / (s.n * across)))
  const band = Math.min(enough, bandOf(outH, s.n * s.groups * blocks * across))
  const bands = Math.ceil(outH / band)
  return { CHANNELS, blocks, across, band, bands, tiles: s.n * across * bands }
}

/** Windows up to 7 × 7, stride 1 or 2, of x's gradient stride 1. */
const walks = (part: 'forward' | 'inputGrad', s: ConvShape, adapter: ConvAdapter) =>
  [lanes(adapter), s.groups > 1, s.groups < Math.max(s.cin, s.cout)].every(Boolean) &&
  s.dilationH * s.dilationW === 1 &&
  (part === 'forward' || s.strideH === 1)
    ? stripPadding(part, s)
    : undefined

/**
 * Where a walk was measured faster on lavapipe: larger windows, and strides in groups of less than sixteen channels. Without weights
 * that lanes share it is slower than all others. The gradient of the weight loads both images for each window: groups of few.
 */
export function suitsGroups(part: ConvPart, s: ConvShape, adapter: ConvAdapter): boolean {
  const [taps, channels] = [s.kh * s.kw, Math.max(s.cin, s.cout) / s.groups]
  if (part === 'weightGrad') {
    const few = channels <= (taps >= 16 ? 16 : 4) && taps >= 9 && s.n * s.outH * s.outW >= 128
    return few && lanes(adapter) && s.groups > 1 && stripPadding(part, s) !== undefined
  }
  if (!walks(part, s, adapter)) return false
  const worth = taps >= 16 || (taps >= 9 && channels < 16)
  return worth && fillsLanes(walkOf(s, directed(s, part === 'inputGrad')).tiles)
}

function walked(
  s: ConvShape,
  part: 'forward' | 'inputGrad',
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant | undefined {
  const turn = part === 'inputGrad'
  const pad = walks(part, s, adapter)
  if (!pad) return undefined
  const source = directed(s, turn)
  const { CHANNELS, blocks, across, band, bands, tiles } = walkOf(s, source)
  return strips('groups', 'conv2d_groups_lanes', turn, epilogue, {
    params: {
      n: s.n,
      ...{ ...source, padH: pad.padH, dilationH: 1 },
      ...{ strips: across, rows: source.outH, band, bands, residues: 1, blocks },
    },
    overrides: {
      ...{ KH: s.kh, KW: s.kw, PAD: pad.padW, STRIDE: s.strideW, CHANNELS },
      ...wideRows(source.w, across, s.strideW),
    },
    channels: s.groups * blocks,
    tiles,
  })
}

export const groupsForward = (s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue) =>
  walked(s, 'forward', adapter, epilogue)

export const groupsInputGrad = (s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue) =>
  walked(s, 'inputGrad', adapter, epilogue)

export const groups3x3Forward = (s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue) =>
  groups3x3(s, false, adapter, epilogue)

export const groups3x3InputGrad = (s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue) =>
  groups3x3(s, true, adapter, epilogue)

export function groups3x3WeightGrad(
  s: ConvShape,
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant | undefined {
  if (!lanes(adapter) || !fits(s)) return undefined
  const { n, cin, h, w, cout, outH, outW, padH, padW } = s
  const [inG, outG] = [cin / s.groups, cout / s.groups]
  const [OUT, IN] = [together(outG), together(inG)]
  const [blocks, inBlocks] = [Math.ceil(outG / OUT), Math.ceil(inG / IN)]
  const across = Math.ceil(outW / 4)
  // Bands where there are fewer strips than lanes.
  const bands = Math.min(outH, Math.max(1, Math.floor(8 / (n * across))))
  const band = Math.ceil(outH / bands)
  const eights = Math.ceil((n * across * Math.ceil(outH / band)) / 8)
  const sums = s.groups * blocks * inBlocks
  const { splits, rowsPerSplit } = split(eights, 1, lanesRuns(9 * OUT * IN * n * outH * outW, sums))
  const name = 'conv2d_3x3_weight_grad_groups_lanes'
  const forms = rowForms(s, across)
  return splitSum(
    'groups3x3',
    {
      file: name,
      entry: name,
      bindings: { x: 'x', x4: 'x', dy: 'dy', dy4: 'dy' },
      params: {
        ...{ n, cin, h, w, cout, outH, outW, inG, outG, padH, padW },
        ...{ strips: across, band, bands: Math.ceil(outH / band), blocks, inBlocks, perSplit: rowsPerSplit },
        ...sourceParams(epilogue),
      },
      overrides: { OUT, IN, ...forms },
      workgroups: spread(sums * splits),
    },
    cout * inG * 9,
    splits,
    epilogue,
    { sums: epilogue.sums === 'dy' ? cout : 0 },
  )
}
