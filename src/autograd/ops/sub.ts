import { defineBinary, type Operand, passOn } from '../binary.ts'
import { launchNeg } from '../elementwise.ts'
import type { Tensor } from '../tensor.ts'

const apply = defineBinary('sub', (run, { dy, needs: [na, nb] }) => [
  na ? passOn(run, dy) : undefined,
  nb ? launchNeg(run, dy) : undefined,
])

/** a − b. Shapes broadcast as in NumPy, either operand may be a number. */
export const sub = (a: Operand, b: Operand): Tensor => apply(a, b)
