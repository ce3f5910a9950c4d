import type { Device } from '../src/autograd/device.ts'
import { Timestamps } from '../src/gpu/timestamps.ts'

/**
 * How long a GPU's queue had nothing to do between one piece of work and the next, by its own clock: an empty pass before and
 * behind each piece says when the GPU was done with all that came before it. What the host writes for a piece before its mark is
 * part of the time between, and so are the marks: each is a submission.
 */
export class QueueIdle {
  readonly #stamps: Timestamps | undefined
  #next = 0

  /** @param pieces how many there will be */
  constructor(
    private readonly device: Device,
    private readonly pieces: number,
  ) {
    const { native } = device
    if (native.features.has('timestamp-query')) this.#stamps = new Timestamps(native, 2 * pieces)
  }

  /** Call it right before and right behind each piece. Without a clock it does nothing. */
  mark(): void {
    if (!this.#stamps) return
    const { querySet } = this.#stamps
    if (this.#next >= 2 * this.pieces) throw new Error(`QueueIdle: more than ${this.pieces} pieces`)
    this.device.flush()
    const encoder = this.device.native.createCommandEncoder()
    // The end of a pass waits for what came before, which its beginning need not.
    encoder.beginComputePass({ timestampWrites: { querySet, endOfPassWriteIndex: this.#next++ } }).end()
    this.device.native.queue.submit([encoder.finish()])
  }

  /** Milliseconds from the end of each piece to the start of the next; undefined without a clock. Once, at the end. */
  async read(): Promise<number[] | undefined> {
    if (!this.#stamps) return undefined
    const { native } = this.device
    const encoder = native.createCommandEncoder()
    this.#stamps.resolve(encoder)
    native.queue.submit([encoder.finish()])
    const ticks = (await this.#stamps.read()).subarray(0, this.#next)
    const gaps: number[] = []
    for (let i = 1; i + 1 < ticks.length; i += 2)
      gaps.push(Math.max(0, Number(ticks[i + 1]! - ticks[i]!) / 1e6))
    return gaps
  }
}
