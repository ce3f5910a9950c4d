import { expandTo } from '../move.ts'
import { defineUnaryResult } from '../op.ts'
import { checkOptions } from '../options.ts'
import { launchReduction } from '../reduction.ts'
import { normalizeAxes, reducedShape, requireFloat } from '../shape.ts'
import type { Tensor } from '../tensor.ts'

/** Options of reductions. */
export interface ReduceOptions {
  /** Axes that are reduced; negative ones count from the end. All by default. */
  readonly axes?: readonly number[]
  /** Keeps reduced axes with size 1. */
  readonly keepDims?: boolean
}

const apply = defineUnaryResult<ReduceOptions>({
  name: 'sum',
  forward(run, [x], { axes, keepDims = false }) {
    requireFloat('sum', { x: x! })
    return launchReduction(run, 'sum', x!, normalizeAxes('sum', axes, x!.rank), { keepDims })
  },
  backward(run, { inputs: [x], grads: [dy], attrs: { axes } }) {
    const kept = run.view(dy!, reducedShape(x!.shape, normalizeAxes('sum', axes, x!.rank), true))
    return [expandTo(run, kept, x!.shape)]
  },
})

/** Σ x over `axes`. In a fixed order: same adapter, same bits. Of no elements it is 0. */
export function sum(x: Tensor, options: ReduceOptions = {}): Tensor {
  checkOptions('sum', options, [], ['axes', 'keepDims'])
  return apply([x], options)
}
