import source from '../../kernels/accumulate.wgsl'
import { kernel } from '../gpu/kernel.ts'
import { launchCast } from './cast.ts'
import { Run } from './op.ts'
import { launchReduction } from './reduction.ts'
import type { Shape, Tensor } from './tensor.ts'

const accumulate = kernel('accumulate', source)

/** Most axes that strided kernels unravel. */
export const MAX_RANK = 6

/** `y += x`, in place. Same shapes and dtypes; either may be channels of a larger array. */
export function addInto(y: Tensor, x: Tensor): void {
  const [from, to] = [x.span, y.span]
  const walks = from.gap + to.gap > 0
  y.device.launch('backward: accumulate', {
    kernel: accumulate,
    entry: 'add_into',
    bindings: { x: from.storage, y: to.storage },
    half: y.dtype === 'float16',
    params: {
      count: Math.ceil(y.size / 4),
      elements: y.size,
      image: walks ? y.size / y.shape[0]! / 4 : 0,
      x_offset: from.offset / 4,
      x_gap: from.gap / 4,
      y_offset: to.offset / 4,
      y_gap: to.gap / 4,
    },
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
