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

export interface GridWarpOptions {
  /** Default 'bilinear'; 'nearest' for masks (no gradient in the displacements). */
  readonly mode?: SampleMode
  /** Default 'zeros'. */
  readonly paddingMode?: PaddingMode
}

const apply = warpOp('gridWarp')

/**
 * Deforms images by the displacements of a coarse grid, whose corner points lie on the corner pixels:
 *
 *     y[n, c, v, u] = x[n, c] at (u + dx, v + dy),  (dx, dy) = displacements[n] bilinearly upsampled to H×W at (u, v)
 *
 * x is (N, C, H, W), displacements (N, 2, h, w) in pixels (channel 0 along x, 1 along y), the result as x.
 * One image with M grids gives M results. Gradients in x and displacements.
 */
export function gridWarp(x: Tensor, displacements: Tensor, options: GridWarpOptions = {}): Tensor {
  const op = 'gridWarp'
  checkOptions(op, options, [], ['mode', 'paddingMode'])
  const { mode = 'bilinear', paddingMode = 'zeros' } = options
  checkTensor(op, 'displacements', displacements)
  const { shape } = displacements
  if (shape.length !== 4 || shape[1] !== 2 || shape[2]! < 1 || shape[3]! < 1) {
    throw new ShapeError(
      op,
      `displacements must be (N, 2, h, w), x and y in pixels at each point of a grid, got ${formatShape(shape)}`,
    )
  }
  const { h, w, outputs } = checkOutputs(op, x, 'displacements', displacements, undefined)
  const pad = checkPadding(op, paddingMode)
  return apply(warpInputs(x, displacements), {
    map: 'displace',
    mode: checkMode(op, mode),
    padX: pad,
    padY: pad,
    outputs,
    size: [h, w],
    parameters: 2 * shape[2]! * shape[3]!,
    control: [shape[2]!, shape[3]!],
  })
}
