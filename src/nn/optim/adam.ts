import source from '../../../kernels/adam.wgsl'
import { checkOptions, checkRates, shown } from '../../autograd/options.ts'
import type { Tensor } from '../../autograd/tensor.ts'
import { FoveaError } from '../../gpu/errors.ts'
import { kernel } from '../../gpu/kernel.ts'
import { Optimizer } from './optimizer.ts'

const adam = kernel('adam', source)

export interface AdamOptions {
  readonly lr?: number
  readonly betas?: readonly [number, number]
  readonly eps?: number
  readonly weightDecay?: number
}

/**
 * Adam (Kingma and Ba, 2015), as PyTorch has it: `w -= lr/(1−β1ᵗ) · m / (√v/√(1−β2ᵗ) + eps)`. `weightDecay`
 * is added to the gradient (L2). Defaults: lr 1e-3, betas 0.9 and 0.999, eps 1e-8, no decay.
 */
export class Adam extends Optimizer {
  readonly betas: readonly [number, number]
  readonly eps: number
  readonly weightDecay: number

  constructor(params: readonly Tensor[], options: AdamOptions = {}, name = 'Adam') {
    checkOptions(name, options, [], ['lr', 'betas', 'eps', 'weightDecay'])
    const { lr = 1e-3, betas = [0.9, 0.999], eps = 1e-8, weightDecay = 0 } = options
    checkRates(name, { lr, eps, weightDecay })
    if (betas.length !== 2 || !betas.every((beta) => beta >= 0 && beta < 1))
      throw new FoveaError(
        `${name}: betas must be two numbers of at least 0 and under 1, got ${shown(betas)}`,
      )
    super(name, params, lr, adam, ['m', 'v'])
    this.betas = betas
    this.eps = eps
    this.weightDecay = weightDecay
  }

  protected override fresh(): readonly [number, number] {
    const [beta1, beta2] = this.betas
    return [1 - beta1, 1 - beta2]
  }

  protected uniforms() {
    const [beta1, beta2] = this.betas
    return {
      beta1,
      beta2,
      fresh1: 1 - beta1,
      fresh2: 1 - beta2,
      eps: this.eps,
      decay: this.weightDecay,
      correction1: 1 - beta1 ** this.steps,
      correction2: 1 - beta2 ** this.steps,
      decoupled: 0,
    }
  }
}

/**
 * AdamW (Loshchilov and Hutter, 2019): the decay shrinks the weights by `lr · weightDecay` a step instead of
 * joining the gradient. Defaults as Adam's, weightDecay 1e-2.
 */
export class AdamW extends Adam {
  constructor(params: readonly Tensor[], { weightDecay = 1e-2, ...options }: AdamOptions = {}) {
    super(params, { weightDecay, ...options }, 'AdamW')
  }

  protected override uniforms() {
    return { ...super.uniforms(), decoupled: 1 }
  }
}
