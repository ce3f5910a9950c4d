import { ShapeError } from '../../gpu/errors.ts'
import { defineElementwise } from '../elementwise.ts'
import { checkOptions } from '../options.ts'
import type { Tensor } from '../tensor.ts'

const apply = defineElementwise('clamp', 'input')

/** x, held within [min, max]; either may be left out. Any shape; NaN stays NaN. No gradient outside. */
export function clamp(x: Tensor, options: { min?: number; max?: number }): Tensor {
  checkOptions('clamp', options, [], ['min', 'max'])
  const { min, max } = options
  if (min !== undefined && max !== undefined && min > max) {
    throw new ShapeError('clamp', `min ${min} is above max ${max}`)
  }
  return apply(x, { a: min ?? Number.NEGATIVE_INFINITY, b: max ?? Number.POSITIVE_INFINITY })
}
