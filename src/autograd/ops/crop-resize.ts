import { ShapeError } from '../../gpu/errors.ts'
import { checkOptions } from '../options.ts'
import { checkTensor, formatShape, type Tensor } from '../tensor.ts'
import { checkMode, checkOutputs, type SampleMode, warpInputs, warpOp } from './warp.ts'
import { type Pair, pair } from './window.ts'

export interface CropResizeOptions {
  /** Size of every crop. */
  readonly size: Pair
  /** Default 'bilinear'. 'nearest' takes the pixel that the sample lies in (no gradient in the boxes). */
  readonly mode?: SampleMode
  /** int32 (M): the image that each box is cut from; a number that is no image gives zeros. */
  readonly batchIndex?: Tensor
}

const apply = warpOp('cropResize')

/** Refuses boxes that are not (M, 4). */
export function checkBoxes(op: string, boxes: Tensor): void {
  checkTensor(op, 'boxes', boxes)
  if (boxes.rank === 2 && boxes.shape[1] === 4 && boxes.dtype === 'float32') return
  throw new ShapeError(
    op,
    `boxes must be float32 (M, 4), a (left, top, width, height) in pixels each, got ${boxes.dtype} ${formatShape(boxes.shape)}`,
  )
}

/**
 * Cuts boxes out of images and resizes them to one size, by sampling at the centres of the new pixels:
 *
 *     y[m, c, i, j] = x at (left + (j + ½)·width/W' − ½, top + (i + ½)·height/H' − ½), clamped inside the image
 *
 * x is (N, C, H, W), boxes (M, 4) as (left, top, width, height) in pixels, the result (M, C, H', W'). Box m is
 * cut from image m, from the only image, or from image batchIndex[m]. The box of a whole image resizes it as
 * `interpolate` without alignCorners. Gradients in x and boxes.
 */
export function cropResize(x: Tensor, boxes: Tensor, options: CropResizeOptions): Tensor {
  const op = 'cropResize'
  checkOptions(op, options, ['size'], ['mode', 'batchIndex'])
  const { size, mode = 'bilinear', batchIndex } = options
  checkBoxes(op, boxes)
  const { outputs } = checkOutputs(op, x, 'boxes', boxes, batchIndex)
  return apply(warpInputs(x, boxes, batchIndex), {
    map: 'crop',
    mode: checkMode(op, mode),
    padX: 'border',
    padY: 'border',
    outputs,
    size: pair(op, 'size', size, 1),
    parameters: 4,
  })
}
