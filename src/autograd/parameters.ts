import { FoveaError } from '../gpu/errors.ts'
import type { Storage } from '../gpu/storage.ts'
import type { Device } from './device.ts'
import { BYTES_PER_ELEMENT, type Tensor } from './tensor.ts'

/** Storage bindings begin at multiples of 256 bytes. */
const ALIGN = 256

/**
 * Parameters that lie in one buffer, and their gradients in another: zeroing all gradients is one clear,
 * an optimiser step one launch. Gaps between parameters hold zeros and stay zero.
 */
export class ParameterBlock {
  readonly data: Storage
  readonly #offsets = new Map<Tensor, number>()
  #grads: Storage | undefined
  #released = false

  /** Moves `parameters` (float32, on one device) into a fresh block. Their values stay. */
  constructor(
    private readonly device: Device,
    readonly parameters: readonly Tensor[],
  ) {
    let offset = 0
    for (const p of parameters) {
      if (device.blockOf(p)) throw new FoveaError(`parameter ${p.name ?? ''} lies in another block already`)
      if (p.grad)
        throw new FoveaError(
          `parameter ${p.name ?? ''} has a gradient already; form the block before the first backward`,
        )
      this.#offsets.set(p, offset)
      offset += Math.ceil(Math.max(1, p.size * BYTES_PER_ELEMENT) / ALIGN) * ALIGN
    }
    this.data = device.allocatePersistent(offset, 'parameters', 'parameters')
    for (const [p, at] of this.#offsets) device.copy('parameters', p.storage, this.data, p.bytes, 0, at)
    // All copies are recorded before the first old buffer is destroyed, which submits them: one submission, not one
    // a parameter.
    for (const [p, at] of this.#offsets) {
      p.rehome(this.data.slice(at, p.bytes))
      device.joinBlock(p, this)
    }
  }

  /** Number of floats, gaps included. */
  get length(): number {
    return this.data.bytes / BYTES_PER_ELEMENT
  }

  /** Byte offset of a parameter in the block. */
  offsetOf(p: Tensor): number {
    const offset = this.#offsets.get(p)
    if (offset === undefined) throw new FoveaError(`parameter ${p.name ?? ''} is not in this block`)
    return offset
  }

  /** All gradients, made (zero) on first use; same layout as `data`. */
  get grads(): Storage {
    this.#grads ??= this.device.allocatePersistent(this.data.bytes, 'gradients', 'gradients')
    return this.#grads
  }

  gradOf(p: Tensor): Storage {
    return this.grads.slice(this.offsetOf(p), p.bytes)
  }

  /** Gives up the block's own hold on its memory; it is freed with the last of its tensors. */
  release(): void {
    if (this.#released) return
    this.#released = true
    this.data.release('its module was disposed')
    this.#grads?.release('its module was disposed')
  }
}
