import { VERSION } from '../version.ts'

/** Choices that work was done with, by key (op and shape). They hold for one adapter. */
export interface TunerTable {
  readonly adapter: string
  readonly choices: Readonly<Record<string, string>>
}

/** A measured choice, and a hash of the candidates and kernels that it was made between. */
export interface StoredChoice {
  readonly variant: string
  readonly kernels: string
}

/** Where measured choices outlive the process: a file in Node, IndexedDB in a browser. */
export interface ChoiceStore {
  /** Whatever lies there for the adapter; nothing is believed of it before `storedChoices` has looked at it. */
  read(adapter: string): Promise<unknown>
  /** Adds choices to those that lie there. */
  write(adapter: string, choices: ReadonlyMap<string, StoredChoice>): Promise<void>
}

const FORMAT = 1

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/**
 * The choices in what a store gave. None of it where it is no such record, of another format, another version
 * of fovea, or another adapter or driver; an entry that is damaged is left out by itself.
 */
export function storedChoices(value: unknown, adapter: string): Map<string, StoredChoice> {
  const found = new Map<string, StoredChoice>()
  if (!isRecord(value)) return found
  const { format, fovea, choices } = value
  if (format !== FORMAT || fovea !== VERSION || value.adapter !== adapter || !isRecord(choices)) return found
  for (const [key, choice] of Object.entries(choices)) {
    if (!isRecord(choice)) continue
    const { variant, kernels } = choice
    if (typeof variant === 'string' && typeof kernels === 'string') found.set(key, { variant, kernels })
  }
  return found
}

/** What a store keeps: what lay there, if it was of this version and adapter, and the new choices over it. */
export function mergedChoices(
  there: unknown,
  adapter: string,
  choices: ReadonlyMap<string, StoredChoice>,
): object {
  const all = new Map([...storedChoices(there, adapter), ...choices])
  const sorted = [...all].sort(([a], [b]) => (a < b ? -1 : 1))
  return { format: FORMAT, fovea: VERSION, adapter, choices: Object.fromEntries(sorted) }
}
