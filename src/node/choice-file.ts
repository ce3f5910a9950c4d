import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type ChoiceStore, mergedChoices, type StoredChoice, storedChoices } from '../gpu/tuner-table.ts'
import { writeFileAtomic } from './atomic.ts'
import { cacheFolder } from './cache.ts'

/** Attempts to find one's own choices in the file beside those of processes that write it at the same time. */
const ATTEMPTS = 5

/**
 * Measured choices in fovea's cache folder, a JSON file an adapter. Any number of processes may read and write
 * at once: a file is replaced as a whole, and who finds after writing that another process has replaced his
 * file with one that lacks his choices adds them again.
 */
export class ChoiceFile implements ChoiceStore {
  constructor(private readonly folder = join(cacheFolder(), 'tuner')) {}

  /** The file of an adapter. */
  pathOf(adapter: string): string {
    const name = createHash('sha256').update(adapter).digest('hex').slice(0, 16)
    return join(this.folder, `${name}.json`)
  }

  /** Undefined where there is no file or it is no JSON. */
  async read(adapter: string): Promise<unknown> {
    try {
      return JSON.parse(await readFile(this.pathOf(adapter), 'utf8')) as unknown
    } catch {
      return undefined
    }
  }

  async write(adapter: string, choices: ReadonlyMap<string, StoredChoice>): Promise<void> {
    for (let i = 0; i < ATTEMPTS; i++) {
      const merged = mergedChoices(await this.read(adapter), adapter, choices)
      await writeFileAtomic(this.pathOf(adapter), `${JSON.stringify(merged, null, 1)}\n`)
      const there = storedChoices(await this.read(adapter), adapter)
      if ([...choices.keys()].every((key) => there.has(key))) return
    }
  }
}
