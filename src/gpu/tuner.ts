import { FoveaError } from './errors.ts'
import type { Gpu } from './gpu.ts'

/** What `Tuner.export` writes: choices that hold for one adapter. */
export interface TunerTable {
  readonly adapter: string
  /** Name of the chosen variant by key (op and shape). */
  readonly choices: Readonly<Record<string, string>>
}

/**
 * Which of several kernels that compute the same a device takes, by op and shape. Empty at first: then the
 * first candidate is taken, so that the same program computes the same bits. A choice is made by
 * measurement (`tuneConv2d`) or comes from a file (`import`).
 */
export class Tuner {
  readonly #choices = new Map<string, string>()

  constructor(private readonly adapter: string) {}

  /** The variant chosen for `key`; the first where nothing was chosen or the choice is not among them. */
  choose<T extends { readonly name: string }>(key: string, candidates: readonly T[]): T {
    const name = this.#choices.size > 0 ? this.#choices.get(key) : undefined
    const chosen = name === undefined ? undefined : candidates.find((c) => c.name === name)
    const taken = chosen ?? candidates[0]
    if (!taken) throw new FoveaError(`tuner: no candidate for ${key}`)
    return taken
  }

  set(key: string, variant: string): void {
    this.#choices.set(key, variant)
  }

  /** Forgets every choice. */
  clear(): void {
    this.#choices.clear()
  }

  export(): TunerTable {
    const sorted = [...this.#choices].sort(([a], [b]) => (a < b ? -1 : 1))
    return { adapter: this.adapter, choices: Object.fromEntries(sorted) }
  }

  /** Takes over choices measured before. Those of another adapter are left alone; tells whether they were taken. */
  import(table: TunerTable): boolean {
    if (table.adapter !== this.adapter) return false
    for (const [key, variant] of Object.entries(table.choices)) this.#choices.set(key, variant)
    return true
  }
}

const tuners = new WeakMap<Gpu, Tuner>()

/** The tuner of a device. */
export function tunerOf(device: Gpu): Tuner {
  let tuner = tuners.get(device)
  if (!tuner) {
    tuner = new Tuner(device.adapter.name)
    tuners.set(device, tuner)
  }
  return tuner
}
