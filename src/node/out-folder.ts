import { realpath, stat } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve, sep } from 'node:path'
import { DataError } from '../gpu/errors.ts'
import { findEntries, isScanName } from './layouts.ts'
import { listFolder } from './pairs.ts'

/** A folder of images that a run reads. */
interface DataFolder {
  readonly folder: string
  /** As `openDataset` tells it; left out where it is not known. */
  readonly layout?: string
}

/** Layouts whose images lie in places that a further subfolder does not change. */
const BY_NAME: readonly string[] = ['folders', 'flat', 'instances']

/** The path without links, of a folder that may not be there yet. */
async function realOf(path: string): Promise<string> {
  const whole = resolve(path)
  try {
    return await realpath(whole)
  } catch {
    const parent = dirname(whole)
    return parent === whole ? whole : join(await realOf(parent), basename(whole))
  }
}

/** Whether `inner` is `outer` or lies in it. */
const isIn = (inner: string, outer: string): boolean => {
  const way = relative(outer, inner)
  return way === '' || (way !== '..' && !way.startsWith(`..${sep}`) && resolve(way) !== way)
}

/** What makes a folder one of images, in words. */
async function imagesIn(folder: string): Promise<string | undefined> {
  const { files, others } = await listFolder(folder)
  const images = [...files, ...others.filter(isScanName)]
  if (images.length > 0) return `${images[0]}, ${images.length} in all`
  const found = await findEntries(folder, 'auto').catch(() => undefined)
  return found && `layout ${found.layout}, ${found.entries.length} in all`
}

/**
 * Refuses an output folder in which a run's files would lie among images: a data folder itself, one that holds a data
 * folder or other images, or one inside a data folder whose subfolders are taken for data. Nothing is made or changed.
 *
 * @throws DataError that says which
 */
export async function refuseDataFolder(out: string, data: readonly DataFolder[]): Promise<void> {
  const own = await realOf(out)
  for (const { folder, layout } of data) {
    const given = await realOf(folder)
    if (own === given)
      throw new DataError(
        `--out ${out} is the data folder itself: the run's files would lie among the images; choose another folder`,
      )
    if (isIn(given, own))
      throw new DataError(
        `--out ${out} holds the data folder ${folder}: the run's files would lie among the images; choose another folder`,
      )
    if (isIn(own, given) && !(layout !== undefined && BY_NAME.includes(layout)))
      throw new DataError(
        `--out ${out} lies in the data folder ${folder}, whose subfolders are taken for data${layout ? ` (layout ${layout})` : ''}; ` +
          'choose a folder outside of it',
      )
  }
  // What is a run already is known by its settings, see `RunFolder`.
  if (await stat(join(own, 'config.json')).catch(() => undefined)) return
  const there = await stat(own).catch(() => undefined)
  if (there && !there.isDirectory())
    throw new DataError(
      `--out ${out} is a file; name a folder for the run, which is made where it is missing`,
    )
  const images = there && (await imagesIn(own))
  if (images)
    throw new DataError(
      `--out ${out} holds images (${images}) and is no run; choose a new folder for the run`,
    )
}

/**
 * Refuses to write masks among the images that they are of, where they would be taken for the truth, or replace it.
 *
 * @param path what is predicted: a file, or a folder of them
 * @param masks files that will be written in `out`
 * @throws DataError that says which
 */
export async function refuseToReplace(path: string, out: string, masks: readonly string[]): Promise<void> {
  const info = await stat(path)
  const folder = info.isDirectory() ? path : dirname(resolve(path))
  if ((await realOf(out)) !== (await realOf(folder))) return
  if (info.isDirectory())
    throw new DataError(
      `--out ${out} is the folder of the images: their masks would be taken for the truth there; choose another folder`,
    )
  for (const mask of masks)
    if (await stat(join(out, mask)).catch(() => undefined))
      throw new DataError(
        `${join(out, mask)} lies beside its image already and may be its truth; choose another --out, or move it away`,
      )
}
