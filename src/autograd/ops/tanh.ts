import { defineElementwise } from '../elementwise.ts'
import type { Tensor } from '../tensor.ts'

const apply = defineElementwise('tanh', 'output')

/** Hyperbolic tangent, for any x without overflow. Any shape. dx = dy (1 − y²). */
export const tanh = (x: Tensor): Tensor => apply(x)
