import source from '../../kernels/accumulate.wgsl'
import { kernel } from '../gpu/kernel.ts'
import { Run } from './op.ts'
import { launchReduction } from './reduction.ts'
import type { Shape, Tensor } from './tensor.ts'

const accumulate = kernel('accumulate', source)

/** Most axes that strided kernels unravel. */
export const MAX_RANK = 6

/** `y += x`, in place. Same shapes. */
export function addInto(y: Tensor, x: Tensor): void {
  y.device.launch('backward: accumulate', {
    kernel: accumulate,
    entry: 'add_into',
    bindings: { x: x.storage, y: y.storage },
    params: { count: y.size },
    threads: Math.ceil(y.size / 4),
  })
}

/** Sums `x` over the axes along which `shape` would be broadcast to it. */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  const lead = x.rank - shape.length
  const axes = x.shape.flatMap((d, k) => (k < lead || shape[k - lead] !== d ? [k] : []))
  const run = new Run(x.device, 'backward: unbroadcast')
  const y = run.view(launchReduction(run, 'sum', x, axes), shape)
  run.finish([y])
  return y
}
