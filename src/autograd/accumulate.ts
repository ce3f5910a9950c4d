import source from '../../kernels/accumulate.wgsl'
import { kernel } from '../gpu/kernel.ts'
import { launchCast } from './cast.ts'
import { Run } from './op.ts'
import { launchReduction } from './reduction.ts'
import type { Shape, Tensor } from './tensor.ts'

const accumulate = kernel('accumulate', source)

/** Most axes that strided kernels unravel. */
export const MAX_RANK = 6

/** `y += x`, in place. Same shapes and dtypes. */
export function addInto(y: Tensor, x: Tensor): void {
  y.device.launch('backward: accumulate', {
    kernel: accumulate,
    entry: 'add_into',
    bindings: { x: x.storage, y: y.storage },
    half: y.dtype === 'float16',
    params: { count: y.size },
    threads: Math.ceil(y.size / 4),
  })
}

/** Sums `x`, in float32, over the axes along which `shape` would be broadcast to it. The result has x's dtype. */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  const lead = x.rank - shape.length
  const axes = x.shape.flatMap((d, k) => (k < lead || shape[k - lead] !== d ? [k] : []))
  const run = new Run(x.device, 'backward: unbroadcast')
  const y = run.view(launchCast(run, launchReduction(run, 'sum', x, axes), x.dtype), shape)
  run.finish([y])
  return y
}
