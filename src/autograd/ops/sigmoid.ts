import { defineElementwise } from '../elementwise.ts'
import type { Tensor } from '../tensor.ts'

const apply = defineElementwise('sigmoid', 'output')

/** 1 / (1 + e⁻ˣ), for any x without overflow. Any shape. dx = dy · y (1 − y). */
export const sigmoid = (x: Tensor): Tensor => apply(x)
