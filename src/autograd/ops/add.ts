import { defineBinary, type Operand, passOn } from '../binary.ts'
import { checkOptions } from '../options.ts'
import type { Tensor } from '../tensor.ts'
import { checkActivation, reluGrad } from './fused-relu.ts'

export interface AddOptions {
  /** 'relu' behind it, in the same launch: the end of a residual block. */
  readonly activation?: 'relu' | undefined
}

const apply = defineBinary('add', (run, { dy, needs: [na, nb] }) => [
  na ? passOn(run, dy) : undefined,
  nb ? passOn(run, dy) : undefined,
])

const applyRelu = defineBinary(
  'add',
  (run, { y, dy, needs: [na, nb] }) => {
    const dz = reluGrad(run, y, dy)
    return [na ? passOn(run, dz) : undefined, nb ? passOn(run, dz) : undefined]
  },
  'addRelu',
)

/**
 * a + b, then max(·, 0) with activation 'relu'. Shapes broadcast as in NumPy, either operand may be a number. Throws a
 * ShapeError where shapes do not broadcast.
 */
export function add(a: Operand, b: Operand, options: AddOptions = {}): Tensor {
  checkOptions('add', options, [], ['activation'])
  checkActivation('add', options.activation)
  return options.activation === 'relu' ? applyRelu(a, b) : apply(a, b)
}
