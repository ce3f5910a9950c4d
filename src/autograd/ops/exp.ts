import { defineElementwise } from '../elementwise.ts'
import type { Tensor } from '../tensor.ts'

const apply = defineElementwise('exp', 'output')

/** eˣ. Any shape. Infinity above 88.72. */
export const exp = (x: Tensor): Tensor => apply(x)
