/**
 * Any window as a matrix product with patches laid out for it, on CPU drivers with lanes. With p the pixels of an image
 * and k = (ci, ky, kx), patch (k, p) the value of x under tap k of pixel p (kernels/conv2d_patches.wgsl):
 *
 *   y[n] = weight · patch[n]      dx[n] = Σ over taps of weightᵀ · dy[n]      dw = Σ_n dy[n] · patch[n]ᵀ
 */
import { isPointwise } from './correlation.ts'
import { columns, isProduct, overImages, productVariant } from './pointwise.ts'
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
  lanes,
  sourceParams,
  spread,
  tileWorkgroup,
} from './variant.ts'

/** Rows of patches and their length: pixels of an image, filled up to vec4fs. */
const depth = (s: ConvShape): number => s.cin * s.kh * s.kw
const line = (s: ConvShape): number => 4 * Math.ceil((s.outH * s.outW) / 4)

/** By default a binding holds 2²⁵ floats. */
const fits = (s: ConvShape, adapter: ConvAdapter): boolean =>
  lanes(adapter) && s.groups === 1 && !isPointwise(s) && s.n * depth(s) * line(s) <= 2 ** 25

/** Large windows of a stride over few channels, as a network on ResNet begins: the others share little of what they load. */
const isStem = (s: ConvShape): boolean =>
  s.kh * s.kw >= 25 &&
  s.strideH * s.strideW > 1 &&
  s.cin <= 4 &&
  s.cout >= 32 &&
  s.n * depth(s) * line(s) <= 2 ** 22

/**
 * Where it was measured faster on lavapipe: small images of many channels. Patches of large ones are long, and the
 * gradient of x, which adds them up, needs more channels to gain. A dense 3×3 window has kernels of its own, which lose
 * where the image is smaller than their tile. And first layers, up to 16 MB of patches.
 */
export function suitsPatches(part: ConvPart, s: ConvShape, adapter: ConvAdapter): boolean {
  if (!fits(s, adapter) || isProduct(s, adapter)) return false
  if (isStem(s)) return true
  const dense3x3 = s.kh * s.kw === 9 && s.strideH * s.strideW * s.dilationH * s.dilationW === 1
  const few = dense3x3 || s.kh * s.kw === 1 || part === 'inputGrad'
  const pixels = dense3x3 ? 4 : 64
  return s.outH * s.outW <= pixels && Math.min(s.cin, s.cout) >= (few ? 128 : 64)
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

/** A stride of two, and rows of pixels that are half of x's and whole vec4s: each tap falls on even or odd columns of x. */
const halves = (s: ConvShape): boolean =>
  s.strideH === 2 &&
  s.strideW === 2 &&
  s.dilationH * s.dilationW === 1 &&
  s.kw <= 7 &&
  s.padW < s.kw &&
  s.w === 2 * s.outW &&
  s.outW % 4 === 0

/** Adds up the patches of a gradient. */
function sum(s: ConvShape, epilogue: ConvEpilogue): ConvDispatch {
  const bindings = { patches: 'scratch:patches', bias: biasBinding(epilogue), y: 'dx' } as const
  if (!halves(s)) return dispatch('conv2d_patches_sum', s, bindings, s.n * s.cin * s.h * s.w, epilogue)
  const { n, cin, h, outH, outW, kh, padH } = s
  return {
    file: 'conv2d_patches_sum_lanes',
    entry: 'conv2d_patches_sum_lanes',
    bindings: { ...bindings, patches4: 'scratch:patches' },
    params: { n, cin, h, outH, outW, kh, padH, ...epilogueParams(epilogue) },
    overrides: { KW: s.kw, PAD: s.padW, ENDS: 8 % (outW / 4) > 0 ? 1 : 0 },
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
  const operands = { a: 'weight', b: 'scratch:patches', y: 'y' } as const
  const product = productVariant(operands, { m: s.cout, k: depth(s), ...spans }, adapter, ofPatches(epilogue))
  return variant(product, s.n * depth(s) * line(s), { before: [pack(s)] })
}

export function patchesInputGrad(s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue) {
  if (!fits(s, adapter)) return undefined
  const pixels = s.outH * s.outW
  const operands = { a: 'weight', b: 'dy', y: 'scratch:patches' } as const
  const size = { m: depth(s), k: s.cout, ...columns(s.n, pixels), transposeA: true }
  return variant(productVariant(operands, size, adapter, sourceParams(epilogue)), s.n * depth(s) * pixels, {
    behind: [sum(s, epilogue)],
  })
}

export function patchesWeightGrad(s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue) {
  if (!fits(s, adapter)) return undefined
  const [pixels, n] = [s.outH * s.outW, depth(s)]
  const operands = { a: 'dy', b: 'scratch:patches', y: 'dw' } as const
  const size = { m: s.cout, n, k: pixels, batch: 1, axes: oneAxis(1, 0, 0), transposeB: true, line: line(s) }
  const sum = overImages(s, n, line(s))
  const summed = epilogue.sums === 'dy' ? 0 : undefined
  return variant(
    productVariant(operands, { ...size, ...sum, summed }, adapter, ofPatches(epilogue)),
    s.n * n * line(s),
    {
      before: [pack(s)],
    },
  )
}
