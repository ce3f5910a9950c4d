import { ShapeError } from '../../gpu/errors.ts'
import { defineUnaryResult } from '../op.ts'
import { checkOptions } from '../options.ts'
import type { Tensor } from '../tensor.ts'
import { type Connectivity, checkConnectivity, checkNumber, checkPlane, Forest } from './union_find.ts'

export interface HysteresisOptions {
  /** Pixels above it may be kept (exclusive). */
  readonly low: number
  /** A component is kept if some pixel of it is above this (exclusive). At least `low`. */
  readonly high: number
  /** 4 (default) or 8. */
  readonly connectivity?: Connectivity
}

const apply = defineUnaryResult<Required<HysteresisOptions>>({
  name: 'hysteresisThreshold',
  forward(run, [x], { low, high, connectivity }) {
    return new Forest(run, x!, { threshold: low, high, connectivity }).marked()
  },
  nonDifferentiable: 'a pixel is kept or not: the result is a step function of x',
})

/**
 * 1 where x > low and the connected component of x > low holds some x > high, else 0: scikit-image's
 * apply_hysteresis_threshold (which has 4-connectivity only). Both comparisons exclude equality; thresholds are
 * rounded to float32; NaN is below every threshold.
 *
 * x: float32 (N, 1, H, W) → float32 (N, 1, H, W). Monotone: raising either threshold only removes pixels.
 * J. Canny, "A computational approach to edge detection", IEEE PAMI 1986; components by union_find.ts. The
 * thesis's fusion of several objects (section 4.4) takes low 0, high 0.4.
 *
 * No gradient. Throws a ShapeError for other shapes and where high < low.
 */
export function hysteresisThreshold(x: Tensor, options: HysteresisOptions): Tensor {
  checkOptions('hysteresisThreshold', options, ['low', 'high'], ['connectivity'])
  const { low, high, connectivity = 4 } = options
  checkPlane('hysteresisThreshold', 'x', x)
  checkConnectivity('hysteresisThreshold', connectivity)
  checkNumber('hysteresisThreshold', 'low', low)
  checkNumber('hysteresisThreshold', 'high', high)
  if (high < low)
    throw new ShapeError('hysteresisThreshold', `high (${high}) is below low (${low}); swap them`)
  return apply([x], { low, high, connectivity })
}
