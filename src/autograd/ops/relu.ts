import { defineElementwise } from '../elementwise.ts'
import type { Tensor } from '../tensor.ts'

const apply = defineElementwise('relu', 'output')

/** max(x, 0). Any shape; NaN stays NaN. Its gradient at 0 is 0. */
export const relu = (x: Tensor): Tensor => apply(x)
