import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { type Affine, type Grid, orientGrid, orientVolume, type Volume } from '../../data/volume.ts'
import { DataError } from '../../gpu/errors.ts'

/** The fields that are used of what nrrd-js parses; it brings no types. */
interface Header {
  readonly type: string
  readonly endian?: 'little' | 'big'
  readonly sizes: readonly number[]
  readonly space?: string
  readonly spaceDirections?: readonly (readonly number[] | null)[]
  readonly spaceOrigin?: readonly number[]
  readonly spacings?: readonly number[]
  readonly lineSkip?: number
  readonly byteSkip?: number
  readonly dataFile?: unknown
}

const READERS: Readonly<
  Record<string, { bytes: number; read: (v: DataView, at: number, le: boolean) => number }>
> = {
  int8: { bytes: 1, read: (v, at) => v.getInt8(at) },
  uint8: { bytes: 1, read: (v, at) => v.getUint8(at) },
  int16: { bytes: 2, read: (v, at, le) => v.getInt16(at, le) },
  uint16: { bytes: 2, read: (v, at, le) => v.getUint16(at, le) },
  int32: { bytes: 4, read: (v, at, le) => v.getInt32(at, le) },
  uint32: { bytes: 4, read: (v, at, le) => v.getUint32(at, le) },
  float: { bytes: 4, read: (v, at, le) => v.getFloat32(at, le) },
  double: { bytes: 8, read: (v, at, le) => v.getFloat64(at, le) },
}

/** Sign of each axis of a space in RAS+. */
const SPACES: Readonly<Record<string, readonly [number, number, number]>> = {
  'right-anterior-superior': [1, 1, 1],
  RAS: [1, 1, 1],
  'left-anterior-superior': [-1, 1, 1],
  LAS: [-1, 1, 1],
  'left-posterior-superior': [-1, -1, 1],
  LPS: [-1, -1, 1],
}

/** The magic of an NRRD file. */
export const isNrrd = (bytes: Uint8Array): boolean =>
  [0x4e, 0x52, 0x52, 0x44, 0x30].every((b, i) => bytes[i] === b)

/**
 * Reads an NRRD file of three axes with its data inline, raw or gzipped: integers up to 32 bits and floats.
 *
 * @throws DataError naming the file for what is not read or does not fit
 */
export async function readNrrd(bytes: Uint8Array, name: string): Promise<Volume> {
  const { header, encoding, dataStart } = await parseHeader(bytes, name)
  const sizes = sizesOf(header, name)
  const reader = readerOf(header, name)
  if (header.dataFile)
    throw new DataError(`${name}: its data lie in another file; save header and data in one .nrrd file`)
  if (header.lineSkip || header.byteSkip)
    throw new DataError(`${name}: an NRRD file with line skip or byte skip is not read; save it anew`)
  const data = await unpack(bytes.subarray(dataStart), encoding, name)
  refuseTruncated(header, sizes, data.byteLength, name)
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  const little = header.endian !== 'big'
  const values = new Float32Array(sizes[0] * sizes[1] * sizes[2])
  for (let i = 0; i < values.length; i++) values[i] = reader.read(view, i * reader.bytes, little)
  return orientVolume(values, sizes, affineOf(header), name)
}

function readerOf({ type }: Header, name: string): (typeof READERS)[string] {
  const reader = READERS[type]
  if (reader) return reader
  throw new DataError(`${name}: NRRD samples of type ${type} are not read; save them as int16 or float`)
}

function refuseTruncated(header: Header, sizes: readonly number[], length: number, name: string): void {
  const wanted = sizes.reduce((n, size) => n * size, readerOf(header, name).bytes)
  if (length >= wanted) return
  throw new DataError(
    `${name}: truncated: ${sizes.join('×')} samples of ${header.type} need ${wanted} bytes, it has ${length}`,
  )
}

/**
 * The grid of an NRRD file from its beginning.
 *
 * @param head the header at least
 * @param length bytes of the whole file
 * @throws DataError as `readNrrd`
 */
export async function nrrdGrid(head: Uint8Array, name: string, length: number): Promise<Grid> {
  const { header, encoding, dataStart } = await parseHeader(head, name)
  const sizes = sizesOf(header, name)
  if (ENCODINGS[encoding] === 'raw' && !header.dataFile)
    refuseTruncated(header, sizes, length - dataStart, name)
  return orientGrid(sizes, affineOf(header), name)
}

