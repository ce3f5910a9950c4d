import { type Grid, gridDifferences } from '../../data/volume.ts'
import type { DataError } from '../../gpu/errors.ts'
import { readImageSize } from '../image.ts'
import { findEntries } from '../layouts.ts'
import { withoutRecords } from '../left-out.ts'
import { readVolumeGrid } from '../volume/header.ts'
import { recognise } from './index.ts'
import type { Found } from './known.ts'

/** What a folder holds, as far as can be told without decoding every pixel. */
export interface FolderCheck {
  /** Name of a data set of the thesis, or of a plain layout. */
  readonly layout: string
  readonly title: string
  readonly images: number
  /** Patients or scans; undefined where every image stands alone. */
  readonly groups: number | undefined
  /** Scans, for data sets that come as volumes. */
  readonly scans: number | undefined
  /** Images by size, most frequent first; of scans their slices, as stored, a count a scan. */
  readonly sizes: readonly { readonly width: number; readonly height: number; readonly count: number }[]
  readonly collections: Readonly<Record<string, number>>
  /** How many the whole data set has, as published. */
  readonly full: { readonly count: number; readonly of: 'images' | 'scans' | 'patients' } | undefined
  /** Of those, how many are not here: a part of a data set can be trained on all the same. */
  readonly missing: number
  /** A sentence for each kind of file that `openDataset` passes over. */
  readonly leftOut: readonly string[]
  /** One sentence for each thing that lacks its other half or cannot be used: `openDataset` refuses such a folder. */
  readonly problems: readonly string[]
}

/**
 * Looks through a folder: what it is, how much there is, what is missing. Nothing is changed.
 *
 * @throws DataError when the folder cannot be read or holds no images
 */
export async function checkFolder(folder: string): Promise<FolderCheck> {
  const known = await recognise(folder)
  if (!known) {
    const { layout, entries } = await findEntries(folder, 'auto')
    return describe(layout, 'plain images and masks', { entries })
  }
  const { dataset, found } = known
  const { name, title, full, counts } = dataset
  return describe(name, title, found, { count: full, of: counts })
}

/** Width and height of a scan's slices, as stored. */
const slicesOf = ({ stored, shape }: Grid): string =>
  (stored?.shape ?? [shape[2], shape[1]]).slice(0, 2).join('×')

async function describe(
  layout: string,
  title: string,
  found: Found,
  full?: FolderCheck['full'],
): Promise<FolderCheck> {
  const { entries, leftOut } = await withoutRecords(found.entries)
  const problems: string[] = []
  const sizes = new Map<string, number>()
  let images = 0
  for (const entry of entries) {
    const truth = entry.instances ?? entry.mask ?? entry.objects?.[0]
    if (!entry.image || !truth) {
      problems.push(entry.image ? `${entry.image} has no mask` : `${truth} has no image`)
      continue
    }
    if (found.scans) continue
    try {
      const [size, other] = [await readImageSize(entry.image), await readImageSize(truth)]
      const text = `${size.width}×${size.height}`
      sizes.set(text, (sizes.get(text) ?? 0) + 1)
      images++
      if (other.width !== size.width || other.height !== size.height)
        problems.push(`${truth} is ${other.width}×${other.height} px, its image ${text}`)
    } catch (error) {
      problems.push((error as DataError).message)
    }
  }
  for (const { image, mask } of found.scans ?? []) {
    try {
      const [grid, other] = [await readVolumeGrid(image), await readVolumeGrid(mask)]
      const text = slicesOf(grid)
      sizes.set(text, (sizes.get(text) ?? 0) + 1)
      const differences = gridDifferences(grid, other)
      if (differences.length > 0)
        problems.push(`${mask} lies on another grid than its image ${image}: ${differences.join('; ')}`)
    } catch (error) {
      problems.push((error as DataError).message)
    }
  }
  const groups = new Set(entries.map((e) => e.group)).size
  const scans = found.scans?.length
  const have = full?.of === 'scans' ? (scans ?? 0) : full?.of === 'patients' ? groups : images
  const collections: Record<string, number> = {}
  for (const { collection } of entries)
    if (collection) collections[collection] = (collections[collection] ?? 0) + 1
  return {
    layout,
    title,
    images,
    groups: groups < images ? groups : undefined,
    scans,
    sizes: [...sizes]
      .map(([text, count]) => {
        const [width, height] = text.split('×').map(Number) as [number, number]
        return { width, height, count }
      })
      .sort((a, b) => b.count - a.count || a.width - b.width),
    collections,
    full,
    missing: full ? Math.max(0, full.count - have) : 0,
    leftOut: [...(found.leftOut ?? []), ...leftOut],
    problems,
  }
}
