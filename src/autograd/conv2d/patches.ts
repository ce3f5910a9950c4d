/**
 * Any window as a matrix product with patches laid out for it, on CPU drivers with lanes. With p the pixels of an image
 * and k = (ci, ky, kx), patch (k, p) the value of x under tap k of pixel p (kernels/conv2d_patches.wgsl):
 *
 *   y[n] = weight · patch[n]      dx[n] = Σ over taps of weightᵀ · dy[n]      dw = Σ_n dy[n] · patch[n]ᵀ
 */
import { isPointwise } from './correlation.ts'
import { columns, isProduct, overImages, productVariant, sumsOf } from './pointwise.ts'
import { oneAxis } from './product.ts'
import {
  biasBinding,
  type ConvAdapter,
  type ConvBuffer,
  type ConvDispatch,
  type ConvEpilogue,
  type ConvPart,
  type ConvShape,
  type ConvVariant,
  epilogueParams,
  flag,
  lanes,
  sourceParams,
  spread,
  tileWorkgroup,
} from './variant.ts'

/** Rows of patches and their length: pixels of an image, filled up to vec4fs. */
const depth = (s: ConvShape): number => s.cin * s.kh * s.kw
const line = (s: ConvShape): number => 4 * Math.ceil((s.outH * s.outW) / 4)

/** Groups of a few channels would leave most rows of a tile empty; those of more want an image's rows to be vec4fs. */
const groupsFit = (s: ConvShape): boolean =>
  s.groups === 1 || (Math.min(s.cin, s.cout) / s.groups >= 12 && (s.outH * s.outW) % 4 === 0)

/** By default a binding holds 2²⁵ floats. */
const fits = (s: ConvShape, adapter: ConvAdapter): boolean =>
  lanes(adapter) && groupsFit(s) && !isPointwise(s) && s.n * depth(s) * line(s) <= 2 ** 25

/** Large windows of a stride over few channels, as a network on ResNet begins: the others share little of what they load. */
const isStem = (s: ConvShape): boolean =>
  s.kh * s.kw >= 25 && s.strideH * s.strideW > 1 && s.cin <= 4 && s.cout >= 32

/** Floats of patches that are worth it: 64 MB, as of what Winograd transforms. */
const MOST = 2 ** 24

/**
 * Where it was measured faster on lavapipe: 32 channels and more, 64 without a window. The gradient of x, which adds patches up,
 * wants them in rows, or small images of more channels. A dense 3×3 window has kernels of its own, which lose where the
 * image is smaller than their tile. In groups as many of a group, 64 for the gradient of x. And first layers.
 */
export function suitsPatches(part: ConvPart, s: ConvShape, adapter: ConvAdapter): boolean {
  if (!fits(s, adapter) || isProduct(s, adapter) || s.n * depth(s) * line(s) > MOST) return false
  if (isStem(s) || (part === 'inputGrad' && s.cin <= 4 && s.kh * s.kw >= 25 && sumsRows(s))) return true
  const [channels, pixels, taps] = [Math.min(s.cin, s.cout) / s.groups, s.outH * s.outW, s.kh * s.kw]
  const dense3x3 = taps === 9 && s.strideH * s.strideW * s.dilationH * s.dilationW === 1
  if (dense3x3) return pixels <= 4 && channels >= 128
  if (part === 'inputGrad' && (taps === 1 || !sumsRows(s))) return pixels <= 64 && channels >= 128
  const more = taps === 1 || (part === 'inputGrad' && (s.strideW === 1 || s.groups > 1))
  return channels >= (more ? 64 : 32)
}

function dispatch(
  entry: 'conv2d_patches_pack' | 'conv2d_patches_sum',
  s: ConvShape,
  bindings: Record<string, ConvBuffer>,
  count: number,
  epilogue: ConvEpilogue,
  overrides: Record<string, number> = {},
): ConvDispatch {
  const { n, cin, h, w, outH, outW, kh, kw, strideH, strideW, padH, padW, dilationH, dilationW } = s
  const image = { n, cin, h, w, outH, outW, line: line(s) }
  const WG = tileWorkgroup(count)
  const window = { kh, kw, strideH, strideW, padH, padW, dilationH, dilationW }
  return {
    file: 'conv2d_patches',
    entry,
    bindings,
    params: { ...image, ...window, ...epilogueParams(epilogue) },
    overrides: { WG, ...overrides },
    workgroups: spread(Math.ceil(count / WG)),
  }
}

