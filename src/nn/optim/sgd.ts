import source from '../../../kernels/sgd.wgsl'
import { checkOptions, checkRates } from '../../autograd/options.ts'
import type { Tensor } from '../../autograd/tensor.ts'
import { FoveaError } from '../../gpu/errors.ts'
import { kernel } from '../../gpu/kernel.ts'
import { Optimizer } from './optimizer.ts'

const sgd = kernel('sgd', source)

export interface SgdOptions {
  readonly lr?: number
  readonly momentum?: number
  readonly dampening?: number
  readonly nesterov?: boolean
  readonly weightDecay?: number
}

/** Stochastic gradient descent with momentum and Nesterov's variant, as PyTorch has it. Default lr 1e-2. */
export class SGD extends Optimizer {
  readonly #momentum: number
  readonly #dampening: number
  readonly #nesterov: boolean
  readonly #decay: number

  constructor(params: readonly Tensor[], options: SgdOptions = {}) {
    checkOptions('SGD', options, [], ['lr', 'momentum', 'dampening', 'nesterov', 'weightDecay'])
    const { lr = 1e-2, momentum = 0, dampening = 0, nesterov = false, weightDecay = 0 } = options
    checkRates('SGD', { lr, momentum, dampening, weightDecay })
    if (nesterov && (momentum <= 0 || dampening !== 0)) {
      throw new FoveaError(
        `SGD: nesterov wants a momentum above 0 and no dampening, got momentum ${momentum}, dampening ${dampening}`,
      )
    }
    super('SGD', params, lr, sgd, ['m'])
    this.#momentum = momentum
    this.#dampening = dampening
    this.#nesterov = nesterov
    this.#decay = weightDecay
  }

  protected uniforms() {
    return {
      decay: this.#decay,
      momentum: this.#momentum,
      dampening: this.#dampening,
      nesterov: this.#nesterov ? 1 : 0,
      first: this.steps === 1 ? 1 : 0,
    }
  }
}
