import { launchBinary } from '../binary.ts'
import { expandTo } from '../move.ts'
import { defineUnaryResult } from '../op.ts'
import { checkOptions } from '../options.ts'
import { launchReduction } from '../reduction.ts'
import { normalizeAxes, reducedShape, requireFloat } from '../shape.ts'
import { elements, type Shape, type Tensor } from '../tensor.ts'
import type { ReduceOptions } from './sum.ts'

const countOf = (shape: Shape, axes: readonly number[]): number => elements(axes.map((k) => shape[k]!))

const apply = defineUnaryResult<ReduceOptions>({
  name: 'mean',
  forward(run, [x], { axes, keepDims = false }) {
    requireFloat('mean', { x: x! })
    const over = normalizeAxes('mean', axes, x!.rank)
    return launchReduction(run, 'sum', x!, over, { keepDims, scale: 1 / countOf(x!.shape, over) })
  },
  backward(run, { inputs: [x], grads: [dy], attrs: { axes } }) {
    const over = normalizeAxes('mean', axes, x!.rank)
    const share = launchBinary(run, 'mul', dy!, 1 / countOf(x!.shape, over))
    return [expandTo(run, run.view(share, reducedShape(x!.shape, over, true)), x!.shape)]
  },
})

/** Mean of x over `axes`. Of no elements it is NaN. */
export function mean(x: Tensor, options: ReduceOptions = {}): Tensor {
  checkOptions('mean', options, [], ['axes', 'keepDims'])
  return apply([x], options)
}
