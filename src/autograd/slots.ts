import { ShapeError } from '../gpu/errors.ts'
import type { Storage } from '../gpu/storage.ts'
import type { Device } from './device.ts'
import { bytesOf, type Channels, type DType, elements, formatShape, type Shape, sameShape } from './tensor.ts'

/** Memory of a concatenation (N, ΣC, H, W), made when the first of its parts is written. */
class Room {
  readonly shape: Shape
  readonly slots: readonly Slot[]
  readonly #taken = new Set<Slot>()
  /** Held by the tensors in it alone: it is freed with the last of them. */
  #storage: Storage | undefined

  constructor(
    private readonly device: Device,
    parts: readonly Shape[],
  ) {
    const [n, , h, w] = parts[0] as [number, number, number, number]
    let channels = 0
    this.slots = parts.map((shape) => {
      const slot = new Slot(this, shape, channels * h * w)
      channels += shape[1]!
      return slot
    })
    this.shape = [n, channels, h, w]
  }

  /** True if `slot` may be written: nothing lies in it, and its neighbours are of this dtype. */
  free(slot: Slot, dtype: DType): boolean {
    const storage = this.storage
    // Kernels move vec4s: a slot must begin at one in every image.
    const [, , h, w] = this.shape as [number, number, number, number]
    const bindable = bytesOf(elements(this.shape), dtype) <= this.device.adapter.maxBindingBytes
    return bindable && (h * w) % 4 === 0 && !(storage && (this.#taken.has(slot) || this.dtype !== dtype))
  }

  dtype: DType = 'float32'

  get storage(): Storage | undefined {
    return this.#storage?.freed ? undefined : this.#storage
  }

  /** One more holder of its memory, who may write `slot`. */
  take(slot: Slot, op: string, dtype: DType): Storage {
    const held = this.storage
    if (!held) this.#taken.clear()
    this.#taken.add(slot)
    this.dtype = dtype
    this.#storage = held?.retain() ?? this.device.allocate(bytesOf(elements(this.shape), dtype), op)
    return this.#storage
  }
}

/** A place in a later concatenation; ops take it as `into`. */
export class Slot {
  constructor(
    readonly room: Room,
    readonly shape: Shape,
    private readonly offset: number,
  ) {}

  /** True if an array of this shape and dtype can be written here. */
  fits(shape: Shape, dtype: DType): boolean {
    return sameShape(shape, this.shape) && this.room.free(this, dtype)
  }

  /** The place to write an array to, once. Undefined if it does not fit or the slot is taken. For `run.emptyIn`. */
  open(op: string, shape: Shape, dtype: DType): { storage: Storage; channels: Channels } | undefined {
    if (!this.fits(shape, dtype)) return undefined
    const storage = this.room.take(this, op, dtype)
    const [n] = this.room.shape
    return {
      storage,
      channels: { offset: this.offset, stride: elements(this.room.shape) / n!, slot: this },
    }
  }
}

/**
 * Slots for tensors of the given shapes (N, Cᵢ, H, W) that will be concatenated along channels. An op that is
 * given one as `into` (`batchNorm`) writes its result there, and `concat` of the tensors, in this order, copies
 * only what lies elsewhere. A slot is a wish: where an array does not fit (H·W no multiple of 4, another shape,
 * a slot that was used before) or an op has no `into`, the result is the same and costs a copy.
 *
 *     const [up, skip] = concatSlots(device, [[n, 16, h, w], [n, 16, h, w]])
 *     const y = batchNorm(x, { …, into: skip })
 *     concat([upsampled, y], { axis: 1 })
 */
export function concatSlots(device: Device, shapes: readonly Shape[]): Slot[] {
  const [first] = shapes
  for (const s of shapes) {
    const fits = s.length === 4 && s.every((d, k) => k === 1 || d === first![k])
    if (fits) continue
    throw new ShapeError(
      'concatSlots',
      `shapes are (N, C, H, W) that agree in N, H and W, got ${shapes.map(formatShape).join(' and ')}`,
    )
  }
  return shapes.length > 0 && elements(first!) > 0 ? [...new Room(device, shapes).slots] : []
}
