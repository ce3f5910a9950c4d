import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Volume } from '../../data/volume.ts'
import { DataError } from '../../gpu/errors.ts'
import { detectFormat } from '../image-format.ts'
import { recordsLeftOut } from '../left-out.ts'
import { type DicomImage, decodeDicom, NoDicomImage } from './dicom.ts'
import { readNifti } from './nifti.ts'
import { isNrrd, readNrrd } from './nrrd.ts'
import { assembleSeries } from './series.ts'

/** Options of `readVolume`. */
export interface ReadVolumeOptions {
  /** SeriesInstanceUID, or a part of it or of the description, where a folder holds several series. */
  readonly series?: string
  /** Told, in a sentence, of DICOM files of a folder that hold no image: structured reports, contours. */
  readonly onLeftOut?: (sentence: string) => void
}

/**
 * Reads a scan: a NIfTI file (.nii or .nii.gz, version 1 or 2), an NRRD file, a DICOM file of one frame or many, or a folder with the
 * files of a DICOM series (subfolders are not searched; files that are no DICOM, and DICOM files that hold no image, are passed
 * over).
 *
 * @param path file or folder
 * @returns values after slope and intercept (HU in CT), brought to the axis order of `Volume`
 * @throws DataError naming the file: missing, truncated, an unread type or transfer syntax, several series (lists
 *   them), mixed sizes, missing slices
 */
export async function readVolume(path: string, options: ReadVolumeOptions = {}): Promise<Volume> {
  const info = await stat(path).catch((cause: Error) => {
    throw new DataError(`${path}: cannot be read (${cause.message}); check the path`, { cause })
  })
  if (info.isDirectory()) return readSeries(path, options)
  const bytes = await readFile(path)
  if (isNrrd(bytes)) return readNrrd(bytes, path)
  const format = volumeFormat(bytes)
  if (format === 'nifti') return readNifti(bytes, path)
  if (format === 'dicom') return assembleSeries([await decodeDicom(bytes, path)], path)
  throw new DataError(
    `${path}: ${bytes.length === 0 ? 'the file is empty' : 'is no volume'}; NIfTI (.nii, .nii.gz), DICOM files and ` +
      'folders of them are read',
  )
}

/** NIfTI or DICOM by content. gzip counts as NIfTI; DICOM without its preamble starts with group 0008 or 0002. */
export function volumeFormat(bytes: Uint8Array): 'nifti' | 'dicom' | undefined {
  const format = detectFormat(bytes)
  if (format === 'dicom') return 'dicom'
  if (format === 'nifti' || format === 'gzip') return 'nifti'
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length > 8 && view.getUint8(0) === 0x6e && view.getUint8(1) === 0x2b) return 'nifti'
  if (
    bytes.length >= 348 &&
    [view.getInt32(0, true), view.getInt32(0, false)].some((n) => n === 348 || n === 540)
  )
    return 'nifti'
  const group = bytes.length > 132 ? view.getUint16(0, true) : 0
  return group === 8 || group === 2 ? 'dicom' : undefined
}

async function readSeries(folder: string, { series: wanted, onLeftOut }: ReadVolumeOptions): Promise<Volume> {
  const entries = await readdir(folder, { withFileTypes: true })
  const names = entries.filter((e) => e.isFile() && !e.name.startsWith('.')).map((e) => e.name)
  names.sort(new Intl.Collator('en', { numeric: true }).compare)
  const bySeries = new Map<string, DicomImage[]>()
  const records: { path: string; modality: string }[] = []
  for (const name of names) {
    const path = join(folder, name)
    const bytes = await readFile(path)
    if (volumeFormat(bytes) !== 'dicom' || name.toUpperCase() === 'DICOMDIR') continue
    const image = await decodeDicom(bytes, path).catch((cause: unknown) => {
      if (!(cause instanceof NoDicomImage)) throw cause
      records.push({ path, modality: cause.modality })
    })
    if (!image) continue
    const list = bySeries.get(image.series) ?? []
    list.push(image)
    bySeries.set(image.series, list)
  }
  if (bySeries.size === 0) {
    throw new DataError(
      `${folder}: no DICOM ${records.length > 0 ? 'images' : 'files'} among ${names.length} files; give a folder with the ` +
        `slices of one series, or a .nii file${records.length > 0 ? ` (${recordsLeftOut(records)})` : ''}`,
    )
  }
  if (records.length > 0) onLeftOut?.(recordsLeftOut(records))
  const say = ([uid, images]: readonly [string, DicomImage[]]) =>
    `${uid || '(no UID)'} ${images[0]!.description || images[0]!.modality}, ${images.length} files`.trim()
  const matching = [...bySeries].filter(
    ([uid, images]) =>
      wanted === undefined || uid.includes(wanted) || images[0]!.description.includes(wanted),
  )
  if (matching.length === 1) return assembleSeries(matching[0]![1], folder)
  const listed = [...bySeries].map(say).join('; ')
  throw new DataError(
    wanted === undefined
      ? `${folder}: it holds ${bySeries.size} series: ${listed}; choose one by \`series\`, or one folder a series`
      : `${folder}: ${matching.length} series match '${wanted}'; it holds: ${listed}`,
  )
}

/** Whether one of some files is DICOM by content. */
export async function holdsDicom(paths: readonly string[]): Promise<boolean> {
  for (const path of paths) if (volumeFormat(await readFile(path)) === 'dicom') return true
  return false
}
