import { createHash } from 'node:crypto'
import { mkdir, readFile, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { type ChoiceStore, mergedChoices, type StoredChoice } from '../gpu/tuner-table.ts'
import { makeFolder, writeFileAtomic } from './atomic.ts'
import { cacheFolder } from './cache.ts'

/** How long a writer waits for others, how often it looks, and after how long another's lock is taken for left behind; ms. */
const PATIENCE = 3000
const LOOK = 10
const STALE = 2000

/**
 * Measured choices in fovea's cache folder, a JSON file an adapter. Any number of processes may read and write
 * at once: a file is replaced as a whole, and who reads it to add his choices holds a lock until they are in it. A lock
 * that cannot be had is done without: what is lost then is measured again.
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
    const unlock = await lock(`${this.pathOf(adapter)}.lock`)
    try {
      const merged = mergedChoices(await this.read(adapter), adapter, choices)
      await writeFileAtomic(this.pathOf(adapter), `${JSON.stringify(merged, null, 1)}\n`)
    } finally {
      await unlock()
    }
  }
}

/** Takes a lock, a folder that only one can make, and gives what lets go of it. */
async function lock(path: string): Promise<() => Promise<void>> {
  await makeFolder(dirname(path)).catch(() => undefined)
  const until = performance.now() + PATIENCE
  while (performance.now() < until) {
    try {
      await mkdir(path)
      return () => rm(path, { recursive: true, force: true }).catch(() => undefined)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') break
    }
    const since = await stat(path).then(
      (s) => s.mtimeMs,
      () => Date.now(),
    )
    if (Date.now() - since > STALE) await rm(path, { recursive: true, force: true }).catch(() => undefined)
    await setTimeout(LOOK)
  }
  return async () => undefined
}
