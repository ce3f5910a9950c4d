import { ShapeError } from '../../gpu/errors.ts'
import type { Run } from '../op.ts'
import { shown } from '../options.ts'
import { checkTensor, formatShape, isFloat, type Shape, type Span, type Tensor } from '../tensor.ts'

/** A number for both axes, or `[height, width]`. */
export type Pair = number | readonly [number, number]

/** `[height, width]` of an option: whole numbers of at least `least`. */
export function pair(op: string, name: string, value: Pair, least: number): [number, number] {
  const both: readonly number[] = typeof value === 'number' ? [value, value] : value
  if (both.length === 2 && both.every((v) => Number.isInteger(v) && v >= least)) return [both[0]!, both[1]!]
  throw new ShapeError(
    op,
    `${name} is a whole number of at least ${least}, or [height, width], got ${shown(value)}`,
  )
}

/** The four sizes of a batch of images, of floats. */
export function imageShape(op: string, name: string, x: Tensor): [number, number, number, number] {
  checkTensor(op, name, x)
  if (!isFloat(x.dtype)) throw new ShapeError(op, `${name} must be float32, got ${x.dtype}`)
  return fourSizes(op, name, x.shape)
}

export function fourSizes(op: string, name: string, shape: Shape): [number, number, number, number] {
  if (shape.length === 4) return [shape[0]!, shape[1]!, shape[2]!, shape[3]!]
  throw new ShapeError(
    op,
    `${name} must be (N, C, H, W), got ${formatShape(shape)}; reshape it, or add axes of size 1`,
  )
}

/**
 * Threads of a kernel that takes one invocation a pixel of a (planes, h, w) array and strides over the
 * planes by the workgroups in z: coordinates are computed once for many planes, yet all cores have work.
 */
export function pixelThreads(
  cpu: boolean,
  h: number,
  w: number,
  planes: number,
): readonly [number, number, number] {
  const wanted = cpu ? 1 << 13 : 1 << 18
  const depth = Math.ceil(wanted / Math.max(1, h * w))
  return [w, h, Math.min(planes, depth, 65_535)]
}

/** Rows that an invocation takes on CPU drivers, where each costs as much as several pixels. */
export const ROWS_ON_CPU = 16

/** How a kernel runs of which an invocation takes four columns of some rows, on GPUs of so many; planes as in `pixelThreads`. */
export function fourColumns(run: Run, rowsOnGpu: number, h: number, w: number, planes: number) {
  const { cpu } = run.device.adapter
  const ROWS = cpu ? ROWS_ON_CPU : rowsOnGpu
  return {
    overrides: { ROWS, ...(cpu && { WX: 16, WY: 4 }) },
    threads: pixelThreads(cpu, Math.ceil(h / ROWS), Math.ceil(w / 4), planes),
  }
}

/** Where a kernel reads one array and writes another, each dense or channels of a larger one: their uniforms. */
export const places = (from: Span, to: Span) => ({
  ...{ from_offset: from.offset, from_gap: from.gap },
  ...{ to_offset: to.offset, to_gap: to.gap },
})

/** What other consumers have left of an input's gradient, where a kernel that writes dense arrays can add to it. */
export const densePartial = (left: Tensor | undefined): Tensor | undefined =>
  left?.channels ? undefined : left

/**
 * Where kernels/parts/summed_rows.wgsl stores a gradient of so many columns: in fours, whose arrays are bound to `y4`, if it
 * can. An array for nothing is bound to the other name.
 */
export function storedInFours(run: Run, dx: Tensor, columns: number) {
  const wide = columns % 4 === 0
  const none = run.empty([4], dx.dtype)
  return { WIDE: wide ? 1 : 0, bindings: wide ? { y: none, y4: dx } : { y: dx, y4: none } }
}

/** The numbers of a pooling, checked. */
export interface Pool {
  readonly n: number
  readonly c: number
  readonly h: number
  readonly w: number
  readonly kh: number
  readonly kw: number
  readonly strideH: number
  readonly strideW: number
  readonly padH: number
  readonly padW: number
  readonly dilationH: number
  readonly dilationW: number
  readonly outH: number
  readonly outW: number
}

/** Windows along an axis; with `ceil` also one that ends outside, but none that begins in the padding behind. */
function windows(
  size: number,
  k: number,
  stride: number,
  pad: number,
  dilation: number,
  ceil: boolean,
): number {
  const last = (size + 2 * pad - dilation * (k - 1) - 1) / stride
  const count = (ceil ? Math.ceil(last) : Math.floor(last)) + 1
  return ceil && (count - 1) * stride >= size + pad ? count - 1 : count
}

/** Checks the options of a pooling and counts its windows. Needs no GPU. */
export function pool2dShape(
  op: string,
  x: Shape,
  options: {
    readonly kernelSize: Pair
    readonly stride?: Pair
    readonly padding?: Pair
    readonly dilation?: Pair
    readonly ceilMode?: boolean
  },
): Pool {
  const { kernelSize, stride = kernelSize, padding = 0, dilation = 1, ceilMode = false } = options
  const [n, c, h, w] = fourSizes(op, 'x', x)
  const [kh, kw] = pair(op, 'kernelSize', kernelSize, 1)
  const [strideH, strideW] = pair(op, 'stride', stride, 1)
  const [padH, padW] = pair(op, 'padding', padding, 0)
  const [dilationH, dilationW] = pair(op, 'dilation', dilation, 1)
  if (2 * padH > kh || 2 * padW > kw) {
    throw new ShapeError(
      op,
      `padding ${padH}×${padW} is more than half the kernel ${kh}×${kw}; pad the image instead`,
    )
  }
  const outH = windows(h, kh, strideH, padH, dilationH, ceilMode)
  const outW = windows(w, kw, strideW, padW, dilationW, ceilMode)
  if (outH < 1 || outW < 1) {
    throw new ShapeError(
      op,
      `a ${kh}×${kw} kernel with padding ${padH}×${padW} does not fit into x ${formatShape(x)}; pass a smaller kernel or ceilMode`,
    )
  }
  return { n, c, h, w, kh, kw, strideH, strideW, padH, padW, dilationH, dilationW, outH, outW }
}
