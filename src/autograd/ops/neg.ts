import { defineElementwise } from '../elementwise.ts'
import type { Tensor } from '../tensor.ts'

const apply = defineElementwise('neg', 'input')

/** −x. Any shape. */
export const neg = (x: Tensor): Tensor => apply(x)
