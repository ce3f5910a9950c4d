import source from '../../../kernels/grad_scaler.wgsl'
import type { Device } from '../../autograd/device.ts'
import { checkOptions } from '../../autograd/options.ts'
import { BYTES_PER_ELEMENT, type Tensor } from '../../autograd/tensor.ts'
import { CheckpointError, FoveaError } from '../../gpu/errors.ts'
import { kernel } from '../../gpu/kernel.ts'
import type { Storage } from '../../gpu/storage.ts'
import type { ParameterGroup } from './groups.ts'

const kernels = kernel('grad_scaler', source)

/** SEARCHERS in kernels/grad_scaler.wgsl. */
const SEARCHERS = 4096
const UNUSED = { count: 0, slot: 0, unscaled: 0, fresh1: 0, fresh2: 0, growth: 1, backoff: 1, interval: 1 }

export interface GradScalerOptions {
  /** Scale of the first step. Default 65536. */
  readonly scale?: number
  /** Factor after `interval` steps without overflow. Default 2. */
  readonly growth?: number
  /** Factor after a step with overflow. Default 0.5. */
  readonly backoff?: number
  /** Default 2000. */
  readonly interval?: number
}

/**
 * Dynamic loss scaling for training in half precision, as PyTorch's `GradScaler`, but decided on the GPU: the
 * loss is multiplied by a scale before `backward`, so that small gradients of activations are not lost in
 * float16; the optimiser divides by it. A step whose gradients are not all finite is skipped and shrinks the scale,
 * `interval` good ones in a row grow it. Nothing is read back, so it works inside compiled steps.
 *
 *     optimizer.zeroGrad()
 *     const loss = device.autocast(() => diceLoss(net.forward(x), y))
 *     scaler.backward(loss)
 *     optimizer.step({ scaler })
 *     scaler.update()
 */
export class GradScaler {
  readonly #options: Required<GradScalerOptions>
  readonly #state: Storage
  readonly #unscaled = new Set<Storage>()

  constructor(
    readonly device: Device,
    options: GradScalerOptions = {},
  ) {
    checkOptions('GradScaler', options, [], ['scale', 'growth', 'backoff', 'interval'])
    this.#options = { scale: 65_536, growth: 2, backoff: 0.5, interval: 2000, ...options }
    const { scale, growth, backoff, interval } = this.#options
    const ok =
      scale > 0 && Number.isFinite(scale) && growth >= 1 && backoff > 0 && backoff < 1 && interval >= 1
    if (!ok)
      throw new FoveaError(
        `GradScaler: wants scale above 0, growth of at least 1, backoff between 0 and 1 and an interval of at least 1, got ${Object.entries(this.#options).join('; ')}`,
      )
    this.#state = device.allocatePersistent(4 * BYTES_PER_ELEMENT, 'GradScaler')
    device.write(this.#state, Float32Array.of(scale, 0, 0, 0))
  }

  /** Gradients of scale · loss, added to the leaves' `grad`. `loss` has one element. */
  backward(loss: Tensor): void {
    if (loss.size !== 1)
      throw new FoveaError('GradScaler: backward wants a loss of one element; take its mean or sum')
    const scale = this.device.wrap(loss.shape, 'float32', this.#state.retain(), false, false)
    loss.backward(scale)
    scale.dispose()
  }

  /** Divides the gradients by the scale, for what looks at them before the step, such as `clipGradNorm`. */
  unscale(optimizer: { readonly groups: readonly ParameterGroup[] }): void {
    for (const group of optimizer.groups) {
      const grad = group.grads()
      if (this.#unscaled.has(grad)) continue
      this.#unscaled.add(grad)
      this.device.launch('GradScaler unscale', {
        kernel: kernels,
        entry: 'unscale',
        bindings: { scaler: this.#state, grad },
        params: { ...UNUSED, count: group.length },
        threads: group.length,
      })
    }
  }

  /**
   * Looks through the gradients of an optimiser and writes into its `progress` whether and how it steps. For
   * optimisers; `fresh` is 1 − β of its moments.
   */
  decide(groups: readonly ParameterGroup[], progress: Storage, fresh: readonly [number, number]): void {
    const { device } = this
    const op = 'GradScaler'
    const flags = device.allocate(groups.length * SEARCHERS * BYTES_PER_ELEMENT, op)
    groups.forEach((group, i) => {
      device.launch(op, {
        kernel: kernels,
        entry: 'find',
        bindings: { grad4: group.grads(), flags },
        params: { ...UNUSED, count: group.length, slot: i * SEARCHERS },
        threads: SEARCHERS,
      })
    })
    device.launch(op, {
      kernel: kernels,
      entry: 'decide',
      bindings: { scaler: this.#state, progress, flags },
      params: {
        ...UNUSED,
        slot: groups.length * SEARCHERS,
        unscaled: groups.every((g) => this.#unscaled.has(g.grads())) ? 1 : 0,
        fresh1: fresh[0],
        fresh2: fresh[1],
      },
      workgroups: [1],
    })
    flags.release('a temporary of GradScaler')
  }

  /** Moves the scale: once a step, after every optimiser has stepped. */
  update(): void {
    const { growth, backoff, interval } = this.#options
    this.#unscaled.clear()
    this.device.launch('GradScaler update', {
      kernel: kernels,
      entry: 'update',
      bindings: { scaler: this.#state },
      params: { ...UNUSED, growth, backoff, interval },
      workgroups: [1],
    })
  }

  /** Scale and steps since it moved, as a tensor (4) that shares memory with the scaler. For checkpoints. */
  state(): Tensor {
    return this.device.wrap([4], 'float32', this.#state.retain(), false, false)
  }

  /** Restores what `state` gave. */
  restore(state: Tensor): void {
    if (state.size !== 4 || state.dtype !== 'float32')
      throw new CheckpointError(`GradScaler: its state holds 4 floats, got ${state.toString()}`)
    this.device.copy('GradScaler state', state.storage, this.#state, state.bytes)
  }

  /** The scale of the next step. Waits for the GPU. */
  async scale(): Promise<number> {
    // No `using`: bundlers that lower nothing pass this on to Node 20.
    const state = this.state()
    try {
      return (await state.data())[0]!
    } finally {
      state.dispose()
    }
  }

  dispose(): void {
    this.#state.release('its scaler was disposed')
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}
