import { ShapeError } from '../../gpu/errors.ts'
import { checkOptions } from '../options.ts'
import { checkTensor, formatShape, type Tensor } from '../tensor.ts'
import {
  checkMode,
  checkOutputs,
  checkPadding,
  type PaddingMode,
  type SampleMode,
  warpInputs,
  warpOp,
} from './warp.ts'
import { type Pair, pair } from './window.ts'

export interface AffineWarpOptions {
  /** Size of the result. Default: that of x. */
  readonly size?: Pair
  /** Default 'bilinear'; 'nearest' for masks (no gradient in the matrix). */
  readonly mode?: SampleMode
  /** Default 'zeros'. */
  readonly paddingMode?: PaddingMode
  /** int32 (M): the image that each matrix belongs to; a number that is no image gives zeros. */
  readonly batchIndex?: Tensor
}

const apply = warpOp('affineWarp')

/**
 * Warps images by 2×3 matrices that take output pixels to input pixels (OpenCV's WARP_INVERSE_MAP):
 *
 *     y[n, c, v, u] = x[n, c] at M[n]·(u, v, 1)
 *
 * x is (N, C, H, W), matrix (N, 2, 3) in pixels with pixel centres at integers, the result (N, C, *size). One
 * image with M matrices gives M results. Gradients in x and matrix.
 */
export function affineWarp(x: Tensor, matrix: Tensor, options: AffineWarpOptions = {}): Tensor {
  const op = 'affineWarp'
  checkOptions(op, options, [], ['size', 'mode', 'paddingMode', 'batchIndex'])
  const { size, mode = 'bilinear', paddingMode = 'zeros', batchIndex } = options
  checkTensor(op, 'matrix', matrix)
  if (matrix.rank !== 3 || matrix.shape[1] !== 2 || matrix.shape[2] !== 3) {
    throw new ShapeError(op, `matrix must be (N, 2, 3), got ${formatShape(matrix.shape)}`)
  }
  const { h, w, outputs } = checkOutputs(op, x, 'matrix', matrix, batchIndex)
  const pad = checkPadding(op, paddingMode)
  return apply(warpInputs(x, matrix, batchIndex), {
    map: 'affine',
    mode: checkMode(op, mode),
    padX: pad,
    padY: pad,
    outputs,
    size: pair(op, 'size', size ?? [h, w], 1),
    parameters: 6,
  })
}
