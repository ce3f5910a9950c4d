import { ShapeError } from '../gpu/errors.ts'
import { elements, formatShape, isFloat, type Shape, type Tensor } from './tensor.ts'

/** Shape and index algebra that ops share. Nothing here needs a GPU. */

/** The shape that NumPy's broadcasting gives: axes are matched from the last, size 1 stretches. */
export function broadcastShapes(op: string, ...shapes: readonly Shape[]): Shape {
  const rank = Math.max(...shapes.map((s) => s.length))
  return Array.from({ length: rank }, (_, k) => {
    let size = 1
    for (const s of shapes) {
      const d = s[s.length - rank + k] ?? 1
      if (d === 1 || d === size) continue
      if (size !== 1) {
        throw new ShapeError(
          op,
          `shapes ${shapes.map(formatShape).join(' and ')} do not broadcast: axis ${k - rank} has sizes ${size} and ${d}; ` +
            'sizes must be equal or 1',
        )
      }
      size = d
    }
    return size
  })
}

/** An axis counted from the front; negative ones count from the back. */
export function normalizeAxis(op: string, axis: number, rank: number): number {
  if (Number.isInteger(axis) && axis >= -rank && axis < rank) return axis < 0 ? axis + rank : axis
  throw new ShapeError(
    op,
    rank === 0
      ? `axis ${axis} of a scalar: it has no axes`
      : `axis ${axis} is not among the ${rank} axes of x; give a whole number from ${-rank} to ${rank - 1}`,
  )
}

/** Axes counted from the front, ascending. Undefined is all of them. Each may appear once. */
export function normalizeAxes(op: string, axes: readonly number[] | undefined, rank: number): number[] {
  if (!axes) return Array.from({ length: rank }, (_, i) => i)
  const found = axes.map((a) => normalizeAxis(op, a, rank)).sort((a, b) => a - b)
  const twice = found.find((a, i) => a === found[i - 1])
  if (twice !== undefined) throw new ShapeError(op, `axes [${axes.join(', ')}] name axis ${twice} twice`)
  return found
}

/** Refuses tensors that are not of floats. */
export function requireFloat(op: string, named: Readonly<Record<string, Tensor>>): void {
  for (const [name, t] of Object.entries(named)) {
    if (!isFloat(t.dtype)) {
      throw new ShapeError(op, `${name} is ${t.dtype}; pass a float32 tensor`)
    }
  }
}

/** Refuses shapes that differ. */
export function requireSameShape(op: string, nameA: string, a: Shape, nameB: string, b: Shape): void {
  if (a.length === b.length && a.every((d, i) => d === b[i])) return
  throw new ShapeError(
    op,
    `${nameA} is ${formatShape(a)}, ${nameB} is ${formatShape(b)}; they must have the same shape`,
  )
}

/** Row-major strides, in elements. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length).fill(1)
  for (let k = shape.length - 2; k >= 0; k--) strides[k] = strides[k + 1]! * shape[k + 1]!
  return strides
}

/** Strides of a tensor read as if it had the larger `shape`: 0 along stretched axes. */
export function broadcastStrides(from: Shape, shape: Shape): number[] {
  const own = stridesOf(from)
  const lead = shape.length - from.length
  return shape.map((_, k) => (k < lead || from[k - lead] === 1 ? 0 : own[k - lead]!))
}

/** A walk over a box of elements: sizes, and for each array involved its strides. Outermost axis first. */
export interface Walk {
  readonly sizes: readonly number[]
  readonly strides: readonly (readonly number[])[]
}

/** The same walk with as few axes as can be: axes of size 1 go, neighbours that every array steps through evenly merge. */
export function collapse({ sizes, strides }: Walk): Walk {
  const kept: number[] = []
  const steps: number[][] = strides.map(() => [])
  sizes.forEach((size, k) => {
    if (size === 1) return
    const last = kept.length - 1
    const merges = last >= 0 && strides.every((s, a) => steps[a]![last] === s[k]! * size)
    if (merges) {
      kept[last] = kept[last]! * size
      strides.forEach((s, a) => {
        steps[a]![last] = s[k]!
      })
    } else {
      kept.push(size)
      strides.forEach((s, a) => {
        steps[a]!.push(s[k]!)
      })
    }
  })
  return { sizes: kept, strides: steps }
}

/** Refuses walks of more axes than kernels unravel. */
export function requireRank(op: string, sizes: Shape, most: number, shape: Shape): void {
  if (sizes.length <= most) return
  throw new ShapeError(
    op,
    `${formatShape(shape)} cannot be walked along at most ${most} axes; reshape it to fewer axes first`,
  )
}

/**
 * Kernel parameters of a walk, from the innermost axis outwards: sizes `n0`, `n1`, …, strides `PREFIX0`, ….
 * Missing axes have size 1.
 */
export function walkParams(
  { sizes, strides }: Walk,
  axes: number,
  prefixes: readonly string[],
): Record<string, number> {
  const params: Record<string, number> = {}
  for (let k = 0; k < axes; k++) {
    const from = sizes.length - 1 - k
    params[`n${k}`] = sizes[from] ?? 1
    prefixes.forEach((p, a) => {
      params[`${p}${k}`] = strides[a]![from] ?? 0
    })
  }
  return params
}

/** Shape of a reduction over `axes` (normalised). */
export function reducedShape(shape: Shape, axes: readonly number[], keepDims: boolean): Shape {
  const gone = new Set(axes)
  return keepDims ? shape.map((d, k) => (gone.has(k) ? 1 : d)) : shape.filter((_, k) => !gone.has(k))
}

/** Resolves one −1 in a shape for `count` elements. */
export function inferShape(op: string, from: Shape, to: Shape): Shape {
  const open = to.filter((d) => d === -1).length
  const ok = open <= 1 && to.every((d) => Number.isInteger(d) && d >= -1)
  const known = elements(to.filter((d) => d !== -1))
  const count = elements(from)
  if (ok && open === 0 && known === count) return to
  if (ok && open === 1 && known > 0 && count % known === 0)
    return to.map((d) => (d === -1 ? count / known : d))
  throw new ShapeError(
    op,
    `${formatShape(from)} has ${count} elements, which do not make ${formatShape(to)}; ` +
      'the product of sizes must stay the same, and one size may be -1',
  )
}

/**
 * A launch with the walk's own axes, so that a kernel needs no division to find its place: undefined if the walk
 * has one axis or more than three, or if its inner axis would leave too many lanes idle.
 */
export function gridOf({ sizes }: Walk): readonly [number, number, number] | undefined {
  const [inner = 1, middle = 1, outer = 1] = [...sizes].reverse()
  const idle = Math.ceil(inner / 64) * 64 - inner
  const fits = sizes.length > 1 && sizes.length <= 3 && middle <= 65_535 && outer <= 65_535
  return fits && idle <= inner / 4 ? [inner, middle, outer] : undefined
}
