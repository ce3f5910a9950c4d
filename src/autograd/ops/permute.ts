import { ShapeError } from '../../gpu/errors.ts'
import { boxOf, copyBox } from '../move.ts'
import { defineUnaryResult, type Run } from '../op.ts'
import { checkOptions } from '../options.ts'
import { normalizeAxis, stridesOf } from '../shape.ts'
import { formatShape, type Shape, type Tensor } from '../tensor.ts'

/** Axes of the result as axes of x, each once. Throws a ShapeError otherwise. */
export function checkPermute(shape: Shape, axes: readonly number[]): number[] {
  const order = axes.map((a) => normalizeAxis('permute', a, shape.length))
  if (order.length === shape.length && new Set(order).size === order.length) return order
  throw new ShapeError(
    'permute',
    `axes [${axes.join(', ')}] must name each of the ${shape.length} axes of x ${formatShape(shape)} once`,
  )
}

function launch(run: Run, x: Tensor, order: readonly number[]): Tensor {
  const shape = order.map((a) => x.shape[a]!)
  const y = run.empty(shape, x.dtype)
  const own = stridesOf(x.shape)
  const from = { storage: x.storage, offset: 0, strides: order.map((a) => own[a]!) }
  copyBox(run, shape, from, boxOf(y))
  return y
}

const apply = defineUnaryResult<{ axes: readonly number[] }>({
  name: 'permute',
  half: { inputs: 'all' },
  forward: (run, [x], { axes }) => launch(run, x!, checkPermute(x!.shape, axes)),
  backward(run, { inputs: [x], grads: [dy], attrs: { axes } }) {
    const order = checkPermute(x!.shape, axes)
    const inverse = order.map((_, k) => order.indexOf(k))
    return [launch(run, dy!, inverse)]
  },
})

/** Axes in another order: axis k of the result is axis `axes[k]` of x. Any dtype. */
export function permute(x: Tensor, options: { axes: readonly number[] }): Tensor {
  checkOptions('permute', options, ['axes'], [])
  return apply([x], { axes: options.axes })
}

/** Two axes exchanged; by default the last two. */
export function transpose(
  x: Tensor,
  { axes: [a, b] = [-2, -1] }: { axes?: readonly [number, number] } = {},
): Tensor {
  const [i, j] = [normalizeAxis('transpose', a, x.rank), normalizeAxis('transpose', b, x.rank)]
  const axes = x.shape.map((_, k) => (k === i ? j : k === j ? i : k))
  return permute(x, { axes })
}
