import { type ArgumentOptions, defineArgument } from '../argument.ts'
import type { Tensor } from '../tensor.ts'

const apply = defineArgument('argmax')

/**
 * Index (int32) of the largest element of x along `axis`, the first of equals; without `axis` the flat index
 * among all elements. The first NaN, where there is one. No gradient.
 */
export const argmax = (x: Tensor, options: ArgumentOptions = {}): Tensor => apply(x, options)
