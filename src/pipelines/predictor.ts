import { add } from '../autograd/ops/add.ts'
import { diceLoss } from '../autograd/ops/dice-loss.ts'
import { mean } from '../autograd/ops/mean.ts'
import { mul } from '../autograd/ops/mul.ts'
import { square } from '../autograd/ops/pow.ts'
import { sub } from '../autograd/ops/sub.ts'
import type { Tensor } from '../autograd/tensor.ts'
import { FoveaError } from '../gpu/errors.ts'
import type { ParameterFunction } from './transforms/parameters.ts'

/** Options of `predictorLoss`. */
export interface PredictorLossOptions {
  /** Weight α of the parameters' error. */
  readonly alpha: number
  /** Weight β of the map's error. */
  readonly beta: number
  /** f_ϕ with a gradient in the map: `softCentreOfMap`, `softArgmaxOfMap`, `softBoxOfMap`. */
  readonly parameters: ParameterFunction
  /** What one unit of the parameters is worth, such as 1/size to take pixels as shares of the image; 1. */
  readonly scale?: number
  /** L_M; default the soft Dice loss. */
  readonly mapLoss?: (map: Tensor, truth: Tensor) => Tensor
}

/**
 * Loss of the parameter predictor (4.5): `α·L_ϕ(f_ϕ(M), f_ϕ(M_gt)) + β·L_M(M, M_gt)`, with the mean squared error of
 * the parameters as L_ϕ. Give it to `train` as `loss`.
 *
 * @throws FoveaError when both weights are 0 or one is negative
 */
export function predictorLoss(options: PredictorLossOptions): (map: Tensor, truth: Tensor) => Tensor {
  const { alpha, beta, parameters, scale = 1, mapLoss = diceLoss } = options
  if (!(alpha >= 0) || !(beta >= 0) || alpha + beta === 0)
    throw new FoveaError(`predictorLoss: α ${alpha} and β ${beta} must be at least 0, one of them above`)
  return (map, truth) => {
    const parts: Tensor[] = []
    if (alpha > 0) {
      const target = map.device.noGrad(() => parameters(truth, truth))
      const off = mul(sub(parameters(map, map), target), scale)
      parts.push(mul(mean(square(off)), alpha))
    }
    if (beta > 0) parts.push(mul(mapLoss(map, truth), beta))
    return parts.length === 2 ? add(parts[0]!, parts[1]!) : parts[0]!
  }
}
