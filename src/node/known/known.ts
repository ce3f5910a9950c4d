import { join } from 'node:path'
import type { Entry } from '../layouts.ts'
import { listFolder } from '../pairs.ts'

/** Names of the data sets of the thesis (section 5 of its page), as distributed. */
export type KnownName =
  | 'cvc-clinicdb'
  | 'isic'
  | 'lits'
  | 'cardiac-fat'
  | 'avt'
  | 'dsb-2018'
  | 'kvasir-seg'
  | 'waterloo'

/** What a recogniser found in a folder. */
export interface Found {
  readonly entries: readonly Entry[]
  /** Scans to be cut into slices instead; see `slices.ts`. */
  readonly scans?: readonly Scan[]
  /** A sentence for each part that lacks its truth and was passed over. */
  readonly leftOut?: readonly string[]
}

/** One scan with its segmentation; slices without the object are left out. */
export interface Scan {
  readonly id: string
  readonly image: string
  readonly mask: string
}

/** A data set that is told by how its archive lies on the disk. */
export interface KnownDataset {
  readonly name: KnownName
  readonly title: string
  /** What the full set holds, as published: images, or scans. */
  readonly full: number
  readonly counts: 'images' | 'scans' | 'patients'
  /** undefined where the folder is something else. */
  find(folder: string): Promise<Found | undefined>
}

/** Folders whose name fits, in `folder` and down to `depth` below, in order. */
export async function foldersNamed(folder: string, name: RegExp, depth: number): Promise<string[]> {
  const { folders } = await listFolder(folder)
  const found: string[] = []
  for (const sub of folders) {
    const path = join(folder, sub)
    if (name.test(sub)) found.push(path)
    else if (depth > 0) found.push(...(await foldersNamed(path, name, depth - 1)))
  }
  return found
}
