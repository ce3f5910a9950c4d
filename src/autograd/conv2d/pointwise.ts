/**
 * 1×1 without stride and padding as a matrix product an image, on CPU drivers with lanes:
 *
 *   y[n] = weight · x[n]      dx[n] = weightᵀ · dy[n]      dw = Σ_n dy[n] · x[n]ᵀ
 *
 * with weight (cout, cin), x[n] (cin, pixels), y[n] (cout, pixels).
 */
import { isPointwise } from './correlation.ts'
import { lanes } from './lanes.ts'
import { lanesProduct, oneAxis, type Product } from './product.ts'
import { reduce } from './split.ts'
import {
  biasBinding,
  type ConvAdapter,
  type ConvBuffer,
  type ConvDispatch,
  type ConvEpilogue,
  type ConvShape,
  type ConvVariant,
} from './variant.ts'

/** With fewer channels most rows of a tile would be empty. */
const fits = (s: ConvShape, adapter: ConvAdapter): boolean =>
  lanes(adapter) && isPointwise(s) && s.groups === 1 && Math.min(s.cin, s.cout) >= 12

interface Operands {
  readonly a: ConvBuffer
  readonly b: ConvBuffer
  readonly y: ConvBuffer
}

/** The product and, where its sum is split, the addition of its parts. */
function productVariant(
  { a, b, y }: Operands,
  product: Product,
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant {
  const split = lanesProduct(product).splits > 1
  const { params, overrides, workgroups, splits } = lanesProduct({ ...product, ...(split ? {} : epilogue) })
  const main: ConvDispatch = {
    file: adapter.half ? `matmul_lanes@${a === 'weight' ? 'weight' : 'sums'}` : 'matmul_lanes',
    entry: 'matmul_lanes',
    bindings: {
      a,
      wide_a: a,
      b,
      wide_b: b,
      bias: epilogue.bias ? biasBinding(epilogue) : a,
      y: split ? 'scratch:partial' : y,
    },
    ...{ params, overrides, workgroups },
  }
  if (!split) return { name: 'product', scratch: {}, dispatches: [main] }
  const count = product.m * product.n
  return {
    name: 'product',
    scratch: { partial: splits * count },
    dispatches: [main, reduce('scratch:partial', y, count, splits, epilogue)],
  }
}

export function productForward(s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue) {
  if (!fits(s, adapter)) return undefined
  const product = { m: s.cout, n: s.h * s.w, k: s.cin, batch: s.n, axes: oneAxis(s.n, 0, 1) }
  return productVariant({ a: 'weight', b: 'x', y: 'y' }, product, adapter, epilogue)
}

/** 2×2 windows that tile an image: the transpose is a product with 4·cin rows, written where the windows lie. */
const tilesImage = (s: ConvShape, adapter: ConvAdapter): boolean =>
  lanes(adapter) &&
  [s.kh, s.kw, s.strideH, s.strideW].every((v) => v === 2) &&
  [s.padH, s.padW, s.dilationH - 1, s.dilationW - 1, s.groups - 1].every((v) => v === 0) &&
  [s.h === 2 * s.outH, s.w === 2 * s.outW, s.outW % 4 === 0, s.cout >= 12].every(Boolean)

export function productInputGrad(s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue) {
  if (tilesImage(s, adapter)) {
    const size = { m: 4 * s.cin, n: s.outH * s.outW, k: s.cout, batch: s.n, axes: oneAxis(s.n, 0, 1) }
    const product = { ...size, transposeA: true, tiledWidth: s.outW }
    return productVariant({ a: 'weight', b: 'dy', y: 'dx' }, product, adapter, epilogue)
  }
  if (!fits(s, adapter)) return undefined
  const product = {
    m: s.cin,
    n: s.h * s.w,
    k: s.cout,
    batch: s.n,
    axes: oneAxis(s.n, 0, 1),
    transposeA: true,
  }
  return productVariant({ a: 'weight', b: 'dy', y: 'dx' }, product, adapter, epilogue)
}

export function productWeightGrad(s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue) {
  if (!fits(s, adapter)) return undefined
  const pixels = s.h * s.w
  const tiles = Math.ceil(s.cout / 16) * Math.ceil(s.cin / 32)
  const product = {
    ...{ m: s.cout, n: s.cin, k: pixels, batch: 1, axes: oneAxis(1, 0, 0), transposeB: true },
    ...{ images: s.n, stepA: s.cout * pixels, stepB: s.cin * pixels },
    splits: Math.ceil(48 / tiles),
  }
  return productVariant({ a: 'dy', b: 'x', y: 'dw' }, product, adapter, epilogue)
}
