import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { DataError } from '../gpu/errors.ts'
import { listFolder, type Pair, pairByFolder, pairBySuffix } from './pairs.ts'

/** How files lie in a folder; see `openDataset`. */
export type Layout = 'folders' | 'flat' | 'instances' | 'patients'

const EXPECTED = [
  'images/X.png with masks/X.png',
  'X.jpg with X_mask.png',
  'X_image.png with X_instances.png',
  'PATIENT/NNN_image.png with PATIENT/NNN_mask.png',
].join('; ')

/** A pair with its place in the data set. */
export interface Entry extends Pair {
  id: string
  group: string
  depth?: number
  /** One mask an object, instead of `mask` or `instances`. */
  objects?: string[]
  /** The mask is what is red in a picture in colour. */
  redMask?: boolean
  /** Part of the data set that can be chosen by itself, such as DermIS. */
  collection?: string
}

/**
 * Finds the pairs of a folder.
 *
 * @param wanted a layout, or `auto` to try them in the order of `Layout`
 * @returns also images and masks that lack the other
 * @throws DataError when there are none
 */
export async function findEntries(
  folder: string,
  wanted: Layout | 'auto',
): Promise<{ layout: Layout; entries: Entry[] }> {
  const { files, folders, others } = await listFolder(folder)
  const tries = (layout: Layout): boolean => wanted === 'auto' || wanted === layout
  const named = (name: RegExp): string | undefined => folders.find((f) => name.test(f))
  const imageFolder = named(/^images?$/i)
  const maskFolder = named(/^masks?$/i)
  if (tries('folders') && imageFolder && maskFolder) {
    const side = async (name: string) => ({
      folder: join(folder, name),
      files: (await listFolder(join(folder, name))).files,
    })
    const pairs = pairByFolder(await side(imageFolder), await side(maskFolder))
    if (pairs.some(isWhole)) return { layout: 'folders', entries: alone(pairs) }
  }
  const pairs = pairBySuffix(folder, files)
  for (const layout of ['flat', 'instances'] as const) {
    const truth = layout === 'flat' ? 'mask' : 'instances'
    if (tries(layout) && pairs.some((pair) => pair.image && pair[truth])) {
      return { layout, entries: alone(pairs) }
    }
  }
  if (tries('patients')) {
    const entries: Entry[] = []
    for (const patient of folders) {
      const slices = pairBySuffix(join(folder, patient), (await listFolder(join(folder, patient))).files)
      slices.forEach((slice, i) => {
        entries.push({ ...slice, id: `${patient}/${slice.key}`, group: patient, depth: i / slices.length })
      })
    }
    if (entries.some(isWhole)) return { layout: 'patients', entries }
  }
  const layout = wanted === 'auto' ? '' : ` in layout ${wanted}`
  throw new DataError(
    `${folder}: no pairs of image and mask${layout} among ${files.length} image files and ` +
      `${folders.length} subfolders; expected one of: ${EXPECTED}${await aboutScans(folder, folders, others)}`,
  )
}

/** Whether a file is a scan by its name; a DICOM file is an image like others. */
export const isScanName = (file: string): boolean => /\.(nii(\.gz)?|nrrd)$/i.test(file)

/** How scans have to be named, where a folder or its subfolders hold some. */
async function aboutScans(
  folder: string,
  folders: readonly string[],
  others: readonly string[],
): Promise<string> {
  const below = await Promise.all(
    folders.map(async (sub) => (await listFolder(join(folder, sub))).others.map((file) => join(sub, file))),
  )
  const scans = [...others, ...below.flat()].filter((file) => isScanName(file))
  if (scans.length === 0) return ''
  return (
    `. It holds ${scans.length} scans, such as ${scans[0]}: they are paired as volume-N.nii with segmentation-N.nii ` +
    '(N a number, .nii.gz as well; trained in the window of the liver, 0 to 200 HU), or as DN.nrrd with DN.seg.nrrd ' +
    '(of the aorta, 200 to 500 HU); name them so, or make links of these names'
  )
}

export function isWhole(pair: Pair & { readonly objects?: readonly string[] }): boolean {
  return pair.image !== undefined && (pair.mask ?? pair.instances ?? pair.objects) !== undefined
}

function alone(pairs: Pair[]): Entry[] {
  return pairs.map((pair) => ({ ...pair, id: pair.key, group: pair.key }))
}

/** @throws DataError when an image or a mask lacks the other, naming the first few */
export function refuseUnpaired(folder: string, entries: readonly Entry[]): void {
  const list = (lonely: readonly Entry[], which: (entry: Entry) => string | undefined): string =>
    lonely.slice(0, 5).map(which).join(', ') + (lonely.length > 5 ? `, and ${lonely.length - 5} more` : '')
  const unmasked = entries.filter((entry) => entry.image && !isWhole(entry))
  if (unmasked.length > 0) {
    const names = list(unmasked, (entry) => entry.image)
    throw new DataError(
      `${folder}: ${unmasked.length} images have no mask: ${names}; add it or remove the image`,
    )
  }
  const orphans = entries.filter((entry) => !entry.image)
  if (orphans.length > 0) {
    const names = list(orphans, (entry) => entry.mask ?? entry.instances ?? entry.objects?.[0])
    throw new DataError(
      `${folder}: ${orphans.length} masks have no image: ${names}; add it or remove the mask`,
    )
  }
}

/**
 * The images under a path, masks and label images left out: what `predict` works through.
 *
 * @param path an image file, or a folder of them
 * @returns paths in numeric order
 * @throws DataError when there is none
 */
export async function findImages(path: string): Promise<string[]> {
  const found = await stat(path).catch((cause: Error) => {
    throw new DataError(`${path}: no such file or folder can be read (${cause.message}); check the path`, {
      cause,
    })
  })
  if (found.isFile()) return [path]
  const { files } = await listFolder(path)
  const images = pairBySuffix(path, files).flatMap((pair) => pair.image ?? [])
  if (images.length === 0) throw new DataError(`${path}: no images in it; PNG, JPEG, TIFF and BMP are read`)
  return images
}
