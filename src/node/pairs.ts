import type { Dirent } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join, parse } from 'node:path'
import { DataError } from '../gpu/errors.ts'

/** The files that belong to one id. */
export interface Pair {
  key: string
  image?: string
  mask?: string
  instances?: string
}

const EXTENSION = /\.(png|jpe?g|tiff?|bmp|dcm)$/i
const ROLES: readonly [suffix: string, role: 'image' | 'mask' | 'instances'][] = [
  ['_image', 'image'],
  ['_mask', 'mask'],
  ['_segmentation', 'mask'],
  ['_instances', 'instances'],
]

/**
 * Lists a folder.
 *
 * @returns names of image files, of subfolders and of all files that are no image, each in numeric order; hidden
 *   ones are left out
 * @throws DataError when the folder is missing or is a file
 */
export async function listFolder(
  folder: string,
): Promise<{ files: string[]; folders: string[]; others: string[] }> {
  let entries: Dirent[]
  try {
    entries = await readdir(folder, { withFileTypes: true })
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new DataError(`${folder}: not a folder that can be read (${reason}); check the path`, { cause })
  }
  const order = new Intl.Collator('en', { numeric: true })
  const visible = entries.filter((entry) => !entry.name.startsWith('.'))
  const names = (kept: Dirent[]): string[] => kept.map((entry) => entry.name).sort(order.compare)
  const plain = visible.filter((entry) => !entry.isDirectory())
  return {
    files: names(plain.filter((entry) => EXTENSION.test(entry.name))),
    others: names(plain.filter((entry) => !EXTENSION.test(entry.name))),
    folders: names(visible.filter((entry) => entry.isDirectory())),
  }
}

/**
 * Pairs the files of one folder by name: `X.ext` or `X_image.ext` with `X_mask.ext` (or `X_segmentation`)
 * or `X_instances.ext`.
 *
 * @param folder where the files lie
 * @param files their names
 * @throws DataError when two files claim the same role of one id
 */
export function pairBySuffix(folder: string, files: readonly string[]): Pair[] {
  const pairs = new Map<string, Pair>()
  for (const file of files) {
    const { name } = parse(file)
    const [suffix, role] = ROLES.find(([end]) => name.endsWith(end)) ?? ['', 'image' as const]
    add(pairs, name.slice(0, name.length - suffix.length), role, join(folder, file))
  }
  return [...pairs.values()]
}

/**
 * Pairs the files of two folders by name: `images/X.ext` with `masks/X.ext`, whose name may end in `_mask`
 * or `_segmentation`.
 *
 * @throws DataError when two files claim one id
 */
export function pairByFolder(
  images: { folder: string; files: readonly string[] },
  masks: { folder: string; files: readonly string[] },
): Pair[] {
  const pairs = new Map<string, Pair>()
  for (const file of images.files) add(pairs, parse(file).name, 'image', join(images.folder, file))
  for (const file of masks.files) {
    const { name } = parse(file)
    const [suffix] = pairs.has(name) ? [''] : (ROLES.find(([end]) => name.endsWith(end)) ?? [''])
    add(pairs, name.slice(0, name.length - suffix.length), 'mask', join(masks.folder, file))
  }
  return [...pairs.values()]
}

function add(
  pairs: Map<string, Pair>,
  key: string,
  role: 'image' | 'mask' | 'instances',
  path: string,
): void {
  const pair = pairs.get(key) ?? { key }
  const other = pair[role]
  if (other) throw new DataError(`${other} and ${path} are both the ${role} of ${key}; remove or rename one`)
  pair[role] = path
  pairs.set(key, pair)
}
