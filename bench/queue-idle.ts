import type { Device } from '../src/autograd/device.ts'
import { BufferUsage, MAP_MODE_READ } from '../src/gpu/flags.ts'

/** Bytes of a timestamp. */
const TICKS = 8

/**
 * How long a GPU's queue had nothing to do between one piece of work and the next, by its own clock: an empty pass
 * before and behind each piece says when the GPU came there. What the host writes for a piece before `before()` is
 * part of the time between.
 */
export class QueueIdle {
  readonly #queries: GPUQuerySet | undefined
  #next = 0

  /** @param pieces how many at most */
  constructor(
    private readonly device: Device,
    private readonly pieces: number,
  ) {
    const { native } = device
    if (native.features.has('timestamp-query'))
      this.#queries = native.createQuerySet({ type: 'timestamp', count: 2 * pieces })
  }

  before(): void {
    this.#mark()
  }

  after(): void {
    this.#mark()
  }

  #mark(): void {
    const querySet = this.#queries
    if (!querySet || this.#next >= 2 * this.pieces) return
    this.device.flush()
    const encoder = this.device.native.createCommandEncoder()
    encoder.beginComputePass({ timestampWrites: { querySet, beginningOfPassWriteIndex: this.#next++ } }).end()
    this.device.native.queue.submit([encoder.finish()])
  }

  /** Milliseconds from the end of each piece to the start of the next; undefined without a clock. */
  async read(): Promise<number[] | undefined> {
    const querySet = this.#queries
    if (!querySet) return undefined
    const { native } = this.device
    const size = this.#next * TICKS
    const resolved = native.createBuffer({ size, usage: BufferUsage.QUERY_RESOLVE | BufferUsage.COPY_SRC })
    const staging = native.createBuffer({ size, usage: BufferUsage.MAP_READ | BufferUsage.COPY_DST })
    const encoder = native.createCommandEncoder()
    encoder.resolveQuerySet(querySet, 0, this.#next, resolved, 0)
    encoder.copyBufferToBuffer(resolved, 0, staging, 0, size)
    native.queue.submit([encoder.finish()])
    await staging.mapAsync(MAP_MODE_READ)
    const ticks = new BigUint64Array(staging.getMappedRange().slice(0))
    for (const each of [resolved, staging, querySet]) each.destroy()
    const gaps: number[] = []
    for (let i = 1; i + 1 < ticks.length; i += 2) gaps.push(Number(ticks[i + 1]! - ticks[i]!) / 1e6)
    return gaps
  }
}
