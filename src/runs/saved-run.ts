import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DataError } from '../gpu/errors.ts'
import type { DataEntry } from './plan.ts'
import type { Settings } from './settings.ts'

/** What config.json of a run says. */
export interface SavedRun {
  readonly data: readonly DataEntry[]
  readonly settings: Settings
}

/** Reads a run's config.json. Throws a DataError that names the file. */
export async function readRun(folder: string): Promise<SavedRun> {
  const file = join(folder, 'config.json')
  let saved: Partial<SavedRun> & { fovea?: number }
  try {
    saved = JSON.parse(await readFile(file, 'utf8')) as typeof saved
  } catch (cause) {
    throw new DataError(
      `${file}: cannot be read (${(cause as Error).message}); --run wants the --out folder of fovea train`,
      { cause },
    )
  }
  if (saved.fovea !== 1 || !Array.isArray(saved.data) || !saved.settings)
    throw new DataError(
      `${file}: is no run of this version of fovea; --run wants the --out folder of fovea train`,
    )
  return saved as SavedRun
}

/** The data set of a run that is meant: the named one, or the only one. */
export function entryNamed(run: SavedRun, folder: string, name: string | undefined): DataEntry {
  const names = run.data.map((d) => d.name).join(', ')
  if (name === undefined && run.data.length > 1)
    throw new DataError(`${folder} holds several data sets: choose one by --dataset, ${names}`)
  const entry = name === undefined ? run.data[0] : run.data.find((d) => d.name === name)
  if (!entry) throw new DataError(`${folder} has no data set ${name}; it has ${names}`)
  return entry
}
