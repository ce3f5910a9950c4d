import source from '../../kernels/fold_batch_norm.wgsl'
import type { Device } from '../autograd/device.ts'
import type { Tensor } from '../autograd/tensor.ts'
import { kernel } from '../gpu/kernel.ts'

const fold = kernel('fold_batch_norm', source)

/** What a convolution and the batch norm behind it compute with, in evaluation. */
export interface FoldSources {
  /** (outChannels, …). */
  readonly weight: Tensor
  readonly bias: Tensor | undefined
  readonly gamma: Tensor
  readonly beta: Tensor
  readonly mean: Tensor
  readonly variance: Tensor
}

/**
 * Weight and bias of a convolution with the batch norm behind it folded in. They are computed on the GPU, again
 * only when what they are computed from was written: by an optimiser, by training (running statistics), by
 * `set` or `loadStateDict`. (Writes past fovea, by `device.native.queue`, go unseen.)
 */
export class FoldedWeights {
  readonly weight: Tensor
  readonly bias: Tensor
  readonly #device: Device
  #made = ''

  constructor(
    private readonly from: FoldSources,
    private readonly eps: number,
  ) {
    const { device, shape, bytes } = from.weight
    this.#device = device
    const own = (of: readonly number[], size: number) =>
      device.wrap(of, 'float32', device.allocatePersistent(size, 'folded batch norm'), false, false)
    this.weight = own(shape, bytes)
    this.bias = own([shape[0]!], from.gamma.bytes)
  }

  /**
   * Brings the folded weights up to date before the work that follows: now, or, while a step is captured, at each of
   * its replays. False if the step itself has written the sources by then: what it will have written is not known yet.
   */
  refresh(): boolean {
    if (!this.#device.capturing) {
      this.#update()
      return true
    }
    if (this.#device.captureWrites(this.#sources().map((t) => t.storage))) return false
    this.#device.perform(() => this.#update())
    return true
  }

  #sources(): Tensor[] {
    return Object.values(this.from).filter((t): t is Tensor => t !== undefined)
  }

  #update(): void {
    const version = this.#sources()
      .map(({ storage: { root } }) => `${root.id}.${root.version}`)
      .join(' ')
    if (version === this.#made) return
    this.#made = version
    const { bias, ...others } = this.from
    const [channels] = this.weight.shape
    const bound = { ...others, bias: bias ?? others.beta, folded_weight: this.weight, folded_bias: this.bias }
    this.#device.launch('fold batch norm', {
      kernel: fold,
      entry: 'fold_batch_norm',
      bindings: Object.fromEntries(Object.entries(bound).map(([name, t]) => [name, t.storage])),
      params: { count: this.weight.size / channels!, has_bias: bias ? 1 : 0, eps: this.eps },
      overrides: { WG: this.#device.adapter.cpu ? 8 : 64 },
      workgroups: [channels!],
    })
  }

  dispose(): void {
    for (const t of [this.weight, this.bias]) t.dispose('its module was disposed')
  }
}
