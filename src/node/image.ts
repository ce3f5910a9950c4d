import { open, readFile } from 'node:fs/promises'
import { binarizeMask, type Image } from '../data/image.ts'
import { DataError } from '../gpu/errors.ts'
import { bmpSize, decodeBmp } from './bmp.ts'
import { detectFormat, type ImageFormat } from './image-format.ts'
import { loadSharp } from './sharp.ts'
import { decodeDicom } from './volume/dicom.ts'

const READ: ReadonlySet<ImageFormat> = new Set(['png', 'jpeg', 'tiff', 'bmp', 'dicom'])
/** More pixels than this (16,384²) are refused, so that a damaged header cannot eat the memory. */
const MAX_PIXELS = 2 ** 28
const HEADER_BYTES = 64 * 1024

/**
 * Reads one image: PNG, JPEG, TIFF (one page), BMP or one DICOM frame, told apart by content, not by name.
 *
 * Grey files give 1 channel, colour files 3 (red, green, blue). Alpha is dropped, not blended. A palette is
 * expanded: to 1 channel when all pixels are grey, else to 3. The EXIF orientation is applied. A colour
 * profile is ignored: samples are as stored. 8-bit samples are 0…255, 16-bit ones 0…65535 and exact;
 * 1, 2 and 4-bit files are spread over 0…255. DICOM gives values after slope and intercept (HU in CT), colour as
 * RGB; MONOCHROME1 stays as stored, low values bright.
 *
 * @param source path, or the file's bytes
 * @returns `data` in (C, H, W) order, `shape` [c, h, w], and `max`, the largest value of the sample type
 * @throws DataError naming the file when it is missing, empty, truncated or of another format
 */
export async function readImage(source: string | Uint8Array): Promise<Image> {
  const name = typeof source === 'string' ? source : `image of ${source.length} bytes`
  return decode(typeof source === 'string' ? await readBytes(source) : source, name)
}

/**
 * Reads a mask as zeros and ones; see `binarizeMask` for the rule.
 *
 * @param path a PNG, JPEG, TIFF or BMP
 * @returns `mask` (1, H, W) of 0 and 1
 * @throws DataError as `readImage` does
 */
export async function readMask(path: string): Promise<{ mask: Float32Array; height: number; width: number }> {
  const bytes = await readBytes(path)
  const image = await decode(bytes, path)
  const lossy = detectFormat(bytes) === 'jpeg'
  return { mask: binarizeMask(image, { lossy }), height: image.shape[1], width: image.shape[2] }
}

/**
 * Reads a mask that may be painted: grey as `readMask` does; in colour, what is red (red over half, green and blue under).
 *
 * @throws DataError as `readImage` does
 */
export async function readRedMask(
  path: string,
): Promise<{ mask: Float32Array; height: number; width: number }> {
  const { data, shape, max } = await readImage(path)
  const [channels, height, width] = shape
  if (channels === 1) return readMask(path)
  const plane = height * width
  const mask = new Float32Array(plane)
  for (let i = 0; i < plane; i++)
    mask[i] = data[i]! > max / 2 && data[plane + i]! < max / 2 && data[2 * plane + i]! < max / 2 ? 1 : 0
  return { mask, height, width }
}

interface ImageSize extends Pick<Image, 'spacing'> {
  readonly height: number
  readonly width: number
  readonly channels: number
}

/**
 * Reads only the header of an image file: quick enough to check a whole folder before training.
 *
 * @param path a PNG, JPEG, TIFF or BMP
 * @returns height and width in px after EXIF orientation; channels without alpha (0 for a palette, which
 *   only the pixels can tell)
 * @throws DataError as `readImage` does, for what the header shows
 */
export async function readImageSize(path: string): Promise<ImageSize> {
  const bytes = await readBytes(path, HEADER_BYTES)
  const format = imageFormat(bytes, path)
  try {
    if (format === 'bmp') return { ...bmpSize(bytes), channels: 0 }
    if (format === 'dicom') {
      const { shape, spacing } = await decodeDicomFrame(await readBytes(path), path)
      const size = { height: shape[1], width: shape[2], channels: shape[0] }
      return spacing ? { ...size, spacing } : size
    }
    const sharp = await loadSharp()
    // A TIFF's directory may lie at its end, so sharp gets the path.
    const meta = await sharp(format === 'tiff' ? path : Buffer.from(bytes), { failOn: 'none' }).metadata()
    const channels = meta.isPalette ? 0 : meta.channels - (meta.hasAlpha ? 1 : 0) > 1 ? 3 : 1
    return { height: meta.autoOrient.height, width: meta.autoOrient.width, channels }
  } catch (cause) {
    throw damaged(path, format, cause)
  }
}

