import { ShapeError } from '../../gpu/errors.ts'
import { checkOptions } from '../options.ts'
import { formatShape, type Tensor } from '../tensor.ts'
import { checkCenter, type InversePolarWarpOptions, inverseAttrs, whole } from './polar-warp.ts'
import { checkIndex, warpOp } from './warp.ts'
import { imageShape } from './window.ts'

export interface FusePolarOptions extends InversePolarWarpOptions {
  /** int32 (M): the image that each polar image falls on; one of a number that is no image is left out. */
  readonly batchIndex: Tensor
  /** Number of images, N. */
  readonly images: number
}

const apply = warpOp('fusePolar')

/**
 * Rolls the polar images of several objects back and adds them up on the images they come from (thesis section
 * 4.4), without a canvas for each object:
 *
 *     y[n] = Σ_{m: batchIndex[m] = n} inversePolarWarp(p[m], center[m])
 *
 * p is (M, C, radii, angles) in layout 'radius-up' and (M, C, angles, radii) in 'angles-down', center (M, 2) as
 * (x, y) in pixels, the result (N, C, height, width); an image without objects is zero. A pixel walks over the
 * objects between the first and the last of its image: give the objects of an image one after the other.
 * Gradients in p and center. To fuse as the thesis does, weigh p before, divide by the maximum of each image
 * after, and take hysteresisThreshold with low 0 and high 0.4.
 * Throws a ShapeError unless p, center and batchIndex are as many and for sizes below 1.
 */
export function fusePolar(p: Tensor, center: Tensor, options: FusePolarOptions): Tensor {
  const op = 'fusePolar'
  checkOptions(op, options, ['height', 'width', 'batchIndex', 'images'], ['maxRadius', 'layout', 'mode'])
  const [m, c, h, w] = imageShape(op, 'p', p)
  checkCenter(op, center)
  if (c < 1 || h < 1 || w < 1) throw new ShapeError(op, `p ${formatShape(p.shape)} must have pixels`)
  if (center.dtype !== 'float32' || center.shape[0] !== m) {
    throw new ShapeError(
      op,
      `center is ${center.dtype} ${formatShape(center.shape)}, p ${formatShape(p.shape)}; give a float32 centre for each polar image`,
    )
  }
  checkIndex(op, options.batchIndex, m, 'p')
  const canvases = whole(op, 'images', options.images)
  return apply([p, center, options.batchIndex], { ...inverseAttrs(op, p, options), outputs: m, canvases })
}
