import { defineBinary, type Operand, passOn } from '../binary.ts'
import type { Tensor } from '../tensor.ts'

const apply = defineBinary('add', (run, { dy, needs: [na, nb] }) => [
  na ? passOn(run, dy) : undefined,
  nb ? passOn(run, dy) : undefined,
])

/** a + b. Shapes broadcast as in NumPy, either operand may be a number. */
export const add = (a: Operand, b: Operand): Tensor => apply(a, b)
