import { ShapeError } from '../../gpu/errors.ts'
import { defineUnaryResult } from '../op.ts'
import { checkOptions } from '../options.ts'
import { inferShape, normalizeAxis } from '../shape.ts'
import { formatShape, type Shape, type Tensor } from '../tensor.ts'

const apply = defineUnaryResult<{ shape: Shape }>({
  name: 'reshape',
  half: { inputs: 'all' },
  forward(run, [x], { shape }) {
    return run.view(x!, inferShape('reshape', x!.shape, shape))
  },
  backward(run, { inputs: [x], grads: [dy] }) {
    return [run.view(dy!, x!.shape)]
  },
})

/** The same elements under another shape; one size may be −1. Shares memory, moves nothing. Any dtype. */
export function reshape(x: Tensor, options: { shape: Shape }): Tensor {
  checkOptions('reshape', options, ['shape'], [])
  return apply([x], { shape: options.shape })
}

/** Axes from `startAxis` (default 0) to the last become one: (N, C, H, W) from 1 gives (N, C·H·W). */
export function flatten(x: Tensor, { startAxis = 0 }: { startAxis?: number } = {}): Tensor {
  if (x.rank === 0) return reshape(x, { shape: [1] })
  const from = normalizeAxis('flatten', startAxis, x.rank)
  const rest = x.shape.slice(from).reduce((n, d) => n * d, 1)
  return reshape(x, { shape: [...x.shape.slice(0, from), rest] })
}

/** A new axis of size 1 before `axis`; −1 puts it last. */
export function unsqueeze(x: Tensor, { axis }: { axis: number }): Tensor {
  const at = normalizeAxis('unsqueeze', axis, x.rank + 1)
  return reshape(x, { shape: [...x.shape.slice(0, at), 1, ...x.shape.slice(at)] })
}

/** Drops `axis`, which must have size 1; without it, drops every axis of size 1. */
export function squeeze(x: Tensor, { axis }: { axis?: number } = {}): Tensor {
  if (axis === undefined) return reshape(x, { shape: x.shape.filter((d) => d !== 1) })
  const at = normalizeAxis('squeeze', axis, x.rank)
  if (x.shape[at] !== 1) {
    throw new ShapeError('squeeze', `axis ${axis} of ${formatShape(x.shape)} has size ${x.shape[at]}, not 1`)
  }
  return reshape(x, { shape: x.shape.filter((_, k) => k !== at) })
}
