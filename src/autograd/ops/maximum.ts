import { defineBinary, extremum, type Operand } from '../binary.ts'
import type { Tensor } from '../tensor.ts'

const apply = defineBinary('maximum', extremum('shareMax'))

/** The larger of a and b; NaN where either is. Where they are equal each takes half of the gradient. Shapes broadcast as in NumPy, either operand may be a number. */
export const maximum = (a: Operand, b: Operand): Tensor => apply(a, b)
