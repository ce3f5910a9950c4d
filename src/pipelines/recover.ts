import type { Device } from '../autograd/device.ts'

export interface RecoveryOptions {
  /** Losses that are survived in all; default 3. */
  readonly retries?: number
  /** Told of each loss, before a new device is opened. */
  readonly onLost?: (error: Error, retriesLeft: number) => void
}

/**
 * A device that is opened anew when it was lost. Work is given as a function of the device that begins from
 * what is saved (a run folder), so that it can run again; what it kept on the lost device is gone.
 */
export class RecoveringDevice {
  #device: Device | undefined
  #left: number

  constructor(
    private readonly open: () => Promise<Device>,
    private readonly options: RecoveryOptions = {},
  ) {
    this.#left = options.retries ?? 3
  }

  /** The open device; opens one if there is none, or the last was lost. */
  async get(): Promise<Device> {
    if (!this.#device || this.#device.lost) this.#device = await this.open()
    return this.#device
  }

  /** Runs `work`, again on a new device each time one was lost. Throws what it throws else, or the last loss. */
  async run<R>(work: (device: Device) => Promise<R>): Promise<R> {
    for (;;) {
      const device = await this.get()
      try {
        return await work(device)
      } catch (error) {
        if (!device.lost || this.#left === 0) throw error
        this.#left--
        this.options.onLost?.(error as Error, this.#left)
      }
    }
  }

  /** Frees the device. */
  close(): void {
    if (this.#device && !this.#device.lost) this.#device.destroy()
    this.#device = undefined
  }
}
