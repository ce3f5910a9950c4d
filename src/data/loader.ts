import { bytesOf, type Sample, type SampleData } from './dataset.ts'

export interface LoaderOptions {
  /** Batches that are loaded, or being loaded, ahead of the one in use. Default 2. */
  readonly ahead?: number
  /** No further batch is begun while those that lie ready hold this many bytes. Default 256 MiB. */
  readonly maxBytes?: number
}

interface Entry {
  readonly samples: Promise<readonly SampleData[]>
  /** Of the decoded samples; 0 until they are there. */
  bytes: number
}

/**
 * Loads batches in a given order while earlier ones are in use. Reading and decoding run beside the GPU: sharp's on
 * threads of their own, the rest in the pauses in which a loop awaits it. A batch that cannot be loaded is told by
 * the `next` that asks for it, not earlier.
 */
export class BatchLoader {
  /** Milliseconds in which `next` waited for images, all in all. */
  waitedMs = 0
  readonly #batches: Iterator<readonly Sample[]>
  readonly #ahead: number
  readonly #maxBytes: number
  readonly #queue: Entry[] = []
  readonly #loading = new Set<Promise<unknown>>()
  #ready = 0
  #closed = false

  constructor(
    batches: Iterable<readonly Sample[]>,
    { ahead = 2, maxBytes = 256 * 2 ** 20 }: LoaderOptions = {},
  ) {
    this.#batches = batches[Symbol.iterator]()
    this.#ahead = ahead
    this.#maxBytes = maxBytes
    this.#fill()
  }

  /** The next batch, in order; undefined after the last one. Throws what one of its samples threw. */
  async next(): Promise<readonly SampleData[] | undefined> {
    const entry = this.#queue.shift() ?? this.#begin()
    if (!entry) return undefined
    this.#fill()
    const start = performance.now()
    try {
      return await entry.samples
    } finally {
      this.waitedMs += performance.now() - start
      this.#ready -= entry.bytes
      this.#fill()
    }
  }

  #fill(): void {
    while (this.#queue.length < this.#ahead && this.#ready < this.#maxBytes) {
      const entry = this.#begin()
      if (!entry) return
      this.#queue.push(entry)
    }
  }

  #begin(): Entry | undefined {
    if (this.#closed) return undefined
    const { value, done } = this.#batches.next()
    if (done) return undefined
    const loads = (value as readonly Sample[]).map((s) => s.load())
    const entry: Entry = { samples: Promise.all(loads), bytes: 0 }
    const settled: Promise<unknown> = entry.samples
      .then((samples) => {
        entry.bytes = samples.reduce((sum, s) => sum + bytesOf(s), 0)
        this.#ready += entry.bytes
      })
      // Told by `next`; the other samples of the batch are waited for all the same.
      .catch(() => Promise.allSettled(loads))
      .finally(() => this.#loading.delete(settled))
    this.#loading.add(settled)
    return entry
  }

  /** Begins no further batch, and waits for those that are being loaded. */
  async close(): Promise<void> {
    this.#closed = true
    await Promise.all(this.#loading)
  }
}
