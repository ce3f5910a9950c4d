import { ShapeError } from '../../gpu/errors.ts'
import { cut, surround } from '../move.ts'
import { defineUnaryResult } from '../op.ts'
import { checkOptions } from '../options.ts'
import { formatShape, type Shape, type Tensor } from '../tensor.ts'

export interface SliceOptions {
  /** First index along each axis; negative ones count from the end. */
  readonly starts: Shape
  /** One past the last index along each axis; negative ones count from the end. */
  readonly ends: Shape
}

/** First indices and sizes of the box. Throws a ShapeError if it does not lie in `shape`. */
export function checkSlice(shape: Shape, { starts, ends }: SliceOptions): { starts: Shape; sizes: Shape } {
  if (starts.length !== shape.length || ends.length !== shape.length) {
    throw new ShapeError(
      'slice',
      `x ${formatShape(shape)} has ${shape.length} axes, got ${starts.length} starts and ${ends.length} ends; give one of each an axis`,
    )
  }
  const from = starts.map((s, k) => (s < 0 ? s + shape[k]! : s))
  const to = ends.map((e, k) => (e < 0 ? e + shape[k]! : e))
  shape.forEach((d, k) => {
    const [s, e] = [from[k]!, to[k]!]
    if (Number.isInteger(s) && Number.isInteger(e) && s >= 0 && s <= e && e <= d) return
    throw new ShapeError(
      'slice',
      `[${starts[k]}, ${ends[k]}) is no range of axis ${k}, which has size ${d} in x ${formatShape(shape)}`,
    )
  })
  return { starts: from, sizes: to.map((e, k) => e - from[k]!) }
}

const apply = defineUnaryResult<SliceOptions>({
  name: 'slice',
  half: { inputs: 'all' },
  forward(run, [x], attrs) {
    const { starts, sizes } = checkSlice(x!.shape, attrs)
    return cut(run, x!, starts, sizes)
  },
  backward(run, { inputs: [x], grads: [dy], attrs }) {
    const { starts } = checkSlice(x!.shape, attrs)
    return [surround(run, dy!, starts, x!.shape, 0)]
  },
})

/** The box of x from `starts` up to `ends` (exclusive), one of each an axis. Any dtype. */
export function slice(x: Tensor, options: SliceOptions): Tensor {
  checkOptions('slice', options, ['starts', 'ends'], [])
  return apply([x], options)
}
