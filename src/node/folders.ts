import { basename, resolve } from 'node:path'
import {
  type Dataset,
  type PrepareOptions,
  prepareSample,
  type RawSample,
  type Sample,
  sampleCache,
} from '../data/dataset.ts'
import type { Normalization, NormalizationName } from '../data/normalize.ts'
import { DataError } from '../gpu/errors.ts'
import { readImage, readImageSize, readMask } from './image.ts'
import { type Entry, findEntries, type Layout } from './layouts.ts'

/** Options of `openDataset`. */
export interface OpenOptions {
  /** `auto` (default) tries folders, then flat or instances, then patients. */
  layout?: Layout | 'auto'
  /** Size of every loaded image, px; a number is a square. Default: each keeps its own. */
  size?: number | readonly [height: number, width: number]
  /** 1 (grey) or 3 (RGB). Default: 1 when every image of the folder is grey, else 3. */
  channels?: 1 | 3
  /** Default: `windowed` ([0, 1] − 0.1) for patients, `rgb` ([−0.5, 0.5]) for the rest. */
  normalize?: NormalizationName | Normalization
  /** Appends the slice's depth as a channel (patients only). */
  depthChannel?: boolean
  /** Memory for decoded samples, bytes; default 512 MiB. 0 decodes anew each time. */
  cacheBytes?: number
}

/** How images of a layout are normalised where nothing is said. */
export const defaultNormalization = (layout: string): NormalizationName =>
  layout === 'patients' ? 'windowed' : 'rgb'

/**
 * Opens a folder of images and masks (PNG, JPEG, TIFF, BMP). Headers are read and checked at once, pixels
 * when a sample is loaded. Layouts:
 * - `folders`: `images/X.ext` and `masks/X.ext` (or `X_mask.ext`)
 * - `flat`: `X.ext` or `X_image.ext` with `X_mask.ext` (or `X_segmentation.ext`) in one folder
 * - `instances`: the same with `X_instances.ext`, a label image: 0 background, 1…n objects
 * - `patients`: a subfolder a patient, each flat; slices in numeric order, depth = index / number of slices
 *
 * @param folder path
 * @throws DataError when there are no pairs (says what was expected), an image or a mask lacks the other,
 *   a mask has another size than its image (names both files and sizes), or a file is damaged
 */
export async function openDataset(folder: string, options: OpenOptions = {}): Promise<Dataset> {
  const { layout, entries } = await findEntries(folder, options.layout ?? 'auto')
  if (options.depthChannel && layout !== 'patients') {
    throw new DataError(`${folder}: depthChannel needs slices by patient, this folder's layout is ${layout}`)
  }
  const sizes = await checkSizes(entries)
  const channels = options.channels ?? (sizes.every((size) => size.channels === 1) ? 1 : 3)
  const size = pairOf(options.size)
  const prepare: PrepareOptions = {
    channels,
    size,
    normalize: options.normalize ?? defaultNormalization(layout),
  }
  const cache = sampleCache(options.cacheBytes ?? 512 * 2 ** 20)
  const samples = entries.map((entry, i): Sample => {
    const depth = options.depthChannel ? entry.depth : undefined
    return {
      id: entry.id,
      group: entry.group,
      imagePath: entry.image!,
      ...(entry.mask ? { maskPath: entry.mask } : {}),
      ...(entry.instances ? { instancesPath: entry.instances } : {}),
      ...(entry.depth === undefined ? {} : { depth: entry.depth }),
      originalSize: [sizes[i]!.height, sizes[i]!.width],
      load: () => cache(entry.id, async () => prepareSample(await readSample(entry), { ...prepare, depth })),
    }
  })
  const loaded = channels + (options.depthChannel ? 1 : 0)
  return { name: basename(resolve(folder)), layout, channels: loaded, samples, ...(size ? { size } : {}) }
}

async function checkSizes(entries: readonly Entry[]) {
  const sizes: { height: number; width: number; channels: number }[] = []
  for (const entry of entries) {
    const truth = entry.instances ?? entry.mask!
    const [size, other] = await Promise.all([readImageSize(entry.image!), readImageSize(truth)])
    refuseOtherSize(entry, size, other)
    sizes.push(size)
  }
  return sizes
}

function refuseOtherSize(
  entry: Entry,
  image: { height: number; width: number },
  truth: { height: number; width: number },
): void {
  if (image.height === truth.height && image.width === truth.width) return
  throw new DataError(
    `${entry.instances ?? entry.mask} is ${truth.width}×${truth.height} px, its image ${entry.image} is ` +
      `${image.width}×${image.height} px (width×height); they must match: remake the mask, or remove both`,
  )
}

async function readSample(entry: Entry): Promise<RawSample> {
  const image = await readImage(entry.image!)
  const size = { height: image.shape[1], width: image.shape[2] }
  if (entry.instances) {
    const labels = await readImage(entry.instances)
    refuseOtherSize(entry, size, { height: labels.shape[1], width: labels.shape[2] })
    if (labels.shape[0] !== 1) throw new DataError(`${entry.instances}: a label image has one grey channel`)
    return { image, instances: Int32Array.from(labels.data) }
  }
  const truth = await readMask(entry.mask!)
  refuseOtherSize(entry, size, truth)
  return { image, mask: truth.mask }
}

function pairOf(size: OpenOptions['size']): readonly [number, number] | undefined {
  if (size === undefined) return undefined
  const [height, width] = typeof size === 'number' ? [size, size] : size
  if (!Number.isInteger(height) || !Number.isInteger(width) || height < 1 || width < 1) {
    throw new DataError(`openDataset: size ${height}×${width} must be whole pixels, at least 1`)
  }
  return [height, width]
}
