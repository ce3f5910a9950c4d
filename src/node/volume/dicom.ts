import { DataError } from '../../gpu/errors.ts'
import { transferSyntaxName } from './transfer-syntax.ts'

/** One DICOM file, decoded. */
export interface DicomImage {
  readonly name: string
  readonly rows: number
  readonly columns: number
  /** Samples a pixel: 1 grey or 3 (red, green, blue). */
  readonly channels: 1 | 3
  /** Frames in the file's order: pixel values after slope and intercept, channels interleaved. */
  readonly frames: readonly Float32Array[]
  /** The largest value that the stored bits can hold, after slope and intercept. */
  readonly max: number
  /** Centre of each frame's first voxel, mm in DICOM's LPS; absent where the file does not say. */
  readonly positions: readonly (readonly number[] | undefined)[]
  /** Direction cosines of rows and columns, LPS. */
  readonly orientation: readonly number[] | undefined
  /** Distance between rows and between columns, mm. */
  readonly pixelSpacing: readonly [number, number] | undefined
  /** Distance between slices as the file states it, mm. */
  readonly sliceSpacing: number | undefined
  readonly series: string
  readonly description: string
  readonly instance: number | undefined
  readonly modality: string
}

/** A DICOM file without rows and columns, such as a structured report or contours (RTSTRUCT). */
export class NoDicomImage extends DataError {
  constructor(
    message: string,
    readonly modality: string,
  ) {
    super(message)
  }
}

/** The parts of daikon that are used; it brings no types. */
interface Tag {
  readonly value: unknown
}
interface DaikonImage {
  readonly littleEndian: boolean
  readonly tags: Record<string, Tag | undefined>
  getTag(group: number, element: number): Tag | undefined
  getRawData(): ArrayBuffer
  getTransferSyntax(): string | null
  hasPixelData(): boolean
  isCompressed(): boolean
  getEncapsulatedData(): { readonly value: DataView | null }[] | null
}
interface Daikon {
  readonly Series: { parseImage(view: DataView): DaikonImage | null; parserError: Error | null }
}

/**
 * Decodes one DICOM file: implicit and explicit, little and big endian, deflated, RLE, JPEG (baseline, extended 8 bit,
 * lossless), JPEG-LS and JPEG 2000; 8 to 32 bit, signed and unsigned; one frame or many; colour as RGB.
 * MONOCHROME1 stays as stored: low values are bright there.
 *
 * @param bytes the file
 * @param name for messages
 * @throws DataError naming the file, and the transfer syntax where it is to blame; NoDicomImage where it is none
 */
