import { FoveaError } from './errors.ts'
import type { Gpu } from './gpu.ts'
import type { Kernel } from './kernel.ts'
import type { ChoiceStore, StoredChoice, TunerTable } from './tuner-table.ts'

/** One of several ways to compute the same. */
export interface Variant {
  readonly name: string
}

/** What an op asks the tuner. */
export interface Question<V extends Variant> {
  /** Op and shapes: what a choice is remembered under. */
  readonly key: string
  /** All compute the same; the first is taken where nothing is known. */
  readonly candidates: readonly V[]
  /** The kernels of a candidate: a choice that was made between other texts is void. */
  kernelsOf(candidate: V): readonly Kernel[]
  /** Makes buffers like those of the question, to run candidates on. */
  rehearse(): Rehearsal<V>
}

export interface Rehearsal<V extends Variant> {
  /** Launches a candidate once. */
  run(candidate: V): void
  dispose(): void
}

/**
 * Where a device takes its choices of kernels from.
 *
 * - `'off'`: each plan's first candidate.
 * - `'defaults'`: choices that fovea ships for adapters it was measured on, else the first candidate.
 * - `'cached'`: also what was measured on this machine before.
 * - `'measure'`: also measures what is still unknown, when a compiled step is prepared, and keeps it.
 *
 * With another variant sums run in another order: results differ in their last bits. The first two depend on
 * nothing but fovea's version and the adapter; the others on what was measured on this machine.
 */
export type TuneMode = 'off' | 'defaults' | 'cached' | 'measure'

export const TUNE_MODES: readonly TuneMode[] = ['off', 'defaults', 'cached', 'measure']

// biome-ignore lint/suspicious/noExplicitAny: candidates of any op.
type AnyQuestion = Question<any>

/** FNV-1a, 32 bits. */
function hash(texts: readonly string[]): string {
  let h = 0x811c9dc5
  for (const text of texts) {
    for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
    h = Math.imul(h ^ 0x1f, 0x01000193)
  }
  return (h >>> 0).toString(16).padStart(8, '0')
}

const kernelHashes = new WeakMap<Kernel, string>()

function hashOf(kernel: Kernel): string {
  const known = kernelHashes.get(kernel) ?? hash([kernel.source])
  kernelHashes.set(kernel, known)
  return known
}

/** Which of several kernels that compute the same a device takes, by op and shape. */
export class Tuner {
  mode: TuneMode = 'defaults'
  /** Set for good: by `set`, by `import`, by a checkpoint. */
  readonly #pinned = new Map<string, string>()
  /** Measured here, in this process or before. */
  readonly #measured = new Map<string, StoredChoice>()
  #defaults: ReadonlyMap<string, string> = new Map()
  readonly #used = new Map<string, string>()
  /** Questions without a measured answer. */
  readonly #open = new Map<string, AnyQuestion>()
  #recording = false
  #store: ChoiceStore | undefined

  constructor(
    /** The adapter with its driver. */
    readonly adapter: string,
  ) {}

  /** Takes what fovea ships for adapters of such a name, by a part of it. */
  ship(tables: Readonly<Record<string, Readonly<Record<string, string>>>>): void {
    const known = Object.entries(tables).find(([name]) => this.adapter.toLowerCase().includes(name))
    this.#defaults = new Map(Object.entries(known?.[1] ?? {}))
  }

  /** Sets where choices come from and are kept. What is stored for another adapter or version is left alone. */
  async attach(mode: TuneMode, choices: () => ChoiceStore | Promise<ChoiceStore>): Promise<void> {
    this.mode = mode
    if (mode !== 'cached' && mode !== 'measure') return
    try {
      this.#store = await choices()
      const { storedChoices } = await import('./tuner-table.ts')
      const stored = storedChoices(await this.#store.read(this.adapter), this.adapter)
      for (const [key, choice] of stored) this.#measured.set(key, choice)
    } catch {
      // What cannot be read is as if nothing had been measured.
    }
  }

  /** The variant for a question; its first candidate where nothing is known. */
  choose<V extends Variant>(question: Question<V>): V {
    const { key, candidates } = question
    const [first] = candidates
    if (!first) throw new FoveaError(`tuner: no candidate for ${key}`)
    if (candidates.length === 1) return first
    const chosen = this.#answer(question) ?? first
    this.#used.set(key, chosen.name)
    return chosen
  }

  #answer<V extends Variant>(question: Question<V>): V | undefined {
    const { key, candidates } = question
    const named = (name: string | undefined): V | undefined =>
      name === undefined ? undefined : candidates.find((c) => c.name === name)
    const pinned = named(this.#pinned.get(key))
    if (pinned) return pinned
    const measured = this.#measured.get(key)
    if (measured && measured.kernels === fingerprint(question)) {
      const found = named(measured.variant)
      if (found) return found
    }
    if (this.#recording || this.mode === 'measure') this.#open.set(key, question)
    return this.mode === 'off' ? undefined : named(this.#defaults.get(key))
  }

  /** Questions that were asked and that nobody has measured. */
  get open(): readonly AnyQuestion[] {
    return [...this.#open.values()]
  }

  /** Notes the questions that are asked while `fn` runs, also where the mode does not measure. */
  async record(fn: () => unknown): Promise<void> {
    this.#recording = true
    try {
      await fn()
    } finally {
      this.#recording = false
    }
  }

  /** Takes a measured answer; undefined where it could not be had. */
  settle<V extends Variant>(question: Question<V>, variant: string | undefined): void {
    this.#open.delete(question.key)
    if (variant !== undefined) this.#measured.set(question.key, { variant, kernels: fingerprint(question) })
  }

  /** Writes what was measured to where the device keeps it. False if there is no such place or it refused. */
  async save(): Promise<boolean> {
    if (!this.#store || this.#measured.size === 0) return false
    try {
      await this.#store.write(this.adapter, this.#measured)
      return true
    } catch {
      return false
    }
  }

  /** Pins one choice: it goes before all others. */
  set(key: string, variant: string): void {
    this.#pinned.set(key, variant)
  }

  /** Forgets every choice, but none of those that are stored. */
  clear(): void {
    for (const map of [this.#pinned, this.#measured, this.#used, this.#open]) map.clear()
  }

  /** The choices that this device's work was done with so far. A checkpoint holds them. */
  export(): TunerTable {
    const sorted = [...this.#used].sort(([a], [b]) => (a < b ? -1 : 1))
    return { adapter: this.adapter, choices: Object.fromEntries(sorted) }
  }

  /** Pins the choices of a table. Those of another adapter are left alone; tells whether they were taken. */
  import(table: TunerTable): boolean {
    if (table.adapter !== this.adapter) return false
    for (const [key, variant] of Object.entries(table.choices))
      if (typeof variant === 'string') this.#pinned.set(key, variant)
    return true
  }
}

/** Names of the candidates and text of their kernels. */
function fingerprint<V extends Variant>({ candidates, kernelsOf }: Question<V>): string {
  return hash(candidates.flatMap((c) => [c.name, ...kernelsOf(c).map(hashOf)]))
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
