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
import { readImage, readImageSize, readMask, readRedMask } from './image.ts'
import { recognise } from './known/index.ts'
import type { Found, KnownName, Scan } from './known/known.ts'
import { cutScan } from './known/slices.ts'
import { type Entry, findEntries, type Layout, refuseUnpaired } from './layouts.ts'
import { withoutRecords } from './left-out.ts'

/** Options of `openDataset`. */
export interface OpenOptions {
  /** `auto` (default) tries the data sets of the thesis, then folders, flat or instances, patients. */
  layout?: Layout | KnownName | 'auto'
  /** Part of a data set that has parts: `dermis` or `dermquest`. */
  collection?: string
  /** Size of every loaded image, px; a number is a square. Default: each keeps its own. */
  size?: number | readonly [height: number, width: number]
  /** 1 (grey) or 3 (RGB). Default: 1 when every image of the folder is grey, else 3. */
  channels?: 1 | 3
  /** Default: `windowed` ([0, 1] − 0.1) for patients, `rgb` ([−0.5, 0.5]) for the rest. */
  normalize?: NormalizationName | Normalization
  /** 'fat': samples tell which pixels are fat: −200…−30 HU in scans, above 0 in slices that were windowed to it. */
  range?: 'fat'
  /** Appends the slice's depth as a channel (patients only). */
  depthChannel?: boolean
  /** Memory for decoded samples, bytes; default 512 MiB. 0 decodes anew each time. */
  cacheBytes?: number
  /** Told of each scan before it is cut into slices, which takes seconds a scan, the first time. */
  onScan?: (scan: { readonly id: string; readonly index: number; readonly scans: number }) => void
}

const NORMALIZATION: Readonly<Record<string, NormalizationName>> = {
  patients: 'windowed',
  'cardiac-fat': 'windowed',
  lits: 'liver',
  avt: 'aorta',
}

/** Stored values of fat: in HU, and in 8-bit slices whose window is the fat range, where 0 is outside of it. */
export const FAT = { hu: [-200, -30], windowed: [Number.MIN_VALUE, Number.POSITIVE_INFINITY] } as const

/** How images of a layout are normalised where nothing is said. */
export const defaultNormalization = (layout: string): NormalizationName => NORMALIZATION[layout] ?? 'rgb'

/**
 * Opens a folder of images and masks (PNG, JPEG, TIFF, BMP). Headers are read and checked at once, pixels
 * when a sample is loaded. Layouts:
 * - `folders`: `images/X.ext` and `masks/X.ext` (or `X_mask.ext`)
 * - `flat`: `X.ext` or `X_image.ext` with `X_mask.ext` (or `X_segmentation.ext`) in one folder
 * - `instances`: the same with `X_instances.ext`, a label image: 0 background, 1…n objects
 * - `patients`: a subfolder a patient, each flat; slices in numeric order, depth = index / number of slices
 * - the data sets of the thesis as they are distributed: `cvc-clinicdb`, `isic`, `lits`, `cardiac-fat`, `avt`,
 *   `dsb-2018`, `kvasir-seg`, `waterloo` (`fovea data check` tells what is seen in a folder)
 *
 * @param folder path
 * @throws DataError when there are no pairs (says what was expected), an image or a mask lacks the other,
 *   a mask has another size than its image (names both files and sizes), or a file is damaged
 */
export async function openDataset(folder: string, options: OpenOptions = {}): Promise<Dataset> {
  const { layout, entries: all, scans, leftOut } = await contents(folder, options.layout ?? 'auto')
  if (scans) return openScans(folder, layout, scans, options)
  const entries = chosen(folder, all, options.collection)
  if (options.depthChannel && entries.some((entry) => entry.depth === undefined)) {
    throw new DataError(`${folder}: depthChannel needs slices by patient, this folder's layout is ${layout}`)
  }
  const sizes = await checkSizes(entries)
  const grey = sizes.every((size) => size.channels === 1)
  if (options.range && !grey && layout !== 'cardiac-fat') {
    throw new DataError(
      `${folder}: fat is told by the grey of CT slices that were windowed to −200…−30 HU, there are images in colour; ` +
        'for these take another method',
    )
  }
  const channels = options.channels ?? (grey ? 1 : 3)
  const size = pairOf(options.size)
  const prepare: PrepareOptions = {
    channels,
    size,
    normalize: options.normalize ?? defaultNormalization(layout),
    range: options.range && FAT.windowed,
  }
  const cache = sampleCache(options.cacheBytes ?? 512 * 2 ** 20)
  // Distances in mm for all images or for none, so that their mean means something.
  const inMm = sizes.every((size) => size.spacing)
  const samples = entries.map((entry, i): Sample => {
    const depth = options.depthChannel ? entry.depth : undefined
    const read = async () => {
      const raw = await readSample(entry)
      return inMm ? raw : withoutSpacing(raw)
    }
    return {
      id: entry.id,
      group: entry.group,
      imagePath: entry.image!,
      ...(entry.mask ? { maskPath: entry.mask } : {}),
      ...(entry.instances ? { instancesPath: entry.instances } : {}),
      ...(entry.depth === undefined ? {} : { depth: entry.depth }),
      originalSize: [sizes[i]!.height, sizes[i]!.width],
      load: () => cache(entry.id, async () => prepareSample(await read(), { ...prepare, depth })),
      original: () => readSample(entry),
    }
  })
  const loaded = channels + (options.depthChannel ? 1 : 0)
  const name = basename(resolve(folder))
  const passedOver = leftOut.length > 0 ? { leftOut } : {}
  return { name, layout, channels: loaded, samples, ...passedOver, ...(size ? { size } : {}) }
}