export async function decodeDicom(bytes: Uint8Array, name: string): Promise<DicomImage> {
  const { daikon } = await loadDaikon()
  const image = parse(daikon, bytes, name)
  const number = (group: number, element: number): number | undefined => numbers(image, group, element)?.[0]
  const rows = number(0x0028, 0x0010)
  const columns = number(0x0028, 0x0011)
  const syntax = transferSyntaxName(image.getTransferSyntax())
  const none = `${name}: this DICOM file holds no image (transfer syntax ${syntax}); leave it out`
  if (rows === undefined && columns === undefined) throw new NoDicomImage(none, text(image, 0x0008, 0x0060))
  if (!rows || !columns || !image.hasPixelData()) throw new DataError(none)
  const allocated = number(0x0028, 0x0100) ?? 16
  const stored = number(0x0028, 0x0101) ?? allocated
  const signed = number(0x0028, 0x0103) === 1
  const samples = number(0x0028, 0x0002) ?? 1
  const count = Math.max(1, Math.round(number(0x0028, 0x0008) ?? 1))
  const photometric = (text(image, 0x0028, 0x0004) || 'MONOCHROME2').toUpperCase()
  refuseUnread(image, { name, syntax, allocated, signed, samples, photometric })
  const raw = decodePixels(image, name, syntax)
  const perFrame = rows * columns * samples
  const bytesEach = allocated / 8
  if (raw.byteLength < perFrame * count * bytesEach) {
    throw new DataError(
      `${name}: truncated: ${count} frames of ${rows}×${columns} need ${perFrame * count * bytesEach} bytes of pixels, ` +
        `the file has ${raw.byteLength} (transfer syntax ${syntax}); copy it again from its source`,
    )
  }
  // The decoders give pixels interleaved, whatever the file says of its planes.
  const planar = samples === 3 && number(0x0028, 0x0006) === 1 && !image.isCompressed()
  const palette = photometric === 'PALETTE COLOR' ? readPalette(image, name) : undefined
  const ybr = photometric.startsWith('YBR_FULL') && !isCompressedByJpeg(image)
  const read = sampleReader(new DataView(raw), image.littleEndian, allocated, stored, signed)
  const groups = functionalGroups(image, count)
  const frames = Array.from({ length: count }, (_, frame): Float32Array => {
    const rescale = groups.at(frame, 0x0028, 0x9145)
    const slope = rescale.number(0x0028, 0x1053) ?? number(0x0028, 0x1053) ?? 1
    const intercept = rescale.number(0x0028, 0x1052) ?? number(0x0028, 0x1052) ?? 0
    const start = frame * perFrame
    if (palette) return palette(rows * columns, (i) => read(start + i))
    const out = new Float32Array(perFrame)
    const plane = rows * columns
    for (let i = 0; i < perFrame; i++) {
      const from = planar ? (i % 3) * plane + Math.floor(i / 3) : i
      out[i] = read(start + from) * (slope || 1) + intercept
    }
    if (ybr) ybrToRgb(out)
    return out
  })
  const slope = number(0x0028, 0x1053) || 1
  const bits = signed ? stored - 1 : stored
  const orientation = (frame: number) =>
    groups.at(frame, 0x0020, 0x9116).numbers(0x0020, 0x0037) ?? numbers(image, 0x0020, 0x0037)
  const measures = groups.at(0, 0x0028, 0x9110)
  const spacing =
    measures.numbers(0x0028, 0x0030) ?? numbers(image, 0x0028, 0x0030) ?? numbers(image, 0x0018, 0x1164)
  return {
    name,
    rows,
    columns,
    channels: palette || samples === 3 ? 3 : 1,
    frames,
    max: palette ? 255 : (2 ** bits - 1) * slope + (number(0x0028, 0x1052) ?? 0),
    positions: frames.map(
      (_, f) =>
        groups.at(f, 0x0020, 0x9113).numbers(0x0020, 0x0032) ??
        (count === 1 ? numbers(image, 0x0020, 0x0032) : undefined),
    ),
    orientation: orientation(0)?.length === 6 ? orientation(0) : undefined,
    pixelSpacing: spacing && spacing.length >= 2 ? [spacing[0]!, spacing[1]!] : undefined,
    sliceSpacing: number(0x0018, 0x0088) ?? measures.number(0x0018, 0x0050) ?? number(0x0018, 0x0050),
    series: text(image, 0x0020, 0x000e),
    description: text(image, 0x0008, 0x103e),
    instance: number(0x0020, 0x0013),
    modality: text(image, 0x0008, 0x0060),
  }
}

function parse(daikon: Daikon, bytes: Uint8Array, name: string): DaikonImage {
  const damaged = (why: string, cause?: unknown) =>
    new DataError(
      `${name}: the DICOM file cannot be parsed (${why}); if it is truncated, copy it again from its source`,
      {
        cause,
      },
    )
  let image: DaikonImage | null
  try {
    const copy = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength)
    image = daikon.Series.parseImage(new DataView(copy as ArrayBuffer))
  } catch (cause) {
    throw damaged((cause as Error).message, cause)
  }
  if (!image) throw damaged(daikon.Series.parserError?.message ?? 'no data set found')
  return image
}

