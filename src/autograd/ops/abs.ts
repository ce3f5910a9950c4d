import { defineElementwise } from '../elementwise.ts'
import type { Tensor } from '../tensor.ts'

const apply = defineElementwise('abs', 'input')

/** |x|. Any shape. Its gradient at 0 is 0. */
export const abs = (x: Tensor): Tensor => apply(x)
