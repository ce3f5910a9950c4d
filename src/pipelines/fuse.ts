import { add } from '../autograd/ops/add.ts'
import { eq, gt } from '../autograd/ops/comparison.ts'
import { concat } from '../autograd/ops/concat.ts'
import { div } from '../autograd/ops/div.ts'
import { hysteresisThreshold } from '../autograd/ops/hysteresis-threshold.ts'
import { max } from '../autograd/ops/max.ts'
import { maximum } from '../autograd/ops/maximum.ts'
import { mul } from '../autograd/ops/mul.ts'
import type { PolarLayout } from '../autograd/ops/polar-warp.ts'
import { componentContaining } from '../autograd/ops/select-component.ts'
import { slice } from '../autograd/ops/slice.ts'
import { sum } from '../autograd/ops/sum.ts'
import type { Tensor } from '../autograd/tensor.ts'
import { type Scores, scoresOfCounts } from './scores.ts'

/**
 * Weights of polar predictions for their fusion (4.4): 2 in the component that contains the origin, 1 in what else is
 * predicted, 0 elsewhere.
 *
 *     W = M + component of M that touches radius 0,   M = map > ½
 *
 * The origin is not one pixel of a polar image but the whole line of radius 0, and the angle axis is a circle. So two
 * turns of the image lie side by side, a line of ones behind their radius 0 joins what touches it, and a pixel belongs
 * if it does in either turn: exact for components that wind less than twice about the origin.
 *
 * @param maps (M, 1, radii, angles), or (M, 1, angles, radii) in layout 'angles-down'
 */
export function weighPolar(maps: Tensor, layout: PolarLayout = 'radius-up'): Tensor {
  const [m, , h, w] = maps.shape as [number, number, number, number]
  const up = layout === 'radius-up'
  const mask = gt(maps, 0.5)
  const [turn, radius] = up ? [3, 2] : [2, 3]
  const twice = concat([mask, mask], { axis: turn })
  const line = maps.device.ones(up ? [m, 1, 1, 2 * w] : [m, 1, 2 * h, 1])
  // Radius 0 is the last row of 'radius-up' and the first column of 'angles-down'.
  const joined = concat(up ? [twice, line] : [line, twice], { axis: radius })
  const point = up ? [0, h] : [0, 0]
  const points = maps.device.tensor(
    Float32Array.from({ length: 2 * m }, (_, i) => point[i % 2]!),
    [m, 2],
  )
  const touching = componentContaining(joined, points)
  const part = (y: number, x: number) => slice(touching, { starts: [0, 0, y, x], ends: [m, 1, y + h, x + w] })
  const either = up ? maximum(part(0, 0), part(0, w)) : maximum(part(0, 1), part(h, 1))
  return add(mask, either)
}

/** Sums of weights (N, 1, H, W) divided by each image's greatest: 0 to 1; an image of zeros stays so. */
export function normaliseFusion(sums: Tensor): Tensor {
  const greatest = max(sums, { axes: [1, 2, 3], keepDims: true })
  return div(sums, add(greatest, eq(greatest, 0)))
}

/** Scores of every image for one pair of thresholds. */
export interface SweepPoint {
  /** t₁, exclusive. */
  readonly low: number
  /** t₂, exclusive. */
  readonly high: number
  readonly scores: readonly Scores[]
}

/**
 * Scores of fused maps (4.4) for every pair of thresholds with t₁ ≤ t₂: the points of a precision–recall curve. Raising
 * either threshold only removes pixels, so recall never rises with it. Waits for the GPU once.
 *
 * @param fused (N, 1, H, W), 0 to 1: `fused` of `segmentSeveral`
 * @param truth (N, 1, H, W) of 0 and 1
 */
export async function sweepThresholds(
  fused: Tensor,
  truth: Tensor,
  thresholds: { readonly low: readonly number[]; readonly high: readonly number[] },
): Promise<SweepPoint[]> {
  const { device } = fused
  const [n, , h, w] = fused.shape as [number, number, number, number]
  const pairs = thresholds.low.flatMap((low) =>
    thresholds.high.filter((high) => high >= low).map((high) => ({ low, high })),
  )
  if (pairs.length === 0) return []
  const counts = device.noGrad(() =>
    device.scope(() => {
      const over = { axes: [1, 2, 3] }
      const sums = pairs.flatMap((pair) => {
        const mask = hysteresisThreshold(fused, pair)
        return [sum(mul(mask, truth), over), sum(mask, over)]
      })
      return concat([...sums, sum(truth, over)], { axis: 0 })
    }),
  )
  const values = await counts.data()
  counts.dispose()
  const actual = values.subarray(2 * pairs.length * n)
  return pairs.map((pair, k) => ({
    ...pair,
    scores: Array.from({ length: n }, (_, i) =>
      scoresOfCounts({
        both: values[2 * k * n + i]!,
        predicted: values[(2 * k + 1) * n + i]!,
        actual: actual[i]!,
        total: h * w,
      }),
    ),
  }))
}