/** Combinations that the decoders get wrong or do not know: refused, never guessed. */
function refuseUnread(
  image: DaikonImage,
  at: {
    name: string
    syntax: string
    allocated: number
    signed: boolean
    samples: number
    photometric: string
  },
): void {
  const { name, syntax, allocated, signed, samples, photometric } = at
  const refuse = (what: string): never => {
    throw new DataError(
      `${name}: ${what} in transfer syntax ${syntax} is not read; convert it to an uncompressed transfer syntax ` +
        '(for instance `gdcmconv --raw`)',
    )
  }
  if (![8, 16, 32].includes(allocated)) refuse(`${allocated}-bit pixels`)
  if (samples !== 1 && samples !== 3) refuse(`an image of ${samples} samples a pixel`)
  const uid = image.getTransferSyntax() ?? ''
  if (!READ.test(uid)) refuse('an image')
  if (!image.isCompressed()) return
  if (allocated === 32) refuse('an image of 32 bits')
  const jpeg2000 = /\.4\.9[0-3]$/.test(uid)
  if (jpeg2000 && signed && allocated === 8) refuse('an image of signed 8-bit pixels')
  if (jpeg2000 && severalTiles(image)) refuse('an image of several tiles')
  const lossy = /\.4\.5[01]$/.test(uid)
  if (lossy && allocated !== 8) refuse('an image of 12-bit pixels')
  if (lossy && samples === 3 && photometric === 'RGB') refuse('an RGB image without colour transform')
}

/** Transfer syntaxes that daikon decodes. */
const READ = /^(|1\.2\.840\.10008\.1\.2(\.1|\.2|\.1\.99|\.5|\.4\.(50|51|57|70|80|81|90|91))?)$/

const isCompressedByJpeg = (image: DaikonImage): boolean => /\.4\.\d+$/.test(image.getTransferSyntax() ?? '')

/** Whether the SIZ marker of a JPEG 2000 codestream gives tiles smaller than the image: only the first would be decoded. */
function severalTiles(image: DaikonImage): boolean {
  for (const { value } of image.getEncapsulatedData() ?? []) {
    if (!value) continue
    for (let i = 0; i + 30 < Math.min(value.byteLength, 4096); i++) {
      if (value.getUint32(i) !== 0xff4fff51) continue
      const word = (n: number) => value.getUint32(i + 8 + 4 * n)
      const [width, height, x0, y0, tileWidth, tileHeight] = [0, 1, 2, 3, 4, 5].map(word)
      return tileWidth! < width! - x0! || tileHeight! < height! - y0!
    }
  }
  return false
}

function decodePixels(image: DaikonImage, name: string, syntax: string): ArrayBuffer {
  try {
    return image.getRawData()
  } catch (cause) {
    throw new DataError(
      `${name}: its pixels cannot be decoded (${(cause as Error).message}; transfer syntax ${syntax}); ` +
        'if it is damaged, copy it again from its source',
      { cause },
    )
  }
}

/** The stored bits of sample i, sign-extended where they are signed; bits above them (overlays) are cut off. */
function sampleReader(
  view: DataView,
  little: boolean,
  allocated: number,
  stored: number,
  signed: boolean,
): (i: number) => number {
  const shift = 32 - stored
  const cut = signed ? (v: number) => (v << shift) >> shift : (v: number) => (v << shift) >>> shift
  if (allocated === 8) return (i) => cut(view.getUint8(i))
  if (allocated === 16) return (i) => cut(view.getUint16(2 * i, little))
  return (i) => cut(view.getUint32(4 * i, little))
}

function ybrToRgb(pixels: Float32Array): void {
  for (let i = 0; i < pixels.length; i += 3) {
    const y = pixels[i]!
    const cb = pixels[i + 1]! - 128
    const cr = pixels[i + 2]! - 128
    const byte = (v: number) => Math.min(255, Math.max(0, Math.round(v)))
    pixels[i] = byte(y + 1.402 * cr)
    pixels[i + 1] = byte(y - 0.344136 * cb - 0.714136 * cr)
    pixels[i + 2] = byte(y + 1.772 * cb)
  }
}

