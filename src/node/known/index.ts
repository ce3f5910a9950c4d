import { knownImages } from './images.ts'
import type { Found, KnownDataset } from './known.ts'
import { knownScans } from './scans.ts'

export const knownDatasets: readonly KnownDataset[] = [...knownScans, ...knownImages]

/** The data set of the thesis that a folder holds, as distributed; undefined for any other folder. */
export async function recognise(
  folder: string,
  wanted?: string,
): Promise<{ dataset: KnownDataset; found: Found } | undefined> {
  for (const dataset of knownDatasets) {
    if (wanted !== undefined && dataset.name !== wanted) continue
    const found = await dataset.find(folder)
    if (found) return { dataset, found }
  }
  return undefined
}