async function decode(bytes: Uint8Array, name: string): Promise<Image> {
  const format = imageFormat(bytes, name)
  try {
    if (format === 'dicom') return await decodeDicomFrame(bytes, name)
    return format === 'bmp' ? await decodeBmp(bytes) : await decodeWithSharp(bytes)
  } catch (cause) {
    throw damaged(name, format, cause)
  }
}

async function decodeDicomFrame(bytes: Uint8Array, name: string): Promise<Image> {
  const { frames, rows, columns, channels, max, pixelSpacing: spacing } = await decodeDicom(bytes, name)
  if (frames.length > 1) {
    throw new DataError(
      `${name}: it holds ${frames.length} frames, one image is wanted; read it with readVolume`,
    )
  }
  const plane = rows * columns
  const data = new Float32Array(channels * plane)
  for (let c = 0; c < channels; c++) {
    for (let i = 0; i < plane; i++) data[c * plane + i] = frames[0]![i * channels + c]!
  }
  return { data, shape: [channels, rows, columns], max, ...(spacing ? { spacing } : {}) }
}

async function decodeWithSharp(bytes: Uint8Array): Promise<Image> {
  const sharp = await loadSharp()
  const options = { failOn: 'error', ignoreIcc: true, limitInputPixels: MAX_PIXELS } as const
  const meta = await sharp(bytes, options).metadata()
  if ((meta.pages ?? 1) > 1) throw new Error(`it has ${meta.pages} pages, one is wanted; split it`)
  const colours = meta.channels - (meta.hasAlpha ? 1 : 0)
  if (meta.depth !== 'uchar' && meta.depth !== 'ushort') {
    throw new Error(`samples of type ${meta.depth} are not read; save it with 8 or 16 bits`)
  }
  const wide = meta.depth === 'ushort'
  const space = colours < 3 ? (wide ? 'grey16' : 'b-w') : wide ? 'rgb16' : 'srgb'
  const { data: raw, info } = await sharp(bytes, options)
    .autoOrient()
    .removeAlpha()
    .toColourspace(space)
    .raw({ depth: meta.depth })
    .toBuffer({ resolveWithObject: true })
  const samples = wide
    ? new Uint16Array(raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.byteLength))
    : raw
  const { height, width } = info
  const channels = info.channels === 1 || (meta.isPalette && isGrey(samples, info.channels)) ? 1 : 3
  const data = new Float32Array(channels * height * width)
  for (let c = 0; c < channels; c++) {
    const plane = c * height * width
    for (let i = 0; i < height * width; i++) data[plane + i] = samples[i * info.channels + c]!
  }
  return { data, shape: [channels, height, width], max: wide ? 65535 : 255 }
}

function isGrey(samples: ArrayLike<number>, channels: number): boolean {
  for (let i = 0; i < samples.length; i += channels) {
    if (samples[i] !== samples[i + 1] || samples[i] !== samples[i + 2]) return false
  }
  return true
}

function imageFormat(bytes: Uint8Array, name: string): ImageFormat {
  if (bytes.length === 0) {
    throw new DataError(`${name}: the file is empty; copy it again from its source, or remove it`)
  }
  const format = detectFormat(bytes)
  if (READ.has(format)) return format
  const what = format === 'unknown' ? 'is no image that fovea knows' : `is ${format.toUpperCase()}`
  const todo =
    format === 'nifti' || format === 'gzip'
      ? 'read it with readVolume, or export its slices'
      : 'convert it to PNG, or remove it'
  throw new DataError(`${name}: ${what}; PNG, JPEG, TIFF, BMP and DICOM are read: ${todo}`)
}

function damaged(name: string, format: string, cause: unknown): DataError {
  if (cause instanceof DataError) return cause
  const reason = cause instanceof Error ? cause.message.trim().split('\n')[0] : String(cause)
  return new DataError(
    `${name}: the ${format.toUpperCase()} cannot be decoded (${reason}); ` +
      'if it is truncated or damaged, copy it again from its source, or remove it',
    { cause },
  )
}

async function readBytes(path: string, atMost?: number): Promise<Uint8Array> {
  try {
    if (atMost === undefined) return await readFile(path)
    const file = await open(path)
    try {
      const { buffer, bytesRead } = await file.read({ buffer: Buffer.alloc(atMost), position: 0 })
      return buffer.subarray(0, bytesRead)
    } finally {
      await file.close()
    }
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new DataError(`${path}: cannot be read (${reason}); check the path and its permissions`, { cause })
  }
}
