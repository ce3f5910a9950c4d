import { defineBinary, launchBinary, type Operand } from '../binary.ts'
import type { Tensor } from '../tensor.ts'

const apply = defineBinary('div', (run, { b, y, dy, needs: [na, nb] }) => [
  na ? launchBinary(run, 'div', dy, b) : undefined,
  nb ? launchBinary(run, 'negMul', dy, launchBinary(run, 'div', y, b)) : undefined,
])

/** a / b, elementwise. Shapes broadcast as in NumPy, either operand may be a number. da = dy/b, db = −dy·(y/b). */
export const div = (a: Operand, b: Operand): Tensor => apply(a, b)