/** A function that looks up `count` indices in the file's colour tables, as 8-bit RGB. */
function readPalette(image: DaikonImage, name: string) {
  const tables = [0x1101, 0x1102, 0x1103].map((descriptor, c) => {
    const [entries = 0, first = 0, bits = 8] = numbers(image, 0x0028, descriptor) ?? []
    const value = image.getTag(0x0028, 0x1201 + c)?.value
    const view = value instanceof DataView ? value : undefined
    const size = entries === 0 ? 65536 : entries
    const wide = bits > 8 && view !== undefined && view.byteLength >= 2 * size
    if (!view || view.byteLength < size) {
      throw new DataError(`${name}: a palette image without its tables of ${size} colours; save it as RGB`)
    }
    return (index: number): number => {
      const i = Math.min(size - 1, Math.max(0, index - first))
      return wide ? view.getUint16(2 * i, image.littleEndian) >> 8 : view.getUint8(i)
    }
  })
  return (count: number, at: (i: number) => number): Float32Array => {
    const out = new Float32Array(count * 3)
    for (let i = 0; i < count; i++) {
      for (const [c, table] of tables.entries()) out[3 * i + c] = table(at(i))
    }
    return out
  }
}

const tagId = (group: number, element: number): string =>
  (group.toString(16).padStart(4, '0') + element.toString(16).padStart(4, '0')).toUpperCase()

const asNumbers = (value: unknown): number[] | undefined => {
  if (!Array.isArray(value)) return undefined
  const list = value.map(Number)
  return list.length > 0 && list.every(Number.isFinite) ? list : undefined
}

const numbers = (image: DaikonImage, group: number, element: number): number[] | undefined =>
  asNumbers(image.tags[tagId(group, element)]?.value)

function text(image: DaikonImage, group: number, element: number): string {
  const value = image.tags[tagId(group, element)]?.value
  return Array.isArray(value)
    ? String(value[0] ?? '')
        .replace(/\0/g, '')
        .trim()
    : ''
}

interface SequenceTag {
  readonly id: string
  readonly value: unknown
}

const children = (tag: { readonly value: unknown } | undefined): SequenceTag[] =>
  Array.isArray(tag?.value)
    ? tag.value.filter((t): t is SequenceTag => typeof t === 'object' && t !== null && 'id' in t)
    : []

/** What enhanced files say of a frame: its own functional group first, then the group shared by all. */
function functionalGroups(image: DaikonImage, count: number) {
  const items = (element: number) => children(image.tags[tagId(0x5200, element)])
  const own = items(0x9230)
  const [shared] = items(0x9229)
  return {
    at(frame: number, group: number, element: number) {
      const find = (item: SequenceTag | undefined) =>
        children(item).find((t) => t.id === tagId(group, element))
      const sequence = find(own.length === count ? own[frame] : undefined) ?? find(shared)
      const [item] = children(sequence)
      const numbersOf = (g: number, e: number) =>
        asNumbers(children(item).find((t) => t.id === tagId(g, e))?.value)
      return {
        numbers: numbersOf,
        number: (g: number, e: number): number | undefined => numbersOf(g, e)?.[0],
      }
    },
  }
}

async function loadDaikon(): Promise<{ daikon: Daikon }> {
  try {
    // The released bundle: the sources load an asm.js module over which Node prints a warning.
    const module = await import('daikon/release/current/daikon-min.js')
    const daikon = (module as { default: Daikon & { Image: { skipPaletteConversion: boolean } } }).default
    daikon.Image.skipPaletteConversion = true
    return { daikon }
  } catch (cause) {
    throw new DataError('reading DICOM needs the package daikon: run `npm install daikon`', { cause })
  }
}