function sizesOf({ sizes }: Header, name: string): [number, number, number] {
  const [x, y, z, ...more] = sizes
  if (more.length > 0 || x === undefined || y === undefined || z === undefined) {
    throw new DataError(
      `${name}: an NRRD file of ${sizes.length} axes (${sizes.join('×')}), one volume of 3 is wanted`,
    )
  }
  if (sizes.some((n) => !(n >= 1)))
    throw new DataError(`${name}: its header gives sizes ${sizes.join(', ')}; the file is damaged`)
  return [x, y, z]
}

function affineOf({ space, spaceDirections, spaceOrigin, spacings }: Header): Affine {
  // Without a space the file tells voxel sizes at most; its axes are taken as the patient's.
  const sign = SPACES[space ?? ''] ?? SPACES.LPS!
  const direction = (axis: number): readonly number[] => {
    const given = spaceDirections?.[axis]
    if (given) return given
    const size = Number.isFinite(spacings?.[axis]) ? spacings![axis]! : 1
    return [0, 1, 2].map((i) => (i === axis ? size : 0))
  }
  const origin = spaceOrigin ?? [0, 0, 0]
  return [
    ...[0, 1, 2].map((r) => [
      ...[0, 1, 2].map((axis) => direction(axis)[r]! * sign[r]!),
      origin[r]! * sign[r]!,
    ]),
    [0, 0, 0, 1],
  ]
}

/** Of the field `encoding`, as the format spells it. */
const ENCODINGS: Readonly<Record<string, 'raw' | 'gzip'>> = { raw: 'raw', gzip: 'gzip', gz: 'gzip' }

/**
 * The header by nrrd-js, and where the data begin. The library would read raw data too, in an order of its own, and needs all of
 * them for that; so it gets the header alone, under an encoding that it leaves to others.
 */
async function parseHeader(
  bytes: Uint8Array,
  name: string,
): Promise<{ header: Header; encoding: string; dataStart: number }> {
  if (!isNrrd(bytes)) throw new DataError(`${name}: is no NRRD file`)
  const nrrd = await loadNrrd()
  const { text, dataStart } = headerText(bytes)
  const encoding = /^encoding: *(\S+)/im.exec(text)?.[1]?.toLowerCase() ?? ''
  const handed = text.replace(/^encoding:.*$/im, 'encoding: gzip')
  try {
    const buffer = new TextEncoder().encode(`${handed}\n\n\0`).buffer
    return { header: quietly(() => nrrd.parse(buffer as ArrayBuffer) as Header), encoding, dataStart }
  } catch (cause) {
    throw new DataError(
      `${name}: its NRRD header cannot be read (${(cause as Error).message}); the file is damaged`,
      { cause },
    )
  }
}

/** All before the first empty line; the whole file where there is none. */
function headerText(bytes: Uint8Array): { text: string; dataStart: number } {
  for (let i = 1; i < bytes.length; i++) {
    if (bytes[i] !== 0x0a) continue
    const before = bytes[i - 1] === 0x0d ? i - 2 : i - 1
    if (bytes[before] !== 0x0a) continue
    return { text: Buffer.from(bytes.subarray(0, before)).toString('latin1'), dataStart: i + 1 }
  }
  return { text: Buffer.from(bytes).toString('latin1'), dataStart: bytes.length }
}

/** nrrd-js warns on the console of fields and encodings that it passes over; nothing else runs meanwhile. */
function quietly<R>(body: () => R): R {
  const { warn } = console
  console.warn = () => undefined
  try {
    return body()
  } finally {
    console.warn = warn
  }
}

async function unpack(bytes: Uint8Array, encoding: string, name: string): Promise<Uint8Array> {
  const kind = ENCODINGS[encoding]
  if (kind === undefined)
    throw new DataError(`${name}: NRRD encoding ${encoding} is not read; save it as raw or gzip`)
  if (kind === 'raw') return bytes
  try {
    return await promisify(gunzip)(bytes)
  } catch (cause) {
    throw new DataError(`${name}: its data cannot be unpacked (${(cause as Error).message}); copy it again`, {
      cause,
    })
  }
}

async function loadNrrd(): Promise<{ parse(buffer: ArrayBuffer): unknown }> {
  try {
    return ((await import('nrrd-js')) as { default: { parse(buffer: ArrayBuffer): unknown } }).default
  } catch (cause) {
    throw new DataError('reading NRRD needs the package nrrd-js: run `npm install nrrd-js`', { cause })
  }
}
