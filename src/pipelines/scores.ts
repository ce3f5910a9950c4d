import { DataError } from '../gpu/errors.ts'

/** The scores of one image, each 0…1. */
export interface Scores {
  /** Dice similarity coefficient, `2TP / (2TP + FP + FN)`. */
  dice: number
  /** Intersection over union (Jaccard), `TP / (TP + FP + FN)`. */
  iou: number
  /** `TP / (TP + FP)`. */
  precision: number
  /** `TP / (TP + FN)`. */
  recall: number
  /** `(TP + TN) / all`. */
  accuracy: number
  /** The IoU where it is at least 0.65, else 0 (ISIC 2018). */
  thresholdedJaccard: number
}

/** How a list of values is summed up. */
export interface Summary {
  count: number
  mean: number
  median: number
  /** Standard deviation of the sample (divisor n − 1); 0 for a single value. */
  sd: number
}

/** Below this IoU the thresholded Jaccard is 0. */
const JACCARD_THRESHOLD = 0.65

/**
 * Scores one predicted mask against the truth. A pixel is foreground where its value is over `threshold`.
 *
 * Empty cases: where truth and prediction are both empty, every score is 1. Where only one of them is, DSC
 * and IoU are 0, and so is whichever of precision and recall would divide by zero.
 *
 * @param prediction probabilities or zeros and ones, (H, W) or any flat order
 * @param truth the same number of values
 * @param options `threshold` (0.5) for both
 * @throws DataError when the lengths differ, there are no pixels, or the prediction holds NaN
 */
export function scoreMask(
  prediction: ArrayLike<number>,
  truth: ArrayLike<number>,
  options: { threshold?: number } = {},
): Scores {
  const { threshold = 0.5 } = options
  const n = truth.length
  if (prediction.length !== n || n === 0) {
    throw new DataError(
      `scoreMask: prediction has ${prediction.length} pixels, truth has ${n}; wants as many, over 0`,
    )
  }
  let both = 0
  let predicted = 0
  let actual = 0
  for (let i = 0; i < n; i++) {
    const value = prediction[i]!
    if (Number.isNaN(value))
      throw new DataError(`scoreMask: prediction ${i} is NaN; the network has diverged`)
    const p = value > threshold
    const t = truth[i]! > threshold
    if (p) predicted++
    if (t) actual++
    if (p && t) both++
  }
  return scoresOfCounts({ both, predicted, actual, total: n })
}

/** Pixels that are foreground in both masks, in the prediction, in the truth, and all pixels. */
export interface PixelCounts {
  both: number
  predicted: number
  actual: number
  total: number
}

/** Scores from counts of pixels, by the rules of `scoreMask`. */
export function scoresOfCounts({ both, predicted, actual, total }: PixelCounts): Scores {
  const empty = predicted + actual === 0
  const ratio = (a: number, b: number): number => (empty ? 1 : b === 0 ? 0 : a / b)
  const union = predicted + actual - both
  const iou = ratio(both, union)
  return {
    dice: ratio(2 * both, predicted + actual),
    iou,
    precision: ratio(both, predicted),
    recall: ratio(both, actual),
    accuracy: (total - union + both) / total,
    thresholdedJaccard: iou < JACCARD_THRESHOLD ? 0 : iou,
  }
}

/**
 * Centre of mass of a mask, fraction kept.
 *
 * @param mask (H, W) weights of at least 0
 * @param height px
 * @param width px
 * @returns [x, y] in px, pixel centres at integers; the image's centre where the mask is empty
 */
export function maskCentre(mask: ArrayLike<number>, height: number, width: number): [x: number, y: number] {
  let total = 0
  let sx = 0
  let sy = 0
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const weight = mask[y * width + x]!
      total += weight
      sx += weight * x
      sy += weight * y
    }
  }
  return total > 0 ? [sx / total, sy / total] : [(width - 1) / 2, (height - 1) / 2]
}

/**
 * Mean squared error of centres: the mean of `dx² + dy²` over all pairs.
 *
 * @param predicted (x, y) pairs, px
 * @param truth as many pairs
 * @returns px²
 * @throws DataError when the numbers differ or are 0
 */
export function centreMse(
  predicted: readonly (readonly [number, number])[],
  truth: readonly (readonly [number, number])[],
): number {
  if (predicted.length !== truth.length || truth.length === 0) {
    throw new DataError(
      `centreMse: ${predicted.length} predicted centres, ${truth.length} true ones; wants as many`,
    )
  }
  const sum = predicted.reduce(
    (total, [x, y], i) => total + (x - truth[i]![0]) ** 2 + (y - truth[i]![1]) ** 2,
    0,
  )
  return sum / truth.length
}

/**
 * Mean, median and standard deviation.
 *
 * @param values at least one
 * @throws DataError when there is none
 */
export function summarize(values: readonly number[]): Summary {
  const count = values.length
  if (count === 0) throw new DataError('summarize: no values; score at least one image')
  const mean = values.reduce((sum, v) => sum + v, 0) / count
  const sorted = [...values].sort((a, b) => a - b)
  const median = (sorted[Math.floor((count - 1) / 2)]! + sorted[Math.ceil((count - 1) / 2)]!) / 2
  const squares = values.reduce((sum, v) => sum + (v - mean) ** 2, 0)
  return { count, mean, median, sd: count > 1 ? Math.sqrt(squares / (count - 1)) : 0 }
}

/**
 * Sums up each score over many images.
 *
 * @param scores one entry an image (or a scan), at least one
 * @returns a summary for every score
 * @throws DataError when there is none
 */
export function summarizeScores(scores: readonly Scores[]): Record<keyof Scores, Summary> {
  const of = (key: keyof Scores): Summary => summarize(scores.map((score) => score[key]))
  return {
    dice: of('dice'),
    iou: of('iou'),
    precision: of('precision'),
    recall: of('recall'),
    accuracy: of('accuracy'),
    thresholdedJaccard: of('thresholdedJaccard'),
  }
}
