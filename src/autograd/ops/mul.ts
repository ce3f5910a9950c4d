import { defineBinary, launchBinary, type Operand } from '../binary.ts'
import type { Tensor } from '../tensor.ts'

const apply = defineBinary('mul', (run, { a, b, dy, needs: [na, nb] }) => [
  na ? launchBinary(run, 'mul', dy, b) : undefined,
  nb ? launchBinary(run, 'mul', dy, a) : undefined,
])

/** a · b, elementwise. Shapes broadcast as in NumPy, either operand may be a number. */
export const mul = (a: Operand, b: Operand): Tensor => apply(a, b)
