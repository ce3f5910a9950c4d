import { defineElementwise } from '../elementwise.ts'
import type { Tensor } from '../tensor.ts'

const apply = defineElementwise('sqrt', 'output')

/** √x. Any shape. NaN below 0; its gradient at 0 is infinite. */
export const sqrt = (x: Tensor): Tensor => apply(x)
