import { defineElementwise } from '../elementwise.ts'
import type { Tensor } from '../tensor.ts'

const apply = defineElementwise('log', 'input')

/** Natural logarithm. Any shape. −infinity at 0, NaN below. */
export const log = (x: Tensor): Tensor => apply(x)
