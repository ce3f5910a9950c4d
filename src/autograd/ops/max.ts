import { defineExtremum } from '../extremum.ts'
import type { Tensor } from '../tensor.ts'
import type { ReduceOptions } from './sum.ts'

const apply = defineExtremum('max')

/**
 * Largest element of x over `axes`; NaN where one is NaN. Equal extrema share the gradient evenly, as in
 * PyTorch's amax. Throws a ShapeError where there is nothing to choose from.
 */
export const max = (x: Tensor, options: ReduceOptions = {}): Tensor => apply(x, options)
