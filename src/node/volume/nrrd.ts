import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { type Affine, orientVolume, type Volume } from '../../data/volume.ts'
import { DataError } from '../../gpu/errors.ts'

/** The fields that are used of what nrrd-js parses; it brings no types. */
interface Header {
  readonly type: string
  readonly endian?: 'little' | 'big'
  readonly encoding: string
  readonly sizes: readonly number[]
  readonly space?: string
  readonly spaceDirections?: readonly (readonly number[] | null)[]
  readonly spaceOrigin?: readonly number[]
  readonly spacings?: readonly number[]
  readonly buffer?: ArrayBuffer
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
  const header = await parseHeader(bytes, name)
  const { sizes, encoding, type } = header
  if (sizes.length !== 3) {
    throw new DataError(
      `${name}: an NRRD file of ${sizes.length} axes (${sizes.join('×')}), one volume of 3 is wanted`,
    )
  }
  const reader = READERS[type]
  if (!reader)
    throw new DataError(`${name}: NRRD samples of type ${type} are not read; save them as int16 or float`)
  if (header.dataFile || !header.buffer)
    throw new DataError(`${name}: its data lie in another file; save header and data in one .nrrd file`)
  const data = await unpack(header.buffer, encoding, name)
  const [nx, ny, nz] = sizes as [number, number, number]
  const count = nx * ny * nz
  if (data.byteLength < count * reader.bytes) {
    throw new DataError(
      `${name}: truncated: ${sizes.join('×')} samples of ${type} need ${count * reader.bytes} bytes, it has ${data.byteLength}`,
    )
  }
  const view = new DataView(data)
  const little = header.endian !== 'big'
  const values = new Float32Array(count)
  for (let i = 0; i < count; i++) values[i] = reader.read(view, i * reader.bytes, little)
  return orientVolume(values, [nx, ny, nz], affineOf(header), name)
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

async function parseHeader(bytes: Uint8Array, name: string): Promise<Header> {
  if (!isNrrd(bytes)) throw new DataError(`${name}: is no NRRD file`)
  const nrrd = await loadNrrd()
  try {
    const copy = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength)
    return nrrd.parse(copy as ArrayBuffer) as Header
  } catch (cause) {
    throw new DataError(
      `${name}: its NRRD header cannot be read (${(cause as Error).message}); the file is damaged`,
      {
        cause,
      },
    )
  }
}

async function unpack(buffer: ArrayBuffer, encoding: string, name: string): Promise<ArrayBuffer> {
  if (encoding === 'raw') return buffer
  if (encoding !== 'gzip')
    throw new DataError(`${name}: NRRD encoding ${encoding} is not read; save it as raw or gzip`)
  try {
    const data = await promisify(gunzip)(new Uint8Array(buffer))
    return data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength) as ArrayBuffer
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
