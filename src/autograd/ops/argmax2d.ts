import source from '../../../kernels/argmax2d.wgsl'
import { kernel } from '../../gpu/kernel.ts'
import { defineUnaryResult } from '../op.ts'
import type { Tensor } from '../tensor.ts'
import { checkPlanes, workgroupRows } from './planes.ts'

const kernels = kernel('argmax2d', source)

const apply = defineUnaryResult<object>({
  name: 'argmax2d',
  nonDifferentiable: 'positions of maxima are whole pixels; centerOfMass of a softmax has a gradient',
  forward(run, [x]) {
    const { n, h, w } = checkPlanes('argmax2d', x!)
    const y = run.empty([n, 2])
    run.launch({
      kernel: kernels,
      entry: 'argmax2d',
      bindings: { x: x!, y },
      params: { images: n, height: h, width: w },
      workgroups: workgroupRows(n),
    })
    return y
  },
})

/**
 * Where each image is greatest: x is (N, 1, H, W), the result (N, 2), float32, as (x, y) in pixels; of equals
 * the first in raster order. No gradient.
 */
export const argmax2d = (x: Tensor): Tensor => apply([x], {})
