import type { Device } from '../src/autograd/device.ts'
import { BufferUsage, MAP_MODE_READ } from '../src/gpu/flags.ts'

/** Bytes of a timestamp. */
const TICKS = 8

/**
 * How long a GPU's queue had nothing to do between one piece of work and the next, by its own clock: an empty pass before and
 * behind each piece says when the GPU was done with all that came before it. What the host writes for a piece before its mark is
 * part of the time between, and so are the marks: each is a submission.
 */
export class QueueIdle {
  readonly #queries: GPUQuerySet | undefined
  #next = 0

  /** @param pieces how many there will be */
  constructor(
    private readonly device: Device,
    private readonly pieces: number,
  ) {
    const { native } = device
    if (native.features.has('timestamp-query'))
      this.#queries = native.createQuerySet({ type: 'timestamp', count: 2 * pieces })
  }

  /** Call it right before and right behind each piece. Without a clock it does nothing. */
  mark(): void {
    const querySet = this.#queries
    if (!querySet) return
    if (this.#next >= 2 * this.pieces) throw new Error(`QueueIdle: more than ${this.pieces} pieces`)
    this.device.flush()
    const encoder = this.device.native.createCommandEncoder()
    // The end of a pass waits for what came before, which its beginning need not.
    encoder.beginComputePass({ timestampWrites: { querySet, endOfPassWriteIndex: this.#next++ } }).end()
    this.device.native.queue.submit([encoder.finish()])
  }

  /** Milliseconds from the end of each piece to the start of the next; undefined without a clock. Once, at the end. */
  async read(): Promise<number[] | undefined> {
    const querySet = this.#queries
    if (!querySet) return undefined
    const { native } = this.device
    const size = this.#next * TICKS
    const resolved = native.createBuffer({ size, usage: BufferUsage.QUERY_RESOLVE | BufferUsage.COPY_SRC })
    const staging = native.createBuffer({ size, usage: BufferUsage.MAP_READ | BufferUsage.COPY_DST })
    try {
      const encoder = native.createCommandEncoder()
      encoder.resolveQuerySet(querySet, 0, this.#next, resolved, 0)
      encoder.copyBufferToBuffer(resolved, 0, staging, 0, size)
      native.queue.submit([encoder.finish()])
      await staging.mapAsync(MAP_MODE_READ)
      const ticks = new BigUint64Array(staging.getMappedRange().slice(0))
      const gaps: number[] = []
      for (let i = 1; i + 1 < ticks.length; i += 2)
        gaps.push(Math.max(0, Number(ticks[i + 1]! - ticks[i]!) / 1e6))
      return gaps
    } finally {
      for (const each of [resolved, staging, querySet]) each.destroy()
    }
  }
}
