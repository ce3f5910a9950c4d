import { ShapeError } from '../gpu/errors.ts'
import { launchBinary } from './binary.ts'
import { defineUnaryResult } from './op.ts'
import { checkOptions } from './options.ts'
import { launchReduction } from './reduction.ts'
import { normalizeAxes, reducedShape, requireFloat } from './shape.ts'
import { elements, formatShape, type Tensor } from './tensor.ts'

interface Options {
  readonly axes?: readonly number[]
  readonly keepDims?: boolean
}

/**
 * max or min over axes. Equal extrema share the gradient: with m = [x = y], dx = m · dy / Σ m.
 */
export function defineExtremum(name: 'max' | 'min'): (x: Tensor, options: Options) => Tensor {
  const apply = defineUnaryResult<Options>({
    name,
    forward(run, [x], { axes, keepDims = false }) {
      requireFloat(name, { x: x! })
      const over = normalizeAxes(name, axes, x!.rank)
      if (elements(over.map((k) => x!.shape[k]!)) === 0) {
        throw new ShapeError(name, `x ${formatShape(x!.shape)} has no elements to choose from`)
      }
      return launchReduction(run, name, x!, over, { keepDims })
    },
    backward(run, { inputs: [x], outputs: [y], grads: [dy], attrs: { axes } }) {
      const over = normalizeAxes(name, axes, x!.rank)
      const kept = reducedShape(x!.shape, over, true)
      const mask = launchBinary(run, 'eq', x!, run.view(y!, kept))
      const share = launchBinary(
        run,
        'div',
        run.view(dy!, kept),
        launchReduction(run, 'sum', mask, over, { keepDims: true }),
      )
      return [launchBinary(run, 'mul', mask, share)]
    },
  })
  return (x, options) => {
    checkOptions(name, options, [], ['axes', 'keepDims'])
    return apply([x], options)
  }
}
