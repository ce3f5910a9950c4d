import { add } from '../autograd/ops/add.ts'
import { argmax2d } from '../autograd/ops/argmax2d.ts'
import { centerOfMass } from '../autograd/ops/center-of-mass.ts'
import { eq, gt } from '../autograd/ops/comparison.ts'
import { div } from '../autograd/ops/div.ts'
import { mean } from '../autograd/ops/mean.ts'
import { mseLoss } from '../autograd/ops/mse-loss.ts'
import { mul } from '../autograd/ops/mul.ts'
import { neg } from '../autograd/ops/neg.ts'
import { square } from '../autograd/ops/pow.ts'
import { sqrt } from '../autograd/ops/sqrt.ts'
import { sub } from '../autograd/ops/sub.ts'
import { sum } from '../autograd/ops/sum.ts'
import type { Tensor } from '../autograd/tensor.ts'
import type { NetworkOutput } from './training-options.ts'

/** The tensors that a network gives, one a stack: the last is its answer. */
export const stacksOf = (output: NetworkOutput): readonly Tensor[] =>
  Array.isArray(output) ? (output as readonly Tensor[]) : [output as Tensor]

/**
 * Loss of a network with several stacks (4.3.3): the mean of the stacks' losses, for `train`'s `loss`. A network that
 * gives one tensor counts as one stack.
 *
 * @param each loss of one stack, a scalar; default the mean squared error, as for heatmaps
 */
export const meanOverStacks =
  (each: (prediction: Tensor, target: Tensor) => Tensor = mseLoss) =>
  (output: NetworkOutput, target: Tensor): Tensor => {
    const losses = stacksOf(output).map((prediction) => each(prediction, target))
    return mul(
      losses.reduce((a, b) => add(a, b)),
      1 / losses.length,
    )
  }

/** DSC of each image at 0.5, (N): map and target are (N, 1, H, W). 1 where both are empty. */
export function diceScore(map: Tensor, target: Tensor): Tensor {
  const over = { axes: [1, 2, 3] }
  const predicted = gt(map, 0.5)
  const both = mul(sum(mul(predicted, target), over), 2)
  const sizes = add(sum(predicted, over), sum(target, over))
  const empty = eq(sizes, 0)
  return div(add(both, empty), add(sizes, empty))
}

/**
 * Centre error of each heatmap as a score, (N): minus the distance, px of the heatmap, between the brightest pixels of
 * the last stack and of the target (N, 1, h, w). For `train`'s `score`.
 */
export function centreScore(output: NetworkOutput, target: Tensor): Tensor {
  const off = sub(argmax2d(stacksOf(output).at(-1)!), argmax2d(target))
  return neg(sqrt(sum(square(off), { axes: [1] })))
}

/** Squared distances (N) of origins (N, 2) from the centres of mass of masks (N, 1, H, W), px². */
const squaredOffsets = (origins: Tensor, truth: Tensor): Tensor => {
  const centres = truth.device.noGrad(() => centerOfMass(truth))
  return sum(square(sub(origins, centres)), { axes: [1] })
}

/** Mean squared distance of origins (N, 2) from the truth's centres of mass, in the images' shorter side: a scalar. */
export function originLoss(origins: Tensor, truth: Tensor): Tensor {
  const side = Math.min(truth.shape[2]!, truth.shape[3]!)
  return mul(mean(squaredOffsets(origins, truth)), 1 / side ** 2)
}

/** Minus the distance of each origin (N, 2) from the truth's centre of mass, px, (N): for `train`'s `score`. */
export const originScore = (origins: Tensor, truth: Tensor): Tensor =>
  neg(sqrt(squaredOffsets(origins, truth)))