/**
 * Rows of pixels that hold whole vec4s and are as long as x's, or with stride two half as long, so that all taps of a row are
 * added up at once: windows whose taps lie at most four columns apart from theirs.
 */
function sumsRows(s: ConvShape): boolean {
  const { strideH, strideW, dilationH, dilationW, padW } = s
  const stride = strideH === strideW && (strideW === 1 || (strideW === 2 && dilationH * dilationW === 1))
  const near = padW <= 4 * strideW && (s.kw - 1) * dilationW - padW <= 4 * strideW
  return stride && near && s.kw <= 7 && s.w === strideW * s.outW && s.outW % 4 === 0
}

/** Adds up the patches of a gradient. */
function sum(s: ConvShape, epilogue: ConvEpilogue): ConvDispatch {
  const bindings = { patches: 'scratch:patches', bias: biasBinding(epilogue), y: 'dx' } as const
  if (!sumsRows(s)) return dispatch('conv2d_patches_sum', s, bindings, s.n * s.cin * s.h * s.w, epilogue)
  const { n, cin, h, outH, outW, kh, padH, dilationH } = s
  return {
    file: 'conv2d_patches_sum_lanes',
    entry: 'conv2d_patches_sum_lanes',
    bindings: { ...bindings, patches4: 'scratch:patches' },
    params: { n, cin, h, outH, outW, kh, padH, dilationH, ...epilogueParams(epilogue) },
    overrides: {
      ...{ KW: s.kw, PAD: s.padW, STRIDE: s.strideW, DILATION: s.dilationW },
      ENDS: flag(8 % (outW / 4) > 0),
    },
    workgroups: spread(Math.ceil((n * cin * h * outW) / 32)),
  }
}

function pack(s: ConvShape): ConvDispatch {
  const bindings = { x: 'x', patches4: 'scratch:patches' } as const
  const ROWS = s.outW % 4 === 0 ? 1 : 0
  const NARROW = s.outW === 4 && s.w === 4 && s.strideW === 1 ? 1 : 0
  return dispatch('conv2d_patches_pack', s, bindings, (s.n * s.cin * line(s)) / 4, {}, { ROWS, NARROW })
}

/** A product that reads or writes patches, with what comes before and behind it. */
function variant(
  product: ConvVariant,
  count: number,
  { before = [], behind = [] }: { before?: ConvDispatch[]; behind?: ConvDispatch[] },
): ConvVariant {
  return {
    name: 'patches',
    scratch: { ...product.scratch, patches: count },
    dispatches: [...before, ...product.dispatches, ...behind],
  }
}

/** The product reads patches, which are dense wherever the image lies. */
const ofPatches = (epilogue: ConvEpilogue): ConvEpilogue => ({ ...epilogue, sourceOffset: 0, sourceGap: 0 })

export function patchesForward(s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue) {
  if (!fits(s, adapter)) return undefined
  const pixels = s.outH * s.outW
  const spans = { n: s.n * pixels, spans: s.n, batch: 1, axes: oneAxis(1, 0, 0), line: line(s) }
  const size = s.groups > 1 ? columns(s.n, pixels, s.groups) : spans
  const operands = { a: 'weight', b: 'scratch:patches', y: 'y' } as const
  const product = productVariant(
    operands,
    { m: s.cout / s.groups, k: depth(s) / s.groups, ...size },
    adapter,
    ofPatches(epilogue),
  )
  return variant(product, s.n * depth(s) * line(s), { before: [pack(s)] })
}

export function patchesInputGrad(s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue) {
  if (!fits(s, adapter)) return undefined
  const pixels = s.outH * s.outW
  const operands = { a: 'weight', b: 'dy', y: 'scratch:patches' } as const
  const rows = { m: depth(s) / s.groups, k: s.cout / s.groups }
  const size = { ...rows, ...columns(s.n, pixels, s.groups), transposeA: true }
  return variant(productVariant(operands, size, adapter, sourceParams(epilogue)), s.n * depth(s) * pixels, {
    behind: [sum(s, epilogue)],
  })
}

export function patchesWeightGrad(s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue) {
  if (!fits(s, adapter)) return undefined
  const operands = { a: 'dy', b: 'scratch:patches', y: 'dw' } as const
  const product = { ...overImages(s, depth(s), line(s)), summed: sumsOf(s, epilogue, 'dy') }
  return variant(productVariant(operands, product, adapter, ofPatches(epilogue)), s.n * depth(s) * line(s), {
    before: [pack(s)],
  })
}
