/**
 * 1×1 without stride and padding, and 2×2 windows that tile an image, as matrix products on CPU drivers with lanes:
 *
 *   y[n] = weight · x[n]      dx[n] = weightᵀ · dy[n]      dw = Σ_n dy[n] · x[n]ᵀ
 *
 * with weight (cout, cin), x[n] (cin, pixels), y[n] (cout, pixels); of windows 4·cin rows, read and written where they lie.
 */
import { isPointwise } from './correlation.ts'
import { lanesRuns } from './lanes-runs.ts'
import { lanesProduct, oneAxis, type Product } from './product.ts'
import { reduce, withSums } from './split.ts'
import {
  biasBinding,
  type ConvAdapter,
  type ConvBuffer,
  type ConvDispatch,
  type ConvEpilogue,
  type ConvShape,
  type ConvVariant,
  lanes,
  sourceParams,
} from './variant.ts'

/** With fewer channels most rows of a tile would be empty. */
const fits = (s: ConvShape, adapter: ConvAdapter): boolean =>
  lanes(adapter) && isPointwise(s) && Math.min(s.cin, s.cout) / s.groups >= 12

/** Runs of a weight gradient's sum over k. */
const runs = (m: number, n: number, k: number): number =>
  lanesRuns(32 * Math.min(m, 32) * k, Math.ceil(m / 32) * Math.ceil(n / 32))

/**
 * The product that is a weight's gradient, summed over images: dy by n rows of B, `line` elements apart, each group's by its own.
 * Groups are tiles enough without splitting sums.
 */
export function overImages({ cout, outH, outW, groups, ...s }: ConvShape, rows: number, line: number) {
  const pixels = outH * outW
  const [m, n] = [cout / groups, rows / groups]
  const batch = { batch: groups, axes: oneAxis(groups, 1, 1), groups }
  const splits = groups > 1 ? 1 : runs(m, n, s.n * pixels)
  const steps = { images: s.n, stepA: cout * pixels, stepB: rows * line }
  return { m, n, k: pixels, ...batch, ...steps, splits, transposeB: true, line }
}

/** The product that sums up `what`, where there is only one. */
export const sumsOf = ({ groups }: ConvShape, { sums }: ConvEpilogue, what: 'x' | 'dy') =>
  sums === what && groups === 1 ? 0 : undefined

interface Operands {
  readonly a: ConvBuffer
  readonly b: ConvBuffer
  readonly y: ConvBuffer
}

/** The product and, where its sum is split, the addition of its parts; with `summed` the gradient of a bias of its own. */
export function productVariant(
  { a, b, y }: Operands,
  product: Product,
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant {
  const split = lanesProduct(product).splits > 1
  const { entry, result, params, overrides, workgroups, splits } = lanesProduct({
    ...{ ...product, ...sourceParams(epilogue) },
    ...(split ? {} : { ...epilogue, addSums: epilogue.accumulate }),
  })
  // Weights and their gradients are float32 beside activations in halves, and so is all scratch.
  const inFull = (buffer: ConvBuffer) => /^(weight|dw|scratch)/.test(buffer)
  const full = `${inFull(a) ? 'a' : ''}${inFull(b) ? 'b' : ''}${split || inFull(y) ? 'y' : ''}`
  const main: ConvDispatch = {
    file: adapter.half ? `matmul_lanes@${full}` : 'matmul_lanes',
    entry,
    bindings: {
      a,
      wide_a: a,
      b,
      wide_b: b,
      bias: epilogue.bias ? biasBinding(epilogue) : a,
      [result]: split ? 'scratch:partial' : y,
    },
    ...{ params, overrides, workgroups },
  }
  const { m, n, windowsWidth } = product
  const sums = product.summed === undefined ? 0 : windowsWidth ? n / 4 : m
  const first = sums > 0 ? withSums(main, splits) : main
  if (!split) return { name: 'product', scratch: {}, dispatches: [first] }
  return {
    name: 'product',
    scratch: { partial: splits * m * n, ...(sums > 0 ? { sums: splits * sums } : {}) },
    dispatches: [first, reduce('scratch:partial', y, m * n, splits, epilogue, sums)],
  }
}

/** The columns of one product: those of all images where none's last four reach into the next, else an image's or a group's. */
export function columns(n: number, pixels: number, groups: number) {
  if (groups === 1 && pixels % 4 === 0) return { n: n * pixels, spans: n, batch: 1, axes: oneAxis(1, 0, 0) }
  const axes = { ...oneAxis(groups, 1, 1), n1: n, b1: groups }
  return { n: pixels, batch: n * groups, axes, groups }
}

/** 2×2 windows that tile an image whose rows hold whole vec4fs. */
const tilesImage = (s: ConvShape, adapter: ConvAdapter): boolean =>
  lanes(adapter) &&
  [s.kh, s.kw, s.strideH, s.strideW].every((v) => v === 2) &&
  [s.padH, s.padW, s.dilationH - 1, s.dilationW - 1, s.groups - 1].every((v) => v === 0) &&
  [s.h === 2 * s.outH, s.w === 2 * s.outW, s.outW % 4 === 0, s.cout >= 12].every(Boolean)

export const isProduct = (s: ConvShape, adapter: ConvAdapter): boolean =>
  tilesImage(s, adapter) || fits(s, adapter)

export function productForward(s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue) {
  const windows = tilesImage(s, adapter)
  if (!isProduct(s, adapter)) return undefined
  const k = (windows ? 4 * s.cin : s.cin) / s.groups
  const size = { m: s.cout / s.groups, k, ...columns(s.n, s.outH * s.outW, s.groups) }
  const product = windows ? { ...size, windowsWidth: s.outW } : size
  return productVariant({ a: 'weight', b: 'x', y: 'y' }, product, adapter, epilogue)
}

export function productInputGrad(s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue) {
  const windows = tilesImage(s, adapter)
  if (!isProduct(s, adapter)) return undefined
  const m = (windows ? 4 * s.cin : s.cin) / s.groups
  const size = { m, k: s.cout / s.groups, ...columns(s.n, s.outH * s.outW, s.groups), transposeA: true }
  const product = windows ? { ...size, tiledWidth: s.outW } : size
  return productVariant({ a: 'weight', b: 'dy', y: 'dx' }, product, adapter, epilogue)
}

export function productWeightGrad(s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue) {
  const windows = tilesImage(s, adapter)
  if (!isProduct(s, adapter)) return undefined
  const product = {
    ...overImages(s, windows ? 4 * s.cin : s.cin, s.outH * s.outW),
    summed: sumsOf(s, epilogue, windows ? 'x' : 'dy'),
    ...(windows ? { windowsWidth: s.outW } : {}),
  }
  return productVariant({ a: 'dy', b: 'x', y: 'dw' }, product, adapter, epilogue)
}
