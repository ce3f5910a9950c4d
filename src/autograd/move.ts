import source from '../../kernels/move.wgsl'
import type { LaunchOptions } from '../gpu/gpu.ts'
import { kernel } from '../gpu/kernel.ts'
import type { Storage } from '../gpu/storage.ts'
import { MAX_RANK } from './accumulate.ts'
import type { Run } from './op.ts'
import { broadcastStrides, collapse, gridOf, requireRank, stridesOf, type Walk, walkParams } from './shape.ts'
import { type DType, elements, type Shape, type Tensor } from './tensor.ts'

const move = kernel('move', source)

/** A box inside an array: where it begins and its strides, in elements. */
export interface Box {
  readonly storage: Storage
  readonly offset: number
  readonly strides: readonly number[]
}

/** Where a box is written, and in which type it is moved. */
export interface Target extends Box {
  readonly dtype: DType
}

/** A whole tensor, which may be channels of a larger array. */
export function boxOf(x: Tensor): Target {
  const { storage, offset, gap } = x.span
  const { dtype } = x
  return { storage, dtype, offset, strides: stridesOf(x.shape).map((s, k) => (k === 0 ? s + gap : s)) }
}

/** Copies x to y, of the same shape. Either may be channels of a larger array. By bits: any dtype. */
export const copyTensor = (run: Run, x: Tensor, y: Tensor): void => copyBox(run, x.shape, boxOf(x), boxOf(y))

const noPad = Object.fromEntries(Array.from({ length: MAX_RANK }, (_, k) => [`m${k}`, 1]))

const quarter = (strides: readonly number[]): number[] =>
  strides.map((s, k) => (k === strides.length - 1 ? s : s / 4))

const wideStrides = (strides: readonly number[], offset: number): boolean =>
  strides.at(-1) === 1 && offset % 4 === 0 && strides.slice(0, -1).every((s) => s % 4 === 0)

/** What copies: a rule's `Run`, or a device by itself. */
interface Launcher {
  readonly op: string
  launch(options: LaunchOptions): void
}

/** Copies a box of `sizes` from one array into another. By bits: any dtype. */
export function copyBox(run: Launcher, sizes: Shape, from: Box, to: Target): void {
  const walk = collapse({ sizes, strides: [from.strides, to.strides] })
  requireRank(run.op, walk.sizes, MAX_RANK, sizes)
  const [fromStrides, toStrides] = walk.strides as [number[], number[]]
  const inner = walk.sizes.at(-1) ?? 1
  const wideTo = inner % 4 === 0 && wideStrides(toStrides, to.offset)
  const entry =
    wideTo && wideStrides(fromStrides, from.offset)
      ? 'copy_wide'
      : wideTo && fromStrides.at(-1) === 0
        ? 'spread'
        : 'copy'
  const wide = entry !== 'copy'
  const used: Walk = {
    sizes: wide ? [...walk.sizes.slice(0, -1), inner / 4] : walk.sizes,
    strides: [
      entry === 'copy_wide' ? quarter(fromStrides) : fromStrides,
      wide ? quarter(toStrides) : toStrides,
    ],
  }
  const count = elements(used.sizes)
  const grid = gridOf(used)
  run.launch({
    kernel: move,
    entry,
    bindings: { x: from.storage, wide_x: from.storage, y: to.storage, wide_y: to.storage },
    overrides: grid ? { GRID: 1 } : { AXES: Math.max(1, used.sizes.length) },
    half: to.dtype === 'float16',
    params: {
      count,
      x_offset: entry === 'copy_wide' ? from.offset / 4 : from.offset,
      y_offset: wide ? to.offset / 4 : to.offset,
      value: 0,
      ...noPad,
      ...walkParams(used, MAX_RANK, ['x', 'y']),
    },
    threads: grid ?? count,
  })
}

/** x stretched to the larger `shape` by broadcasting. */
export function expandTo(run: Run, x: Tensor, shape: Shape): Tensor {
  const y = run.empty(shape, x.dtype)
  const from = { storage: x.storage, offset: 0, strides: broadcastStrides(x.shape, shape) }
  copyBox(run, shape, from, boxOf(y))
  return y
}

/** The box of x from `starts`, of shape `sizes`. */
export function cut(run: Run, x: Tensor, starts: Shape, sizes: Shape): Tensor {
  const y = run.empty(sizes, x.dtype)
  const { storage, offset, strides } = boxOf(x)
  const start = starts.reduce((sum, s, k) => sum + s * strides[k]!, offset)
  if (y.size > 0) copyBox(run, sizes, { storage, offset: start, strides }, boxOf(y))
  return y
}

/** x inside a larger array of `shape`, beginning at `before`; `value` around it. */
export function surround(run: Run, x: Tensor, before: Shape, shape: Shape, value: number): Tensor {
  const y = run.empty(shape, x.dtype)
  // Axes that are not padded merge into the next outer one.
  const axes: { from: number; to: number; before: number }[] = []
  for (let k = 0; k < shape.length; k++) {
    const axis = { from: x.shape[k]!, to: shape[k]!, before: before[k]! }
    const outer = axes.at(-1)
    if (axis.from !== axis.to || !outer) axes.push(axis)
    else {
      outer.from *= axis.from
      outer.to *= axis.to
      outer.before *= axis.to
    }
  }
  const inner = axes.at(-1)
  const wide = inner !== undefined && [inner.from, inner.to, inner.before].every((n) => n % 4 === 0)
  if (inner && wide) {
    inner.from /= 4
    inner.to /= 4
    inner.before /= 4
  }
  const to = axes.map((a) => a.to)
  requireRank(run.op, to, MAX_RANK, shape)
  const from = axes.map((a) => a.from)
  const {
    n0: m0,
    n1: m1,
    n2: m2,
    n3: m3,
    n4: m4,
    n5: m5,
  } = walkParams({ sizes: from, strides: [] }, MAX_RANK, [])
  const walk: Walk = { sizes: to, strides: [stridesOf(from), axes.map((a) => a.before)] }
  const count = wide ? y.size / 4 : y.size
  run.launch({
    kernel: move,
    entry: wide ? 'pad_wide' : 'pad',
    bindings: { x, wide_x: x, y, wide_y: y },
    overrides: { AXES: Math.max(1, axes.length) },
    params: {
      count,
      x_offset: 0,
      y_offset: 0,
      value,
      m0: m0!,
      m1: m1!,
      m2: m2!,
      m3: m3!,
      m4: m4!,
      m5: m5!,
      ...walkParams(walk, MAX_RANK, ['x', 'y']),
    },
    threads: count,
  })
  return y
}
