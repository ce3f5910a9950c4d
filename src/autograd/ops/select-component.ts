import { ShapeError } from '../../gpu/errors.ts'
import { defineUnaryResult } from '../op.ts'
import { checkOptions } from '../options.ts'
import { checkTensor, formatShape, type Tensor } from '../tensor.ts'
import type { ComponentOptions } from './connected-components.ts'
import { type Connectivity, checkConnectivity, checkNumber, checkPlane, Forest } from './union_find.ts'

interface Attrs {
  readonly connectivity: Connectivity
  readonly threshold: number
}

function attrsOf(op: string, mask: Tensor, options: ComponentOptions): Attrs {
  checkOptions(op, options, [], ['connectivity', 'threshold'])
  const { connectivity = 4, threshold = 0 } = options
  checkPlane(op, 'mask', mask)
  checkConnectivity(op, connectivity)
  checkNumber(op, 'threshold', threshold)
  return { connectivity, threshold }
}

const containing = defineUnaryResult<Attrs>({
  name: 'componentContaining',
  forward(run, [mask, points], attrs) {
    const forest = new Forest(run, mask!, attrs)
    forest.markPoints(points!)
    return forest.marked()
  },
  nonDifferentiable: 'a pixel is in the component or not: the result is a step function of the mask',
})

/**
 * 1 in the component that holds the image's point, else 0.
 *
 * mask: float32 (N, 1, H, W), foreground where mask > threshold; points: float32 (N, 2) as (x, y), px. The
 * pixel nearest to the point counts (pixel centres are whole numbers, halves round up). A point on the
 * background, outside of the image or not finite keeps nothing: all zeros. Thesis section 4.4: the component
 * that holds the origin weighs 2 in the fusion.
 *
 * No gradient. Throws a ShapeError where shapes or dtypes differ from these.
 */
export function componentContaining(mask: Tensor, points: Tensor, options: ComponentOptions = {}): Tensor {
  const attrs = attrsOf('componentContaining', mask, options)
  const n = mask.shape[0]!
  checkTensor('componentContaining', 'points', points)
  if (points.dtype !== 'float32' || points.rank !== 2 || points.shape[0] !== n || points.shape[1] !== 2) {
    throw new ShapeError(
      'componentContaining',
      `points must be float32 (${n}, 2), a point (x, y) for each image of mask, got ${points.dtype} ${formatShape(points.shape)}`,
    )
  }
  return containing([mask, points], attrs)
}

const largest = defineUnaryResult<Attrs>({
  name: 'largestComponent',
  forward(run, [mask], attrs) {
    const forest = new Forest(run, mask!, attrs)
    forest.markLargest()
    return forest.marked()
  },
  nonDifferentiable: 'a pixel is in the component or not: the result is a step function of the mask',
})

/**
 * 1 in the component of each image with the most pixels, else 0; of equal ones the first in raster order. An
 * empty mask stays empty.
 *
 * mask: float32 (N, 1, H, W), foreground where mask > threshold. No gradient. Throws a ShapeError for others.
 */
export const largestComponent = (mask: Tensor, options: ComponentOptions = {}): Tensor =>
  largest([mask], attrsOf('largestComponent', mask, options))
