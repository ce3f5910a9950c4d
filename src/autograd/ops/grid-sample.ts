import { ShapeError } from '../../gpu/errors.ts'
import { checkOptions } from '../options.ts'
import { checkTensor, formatShape, type Tensor } from '../tensor.ts'
import { checkMode, checkPadding, type PaddingMode, type SampleMode, warpInputs, warpOp } from './warp.ts'
import { imageShape } from './window.ts'

export interface GridSampleOptions {
  /** Default 'bilinear'. 'nearest' rounds halves to the even pixel and has no gradient in the grid. */
  readonly mode?: SampleMode
  /** Default 'zeros'. 'reflection' mirrors at what −1 and 1 stand for. */
  readonly paddingMode?: PaddingMode
  /** −1 and 1 are the centres of the corner pixels (true) or the edges of the image (false, the default). */
  readonly alignCorners?: boolean
}

const apply = warpOp('gridSample')

/**
 * Samples an image at the positions of a grid, as PyTorch's `grid_sample`:
 *
 *     y[n, c, v, u] = x[n, c] at (gx, gy) = grid[n, v, u]
 *     px = ((gx + 1)·W − 1) / 2, or (gx + 1)·(W − 1) / 2 with alignCorners; py likewise
 *
 * x is (N, C, H, W), grid (N, h, w, 2) in [−1, 1], the result (N, C, h, w). Gradients in x and grid; the one
 * in x is a scatter, the same bits each run: in 64-bit fixed point, exact to 2⁻³⁸ of the largest |dy|, or on CPU drivers in float32.
 * Throws a ShapeError if the grid is not (N, h, w, 2).
 */
export function gridSample(x: Tensor, grid: Tensor, options: GridSampleOptions = {}): Tensor {
  const op = 'gridSample'
  checkOptions(op, options, [], ['mode', 'paddingMode', 'alignCorners'])
  const { mode = 'bilinear', paddingMode = 'zeros', alignCorners = false } = options
  const [n, c, h, w] = imageShape(op, 'x', x)
  checkTensor(op, 'grid', grid)
  if (c < 1 || h < 1 || w < 1) throw new ShapeError(op, `x ${formatShape(x.shape)} must have pixels`)
  if (grid.dtype !== 'float32' || grid.rank !== 4 || grid.shape[0] !== n || grid.shape[3] !== 2) {
    throw new ShapeError(
      op,
      `grid is ${grid.dtype} ${formatShape(grid.shape)}; for x ${formatShape(x.shape)} it must be float32 (${n}, height, width, 2)`,
    )
  }
  checkPadding(op, paddingMode)
  const pad = paddingMode === 'reflection' && alignCorners ? 'reflection-centers' : paddingMode
  return apply(warpInputs(x, grid), {
    map: alignCorners ? 'grid-centers' : 'grid',
    mode: checkMode(op, mode) === 'nearest' ? 'nearest-even' : 'bilinear',
    padX: pad,
    padY: pad,
    outputs: n,
    size: [grid.shape[1]!, grid.shape[2]!],
    parameters: 0,
  })
}
