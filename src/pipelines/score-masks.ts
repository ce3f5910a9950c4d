import { formatShape, sameShape, type Tensor } from '../autograd/tensor.ts'
import { ShapeError } from '../gpu/errors.ts'
import { type Scores, scoreMask } from './scores.ts'
import { type SurfaceOptions, type SurfaceScores, surfaceScores } from './surface.ts'

/** Scores of one image or scan: overlap and outlines. */
export interface MaskScores extends Scores, SurfaceScores {}

/**
 * Every score of one mask: those of `scoreMask` and of `surfaceScores`, whose options it takes.
 *
 * @param shape [height, width], or [depth, height, width]
 */
export const scoreWhole = (
  prediction: ArrayLike<number>,
  truth: ArrayLike<number>,
  shape: readonly number[],
  options: SurfaceOptions = {},
): MaskScores => ({
  ...scoreMask(prediction, truth, options.threshold === undefined ? {} : { threshold: options.threshold }),
  ...surfaceScores(prediction, truth, shape, options),
})

/** Options of `scoreMasks`. */
export interface ScoreMasksOptions {
  /** Distance between pixel centres, mm: one number, or [y, x]. Default 1: distances are in px. */
  readonly spacing?: number | readonly [y: number, x: number]
  /** A pixel is foreground where its value is over this; default 0.5. */
  readonly threshold?: number
  /** Width of the band for the boundary IoU, in units of the spacing; default 2 % of the image's diagonal. */
  readonly boundaryWidth?: number
}

/**
 * Scores predicted masks against the truth, an image at a time: Dice, IoU, precision, recall, accuracy, thresholded
 * Jaccard, 95th percentile Hausdorff distance, mean surface distance, boundary IoU. Waits for the GPU once.
 *
 * @param prediction (N, 1, H, W) probabilities or zeros and ones
 * @param truth (N, 1, H, W)
 * @returns one entry an image, in order; distances in mm where `spacing` is given in mm
 * @throws ShapeError when the shapes differ or are not (N, 1, H, W); DataError for NaN or a bad spacing
 */
export async function scoreMasks(
  prediction: Tensor,
  truth: Tensor,
  options: ScoreMasksOptions = {},
): Promise<MaskScores[]> {
  const { shape } = truth
  if (!sameShape(prediction.shape, shape) || shape.length !== 4 || shape[1] !== 1) {
    throw new ShapeError(
      'scoreMasks',
      `wants prediction and truth of one shape (N, 1, H, W), got ${formatShape(prediction.shape)} and ${formatShape(shape)}`,
    )
  }
  const { spacing = 1, ...rest } = options
  const pair = typeof spacing === 'number' ? [spacing, spacing] : spacing
  const [n, , h, w] = shape as [number, number, number, number]
  const [p, t] = await Promise.all([prediction.data(), truth.data()])
  return Array.from({ length: n }, (_, i) => {
    const [a, b] = [p, t].map((values) => values.subarray(i * h * w, (i + 1) * h * w)) as [
      Float32Array,
      Float32Array,
    ]
    return scoreWhole(a, b, [h, w], { ...rest, spacing: pair })
  })
}
