import source from '../../../kernels/fused_relu.wgsl'
import { ShapeError } from '../../gpu/errors.ts'
import { kernel } from '../../gpu/kernel.ts'
import type { Run } from '../op.ts'
import type { Tensor } from '../tensor.ts'

const fusedRelu = kernel('fused_relu', source)

/** The `activation` of ops that can compute a ReLU in the same launch. */
export function checkActivation(op: string, activation: string | undefined): void {
  if (activation === undefined || activation === 'relu') return
  throw new ShapeError(op, `activation is 'relu' or left out, got '${activation}'`)
}

/** `dy` where the fused ReLU let `y` through, else 0. */
export function reluGrad(run: Run, y: Tensor, dy: Tensor): Tensor {
  const dz = run.empty(y.shape, y.dtype)
  const count = Math.ceil(y.size / 4)
  run.launch({
    kernel: fusedRelu,
    entry: 'fused_relu_grad',
    bindings: { y, dy, dz },
    params: { count },
    threads: count,
  })
  return dz
}
