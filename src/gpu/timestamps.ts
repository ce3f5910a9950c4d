import { BufferUsage, MAP_MODE_READ } from './flags.ts'

/** Bytes of a timestamp. */
const BYTES = 8

/** A set of timestamps, which passes write, and the way that they take to the host. */
export class Timestamps {
  readonly querySet: GPUQuerySet
  readonly #resolved: GPUBuffer
  readonly #staging: GPUBuffer

  /** @param count of timestamps; a set holds up to 4,096 */
  constructor(
    device: GPUDevice,
    private readonly count: number,
  ) {
    const size = BYTES * count
    this.querySet = device.createQuerySet({ type: 'timestamp', count })
    this.#resolved = device.createBuffer({ size, usage: BufferUsage.QUERY_RESOLVE | BufferUsage.COPY_SRC })
    this.#staging = device.createBuffer({ size, usage: BufferUsage.MAP_READ | BufferUsage.COPY_DST })
  }

  /** Behind the passes: brings all to where `read` finds them. */
  resolve(encoder: GPUCommandEncoder): void {
    encoder.resolveQuerySet(this.querySet, 0, this.count, this.#resolved, 0)
    encoder.copyBufferToBuffer(this.#resolved, 0, this.#staging, 0, BYTES * this.count)
  }

  /** Nanoseconds by the GPU's clock, once what `resolve` was encoded into is submitted. Frees the set. */
  async read(): Promise<BigUint64Array> {
    try {
      await this.#staging.mapAsync(MAP_MODE_READ)
      return new BigUint64Array(this.#staging.getMappedRange().slice(0))
    } finally {
      for (const each of [this.#staging, this.#resolved, this.querySet]) each.destroy()
    }
  }
}
