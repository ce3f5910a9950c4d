import { ShapeError } from '../../gpu/errors.ts'
import { defineElementwise } from '../elementwise.ts'
import type { Tensor } from '../tensor.ts'

const apply = defineElementwise('pow', 'input')

/** x^exponent for a number `exponent`. Any shape. NaN where x < 0 and the exponent is no whole number. */
export function pow(x: Tensor, exponent: number): Tensor {
  if (typeof exponent !== 'number') throw new ShapeError('pow', 'the exponent must be a number')
  return apply(x, { a: exponent, b: 0 })
}

/** x². Any shape. */
export const square = (x: Tensor): Tensor => pow(x, 2)
