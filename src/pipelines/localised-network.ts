import type { Device } from '../autograd/device.ts'
import { add } from '../autograd/ops/add.ts'
import { diceLoss } from '../autograd/ops/dice-loss.ts'
import { mul } from '../autograd/ops/mul.ts'
import type { Tensor } from '../autograd/tensor.ts'
import { FoveaError } from '../gpu/errors.ts'
import type { Module } from '../nn/module.ts'
import { JointNetwork } from './joint-network.ts'
import { type LocalisedResult, segmentLocalised } from './localise.ts'
import type { ParameterFunction } from './transforms/parameters.ts'
import type { Transform } from './transforms/transform.ts'

/** The parts of a `LocalisedNetwork`. */
export interface LocalisedNetworkParts {
  /** Images to a rough map, or with `parameters` left out straight to ϕ (N, K): see `ParameterHead`. */
  readonly localise: Module
  /** A soft f_ϕ, so that a gradient passes. */
  readonly parameters?: ParameterFunction
  /** Differentiable in its parameters there and back. */
  readonly transform: Transform
  readonly segment: Module
}

/**
 * `segmentLocalised` as one network that is trained end to end, beyond the thesis, which trains its parts apart: the
 * gradient of the final loss reaches the localiser through ϕ. That loss settles ϕ only as far as `segment` cares about it:
 * a network that segments wherever the polar origin lies leaves the origin where it is, or lets it drift; `penalised` holds
 * it. Weights are named `localise.…` and `segment.…`.
 */
export class LocalisedNetwork extends JointNetwork<Pick<LocalisedNetworkParts, 'localise' | 'segment'>> {
  #parameters: Tensor | undefined

  constructor(
    readonly device: Device,
    private readonly parts: LocalisedNetworkParts,
  ) {
    super({ localise: parts.localise, segment: parts.segment })
  }

  forward(x: Tensor): Tensor {
    const { mask, parameters } = this.trace(x)
    this.#parameters = parameters
    return mask
  }

  /** The forward pass with all that it computed on the way. */
  trace(x: Tensor): LocalisedResult {
    const { parameters = (phi) => phi, transform } = this.parts
    const nets = { localise: this.forwardOf('localise'), segment: this.forwardOf('segment') }
    return segmentLocalised({ ...nets, parameters, transform }, x)
  }

  /**
   * `loss` with a penalty of the parameters of the latest forward pass, for `train`: what keeps a deformation smooth, or an
   * origin near the truth's centre.
   *
   * @param penalty ϕ (N, K), and the truth (N, 1, H, W) that the loss gets, to a scalar
   * @param weight its part in the sum
   */
  penalised(
    penalty: (phi: Tensor, truth: Tensor) => Tensor,
    weight: number,
    loss: (map: Tensor, truth: Tensor) => Tensor = diceLoss,
  ): (map: Tensor, truth: Tensor) => Tensor {
    return (map, truth) => {
      if (!this.#parameters)
        throw new FoveaError('LocalisedNetwork: its loss is of a forward pass; run one first')
      return add(loss(map, truth), mul(penalty(this.#parameters, truth), weight))
    }
  }
}