interface Contents extends Found {
  readonly layout: string
  readonly leftOut: readonly string[]
}

/** What a folder holds: a data set of the thesis, or one of the plain layouts. */
async function contents(folder: string, wanted: Layout | KnownName | 'auto'): Promise<Contents> {
  const { layout, ...found } = await listed(folder, wanted)
  const { entries, leftOut } = await withoutRecords(found.entries)
  refuseUnpaired(folder, entries)
  return { ...found, layout, entries, leftOut: [...(found.leftOut ?? []), ...leftOut] }
}

async function listed(
  folder: string,
  wanted: Layout | KnownName | 'auto',
): Promise<Found & { layout: string }> {
  const plain = wanted === 'folders' || wanted === 'flat' || wanted === 'instances' || wanted === 'patients'
  if (!plain) {
    const known = await recognise(folder, wanted === 'auto' ? undefined : wanted)
    if (known) return { layout: known.dataset.name, ...known.found }
    if (wanted !== 'auto')
      throw new DataError(`${folder}: not the layout of ${wanted}; try \`fovea data check\``)
  }
  return findEntries(folder, plain ? wanted : 'auto')
}

function chosen(folder: string, entries: readonly Entry[], collection: string | undefined): readonly Entry[] {
  if (collection === undefined) return entries
  const kept = entries.filter((entry) => entry.collection === collection)
  if (kept.length > 0) return kept
  const known = [...new Set(entries.flatMap((entry) => entry.collection ?? []))]
  throw new DataError(
    `${folder}: no images of collection ${collection}; it has ${known.length > 0 ? known.join(', ') : 'none'}`,
  )
}

/** Slices of scans as samples; the scans are cut here, the first time. */
async function openScans(
  folder: string,
  layout: string,
  scans: readonly Scan[],
  options: OpenOptions,
): Promise<Dataset> {
  const size = pairOf(options.size)
  const cache = sampleCache(options.cacheBytes ?? 512 * 2 ** 20)
  const normalize = options.normalize ?? defaultNormalization(layout)
  const samples: Sample[] = []
  for (const [index, scan] of scans.entries()) {
    options.onScan?.({ id: scan.id, index, scans: scans.length })
    const slices = await cutScan(scan, size)
    for (const [k, z] of slices.indices.entries()) {
      const id = `${scan.id}/${String(z).padStart(3, '0')}`
      // In the scan cropped to the slices that hold the object: section 6 of the thesis.
      const depth = k / slices.indices.length
      const load = async () => {
        const { image, mask } = await slices.slice(k)
        const shape: [number, number, number] = [1, slices.height, slices.width]
        const raw = { image: { data: image, shape, max: 1, spacing: slices.spacing }, mask }
        return prepareSample(raw, {
          channels: 1,
          normalize,
          depth: options.depthChannel ? depth : undefined,
          range: options.range && FAT.hu,
        })
      }
      samples.push({
        id,
        group: scan.id,
        imagePath: scan.image,
        maskPath: scan.mask,
        depth,
        originalSize: slices.originalSize,
        load: () => cache(id, load),
      })
    }
  }
  const channels = 1 + (options.depthChannel ? 1 : 0)
  return { name: basename(resolve(folder)), layout, channels, samples, ...(size ? { size } : {}) }
}

function withoutSpacing(raw: RawSample): RawSample {
  const { spacing: _, ...image } = raw.image
  return { ...raw, image }
}

async function checkSizes(entries: readonly Entry[]) {
  const sizes: Awaited<ReturnType<typeof readImageSize>>[] = []
  for (const entry of entries) {
    const truth = truthOf(entry)
    const both = [readImageSize(entry.image!), readImageSize(truth)] as const
    // Where both are damaged, the image is told, whichever was read sooner.
    await Promise.allSettled(both)
    const [size, other] = [await both[0], await both[1]]
    refuseOtherSize(entry, size, other)
    sizes.push(size)
  }
  return sizes
}

const truthOf = (entry: Entry): string => entry.instances ?? entry.mask ?? entry.objects![0]!

function refuseOtherSize(
  entry: Entry,
  image: { height: number; width: number },
  truth: { height: number; width: number },
): void {
  if (image.height === truth.height && image.width === truth.width) return
  throw new DataError(
    `${truthOf(entry)} is ${truth.width}×${truth.height} px, its image ${entry.image} is ` +
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
  if (entry.objects) return { image, instances: await joinObjects(entry, size) }
  const truth = entry.redMask ? await readRedMask(entry.mask!) : await readMask(entry.mask!)
  refuseOtherSize(entry, size, truth)
  return { image, mask: truth.mask }
}

/** One label image of masks of single objects; where two overlap, the later one lies on top. */
async function joinObjects(
  entry: Entry,
  size: { readonly height: number; readonly width: number },
): Promise<Int32Array> {
  const labels = new Int32Array(size.height * size.width)
  for (const [n, path] of entry.objects!.entries()) {
    const { mask, ...own } = await readMask(path)
    if (own.height !== size.height || own.width !== size.width)
      refuseOtherSize({ ...entry, mask: path }, size, own)
    for (let i = 0; i < labels.length; i++) if (mask[i]) labels[i] = n + 1
  }
  return labels
}

function pairOf(size: OpenOptions['size']): readonly [number, number] | undefined {
  if (size === undefined) return undefined
  const [height, width] = typeof size === 'number' ? [size, size] : size
  if (!Number.isInteger(height) || !Number.isInteger(width) || height < 1 || width < 1) {
    throw new DataError(`openDataset: size ${height}×${width} must be whole pixels, at least 1`)
  }
  return [height, width]
}
