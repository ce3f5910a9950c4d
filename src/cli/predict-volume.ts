import { stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { Device } from '../autograd/device.ts'
import { prepareSample, type SampleData } from '../data/dataset.ts'
import type { NormalizationName } from '../data/normalize.ts'
import { resizeImage } from '../data/resize.ts'
import { assertSameGrid, type Volume } from '../data/volume.ts'
import { DataError } from '../gpu/errors.ts'
import { defaultNormalization, FAT } from '../node/folders.ts'
import { listFolder } from '../node/pairs.ts'
import { writeVolume } from '../node/volume/nifti-write.ts'
import { holdsDicom, readVolume } from '../node/volume/read.ts'
import { fillHolesInVolume, keepLargestInVolume } from '../pipelines/components.ts'
import { type MaskScores, scoreWhole } from '../pipelines/score-masks.ts'
import { Interrupted } from '../runs/host.ts'
import { methodOf } from '../runs/methods/index.ts'
import { imageSizeOf, type Networks } from '../runs/methods/method.ts'
import type { DataEntry } from '../runs/plan.ts'
import { predictMasks, type Refinement } from '../runs/predict.ts'
import type { Settings } from '../runs/settings.ts'
import { checkWindow } from '../runs/sliding-window.ts'
import type { Io } from './io.ts'

/** Slices in one forward pass. */
const BATCH = 8

/** What a volume is read and windowed by. */
export interface VolumeArguments extends Refinement {
  readonly out: string
  /** HU of black and of white, for networks that were trained on windowed images. */
  readonly window?: readonly [low: number, high: number]
  /** What lies over the window: white, or black as in slices of fat. */
  readonly above?: 'white' | 'black'
  /** First and last slice that go through the network, from 0 at the bottom. */
  readonly slices?: readonly [first: number, last: number]
  readonly series?: string
  /** Holes and components slice by slice, instead of in three dimensions. */
  readonly bySlice?: boolean
  /** A mask to score against. */
  readonly truth?: string
}

export interface PredictedVolume {
  readonly image: string
  readonly mask: string
  /** D, H, W. */
  readonly shape: readonly number[]
  /** Foreground voxels, and their volume. */
  readonly voxels: number
  readonly millilitres: number
  /** Distances in mm, between the surfaces in 3-D; Infinity (in JSON null) where one mask is empty. */
  readonly scores?: MaskScores
}

/** Masks that lie beside scans: of LiTS, of AVT, fovea's own. Of a folder they are left out, as masks of images are. */
const MASK = /(^segmentation-\d+|[._](mask|seg|segmentation))\.(nii(\.gz)?|nrrd)$/i
const VOLUME = /\.(nii(\.gz)?|nrrd|dcm)$/i

/**
 * The volumes under a path: a scan file, a folder of them, or a folder with the slices of a DICOM series. Empty where it
 * is an image or a folder of images.
 *
 * @throws DataError for scan files and DICOM files side by side: one of them would be left out
 */
export async function findVolumes(path: string): Promise<string[]> {
  const info = await stat(path).catch(() => undefined)
  if (!info) return []
  // Files of a DICOM series may have any name, as below.
  if (info.isFile()) return VOLUME.test(path) || (await holdsDicom([path])) ? [path] : []
  const { files, others } = await listFolder(path)
  const volumes = others.filter((file) => VOLUME.test(file))
  const scans = volumes.filter((file) => !MASK.test(file)).map((file) => join(path, file))
  if (volumes.length > 0 && scans.length === 0 && files.length === 0)
    throw new DataError(
      `${path}: all its scans are masks by their names, such as ${volumes[0]}; name one to predict it`,
    )
  const slices = files.filter((file) => VOLUME.test(file))
  if (scans.length > 0 && slices.length > 0)
    throw new DataError(
      `${path}: it holds scans (${basename(scans[0]!)}, ${scans.length} in all) and DICOM files (${slices[0]}, ${slices.length} in ` +
        'all); give each kind a folder of its own',
    )
  if (scans.length > 0) return scans
  // Files of a DICOM series may have any name.
  return (await holdsDicom([...files, ...others].slice(0, 4).map((file) => join(path, file)))) ? [path] : []
}

const nameOf = (path: string): string => basename(path).replace(VOLUME, '')

/** Name of the mask of a scan. */
export const scanMaskOf = (path: string): string => `${nameOf(path)}_mask.nii.gz`

/** HU to what 8-bit images of the window hold: 0 to 255, and 0 below; above 255 or, in slices of fat, 0. */
function windowed([low, high]: readonly [number, number], above: 'white' | 'black') {
  return (hu: Float32Array): Float32Array => {
    const out = new Float32Array(hu.length)
    for (let i = 0; i < out.length; i++) {
      const part = (hu[i]! - low) / (high - low)
      out[i] = part > 1 && above === 'black' ? 0 : 255 * Math.min(1, Math.max(0, part))
    }
    return out
  }
}

/** How voxels in HU become what the run's network was trained on. */
function normalizationFor(path: string, entry: DataEntry, args: VolumeArguments): NormalizationName {
  const trained = defaultNormalization(entry.layout)
  const takesHu = trained === 'liver' || trained === 'aorta' || trained === 'fat'
  if (takesHu && !args.window) return trained
  if (takesHu)
    throw new DataError(
      `--window: the run was trained on scans and windows them itself (${trained}); leave it out`,
    )
  if (!args.window)
    throw new DataError(
      `${path}: the run was trained on images (layout ${entry.layout}), so it must be said which HU are black and white in ` +
        'them: pass --window LOW,HIGH, for the fat range --window=-200,-30 --above black',
    )
  return trained
}

interface VolumeWork {
  /** What the path holds. */
  readonly volume: Volume
  readonly entry: DataEntry
  readonly settings: Settings
  readonly args: VolumeArguments
  readonly io: Io
}

/** Slices of a volume through the run's networks, and back as a mask on the volume's own grid. */
export async function predictVolume(
  device: Device,
  nets: Networks,
  path: string,
  { volume, entry, settings, args, io }: VolumeWork,
): Promise<PredictedVolume> {
  const colours = entry.channels - (settings.depthChannel ? 1 : 0)
  const normalize = normalizationFor(path, entry, args)
  const truth = args.truth === undefined ? undefined : await readVolume(args.truth)
  if (truth) assertSameGrid(volume, truth)
  const [depth, height, width] = volume.shape
  checkWindow(path, { height, width }, settings)
  const [first, last] = args.slices ?? [0, depth - 1]
  if (last >= depth)
    throw new DataError(`--slices ${first},${last}: ${path} has ${depth} slices, 0 to ${depth - 1}`)
  const plane = height * width
  const toImage = args.window ? windowed(args.window, args.above ?? 'white') : (hu: Float32Array) => hu
  const size = imageSizeOf(methodOf(entry.method), settings)
  const prepare = (z: number): SampleData =>
    prepareSample(
      {
        image: {
          data: toImage(volume.data.subarray(z * plane, (z + 1) * plane)),
          shape: [1, height, width],
          max: 255,
        },
      },
      {
        channels: colours,
        normalize,
        range: methodOf(entry.method).range && (args.window ? FAT.windowed : FAT.hu),
        ...(size === undefined ? {} : { size: [size, size] as const }),
        // Of the scan cropped to the region, as in training: section 6 of the thesis.
        ...(settings.depthChannel ? { depth: (z - first) / (last - first + 1) } : {}),
      },
    )
  const { keepLargest, fillHoles, ...pass } = args
  const refinement = args.bySlice ? args : pass
  let mask: Float32Array = new Float32Array(depth * plane)
  for (let z = first; z <= last; z += BATCH) {
    if (io.signal.aborted) throw new Interrupted(`stopped in slice ${z} of ${path}; its mask was not written`)
    const data = Array.from({ length: Math.min(BATCH, last + 1 - z) }, (_, k) => prepare(z + k))
    const maps = await predictMasks(device, methodOf(entry.method), settings, nets, data, refinement)
    maps.forEach((map, k) => {
      const { height: h, width: w } = data[k]!
      resizeImage(map, [1, h, w], [height, width]).forEach((v, i) => {
        if (v > 0.5) mask[(z + k) * plane + i] = 1
      })
    })
  }
  if (!args.bySlice) {
    // Of filled masks the largest components are kept, as in images.
    if (fillHoles) mask = fillHolesInVolume(mask, volume.shape)
    if (keepLargest !== undefined) mask = keepLargestInVolume(mask, volume.shape, { k: keepLargest })
  }
  const out = join(args.out, scanMaskOf(path))
  await writeVolume(out, { ...volume, data: mask }, { type: 'uint8' })
  const voxels = mask.reduce((sum, v) => sum + v, 0)
  const millilitres = (voxels * volume.spacing.reduce((a, b) => a * b)) / 1000
  if (!truth) return { image: path, mask: out, shape: volume.shape, voxels, millilitres }
  const real = truth.data.map((v) => (v > 0 ? 1 : 0))
  const scores = scoreWhole(mask, real, volume.shape, { spacing: volume.spacing })
  return { image: path, mask: out, shape: volume.shape, voxels, millilitres, scores }
}

/** Refuses options that say nothing about what is predicted, and scans that would write the same mask. */
export function checkVolumes(path: string, scans: readonly string[], args: VolumeArguments): void {
  const names = new Map<string, string>()
  for (const scan of scans) {
    const other = names.get(nameOf(scan))
    if (other) throw new DataError(`${other} and ${scan} would write the same mask; predict them apart`)
    names.set(nameOf(scan), scan)
  }
  const { window, above, slices, series, bySlice, truth } = args
  const forScans = { window, above: above === 'black' || undefined, slices, series, bySlice, truth }
  const given = Object.entries(forScans).find(([, value]) => value !== undefined)
  if (scans.length === 0 && given) {
    const option = given[0] === 'bySlice' ? 'by-slice' : given[0]
    throw new DataError(`--${option}: it is for scans, and ${path} is no scan; leave it out`)
  }
  if (bySlice && args.keepLargest === undefined && !args.fillHoles)
    throw new DataError('--by-slice: it says how --keep-largest and --fill-holes work; pass one of them, too')
  if (truth !== undefined && scans.length !== 1)
    throw new DataError(`--truth is the mask of one scan, there are ${scans.length}; predict them one by one`)
}
