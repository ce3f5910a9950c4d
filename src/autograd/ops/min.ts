import { defineExtremum } from '../extremum.ts'
import type { Tensor } from '../tensor.ts'
import type { ReduceOptions } from './sum.ts'

const apply = defineExtremum('min')

/**
 * Smallest element of x over `axes`; NaN where one is NaN. Equal extrema share the gradient evenly, as in
 * PyTorch's amin. Throws a ShapeError where there is nothing to choose from.
 */
export const min = (x: Tensor, options: ReduceOptions = {}): Tensor => apply(x, options)
