import { FoveaError } from '../../gpu/errors.ts'

/** What a scheduler changes. */
interface HasLearningRate {
  lr: number
}

export interface PlateauOptions {
  readonly mode?: 'min' | 'max'
  readonly factor?: number
  readonly patience?: number
  readonly threshold?: number
  readonly thresholdMode?: 'rel' | 'abs'
  readonly cooldown?: number
  readonly minLr?: number
  readonly eps?: number
}

/**
 * Multiplies the learning rate by `factor` when the watched value has not improved for more than `patience`
 * epochs (PyTorch's ReduceLROnPlateau, same defaults).
 */
export class ReduceLROnPlateau {
  #best: number
  #bad = 0
  #cooling = 0
  readonly #o: Required<PlateauOptions>

  constructor(
    private readonly optimizer: HasLearningRate,
    options: PlateauOptions = {},
  ) {
    this.#o = {
      mode: 'min',
      factor: 0.1,
      patience: 10,
      threshold: 1e-4,
      thresholdMode: 'rel',
      cooldown: 0,
      minLr: 0,
      eps: 1e-8,
      ...options,
    }
    if (!(this.#o.factor < 1))
      throw new FoveaError(`ReduceLROnPlateau: factor must be below 1, got ${this.#o.factor}`)
    this.#best = this.#o.mode === 'min' ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY
  }

  /** To be called once an epoch with the watched value. */
  step(value: number): void {
    const { factor, patience, cooldown, minLr, eps } = this.#o
    if (this.#better(value)) {
      this.#best = value
      this.#bad = 0
    } else this.#bad++
    if (this.#cooling > 0) {
      this.#cooling--
      this.#bad = 0
    }
    if (this.#bad > patience) {
      const next = Math.max(this.optimizer.lr * factor, minLr)
      if (this.optimizer.lr - next > eps) this.optimizer.lr = next
      this.#cooling = cooldown
      this.#bad = 0
    }
  }

  #better(value: number): boolean {
    const { mode, threshold, thresholdMode } = this.#o
    const sign = mode === 'min' ? 1 : -1
    const bar = thresholdMode === 'rel' ? this.#best * (1 - sign * threshold) : this.#best - sign * threshold
    return mode === 'min' ? value < bar : value > bar
  }

  state(): Record<string, number> {
    return { best: this.#best, bad: this.#bad, cooling: this.#cooling }
  }

  restore(state: Readonly<Record<string, number>>): void {
    // JSON has no infinity: a missing best means none yet.
    this.#best = state.best ?? this.#best
    this.#bad = state.bad ?? 0
    this.#cooling = state.cooling ?? 0
  }
}

/** Learning rate as a function of the epoch, 0, 1, 2 …; `base` is the optimiser's rate at construction. */
export type Schedule = (epoch: number, base: number) => number

/** Sets the learning rate by a schedule. `step()` moves to the next epoch, as PyTorch's schedulers do. */
export class LRScheduler {
  #epoch = 0
  readonly #base: number

  constructor(
    private readonly optimizer: HasLearningRate,
    private readonly schedule: Schedule,
  ) {
    this.#base = optimizer.lr
    optimizer.lr = schedule(0, this.#base)
  }

  step(): void {
    this.#epoch++
    this.optimizer.lr = this.schedule(this.#epoch, this.#base)
  }

  state(): Record<string, number> {
    return { epoch: this.#epoch }
  }

  restore(state: Readonly<Record<string, number>>): void {
    this.#epoch = state.epoch ?? 0
    this.optimizer.lr = this.schedule(this.#epoch, this.#base)
  }
}

/** `base · gamma^⌊epoch/stepSize⌋` */
export const stepSchedule =
  ({ stepSize, gamma = 0.1 }: { stepSize: number; gamma?: number }): Schedule =>
  (epoch, base) =>
    base * gamma ** Math.floor(epoch / stepSize)

/** Half a cosine from `base` to `minLr` over `epochs` (Loshchilov and Hutter, 2017). */
export const cosineSchedule =
  ({ epochs, minLr = 0 }: { epochs: number; minLr?: number }): Schedule =>
  (epoch, base) =>
    minLr + ((base - minLr) * (1 + Math.cos((Math.PI * Math.min(epoch, epochs)) / epochs))) / 2

/** `base · (1 − epoch/epochs)^power` */
export const polynomialSchedule =
  ({ epochs, power = 1 }: { epochs: number; power?: number }): Schedule =>
  (epoch, base) =>
    base * (1 - Math.min(epoch, epochs) / epochs) ** power

/** Grows linearly from `startFactor · base` over `epochs`, then follows `after` (counted from there). */
export const warmUp =
  (
    { epochs, startFactor = 1 / 3 }: { epochs: number; startFactor?: number },
    after: Schedule = (_, base) => base,
  ): Schedule =>
  (epoch, base) =>
    epoch < epochs ? base * (startFactor + ((1 - startFactor) * epoch) / epochs) : after(epoch - epochs, base)
