import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { type Affine, type Grid, orientGrid, orientVolume, type Volume } from '../../data/volume.ts'
import { DataError } from '../../gpu/errors.ts'

/** What is read of a header; nifti-reader-js parses the bytes. */
interface Header {
  readonly dims: readonly number[]
  readonly pixDims: readonly number[]
  readonly datatypeCode: number
  readonly vox_offset: number
  readonly scl_slope: number
  readonly scl_inter: number
  readonly xyzt_units: number
  readonly qform_code: number
  readonly sform_code: number
  readonly quatern_b: number
  readonly quatern_c: number
  readonly quatern_d: number
  readonly qoffset_x: number
  readonly qoffset_y: number
  readonly qoffset_z: number
  readonly littleEndian: boolean
}

type Read = (view: DataView, at: number, little: boolean) => number

/** Codes of the standard; complex and colour types are no scans, 128-bit floats no type of JavaScript. */
const TYPES: Readonly<Record<number, { readonly bytes: number; readonly read: Read }>> = {
  2: { bytes: 1, read: (v, at) => v.getUint8(at) },
  4: { bytes: 2, read: (v, at, le) => v.getInt16(at, le) },
  8: { bytes: 4, read: (v, at, le) => v.getInt32(at, le) },
  16: { bytes: 4, read: (v, at, le) => v.getFloat32(at, le) },
  64: { bytes: 8, read: (v, at, le) => v.getFloat64(at, le) },
  256: { bytes: 1, read: (v, at) => v.getInt8(at) },
  512: { bytes: 2, read: (v, at, le) => v.getUint16(at, le) },
  768: { bytes: 4, read: (v, at, le) => v.getUint32(at, le) },
  1024: { bytes: 8, read: (v, at, le) => Number(v.getBigInt64(at, le)) },
  1280: { bytes: 8, read: (v, at, le) => Number(v.getBigUint64(at, le)) },
}

const TYPE_NAMES: Readonly<Record<number, string>> = {
  1: 'binary',
  32: 'complex64',
  128: 'RGB24',
  1536: 'float128',
  1792: 'complex128',
  2048: 'complex256',
  2304: 'RGBA32',
}

/** mm a unit of the header, by the low three bits of `xyzt_units`: unknown counts as mm. */
const UNITS: Readonly<Record<number, number>> = { 0: 1, 1: 1000, 2: 1, 3: 0.001 }

/**
 * Reads a NIfTI-1 or NIfTI-2 file (.nii, gzipped or not): all integer and float types up to 64 bits, either byte
 * order, scl_slope and scl_inter applied. The affine is the sform where there is one, else the qform, else the
 * voxel sizes with the origin at voxel 0.
 *
 * @param bytes the file
 * @param name for messages
 * @throws DataError naming the file when it is truncated, no NIfTI, of a type that is no scan, or not 3-D
 */
export async function readNifti(bytes: Uint8Array, name: string): Promise<Volume> {
  const file = await inflate(bytes, name)
  const header = await readHeader(file, name)
  const shape = shapeOf(header, name)
  const type = typeOf(header, name)
  refuseTruncated(header, shape, file.byteLength, name)
  const count = shape[0] * shape[1] * shape[2]
  const view = new DataView(file, header.vox_offset)
  // A slope of 0 means: no scaling. So say the standard, and files with NaN there.
  const scaled = Number.isFinite(header.scl_slope) && header.scl_slope !== 0
  const slope = scaled ? header.scl_slope : 1
  const inter = scaled && Number.isFinite(header.scl_inter) ? header.scl_inter : 0
  const values = new Float32Array(count)
  for (let i = 0; i < count; i++)
    values[i] = type.read(view, i * type.bytes, header.littleEndian) * slope + inter
  return orientVolume(values, shape, affineOf(header, sformRows(file, header.littleEndian)), name)
}

function typeOf({ datatypeCode }: Header, name: string): (typeof TYPES)[number] {
  const type = TYPES[datatypeCode]
  if (type) return type
  throw new DataError(
    `${name}: voxels of NIfTI type ${TYPE_NAMES[datatypeCode] ?? `code ${datatypeCode}`} are not read; ` +
      'save it with an integer or float type of up to 64 bits',
  )
}

function refuseTruncated(header: Header, shape: readonly number[], length: number, name: string): void {
  const { vox_offset: offset } = header
  const { bytes } = typeOf(header, name)
  const wanted = offset + shape.reduce((n, size) => n * size, bytes)
  if (offset >= 0 && wanted <= length) return
  throw new DataError(
    `${name}: truncated: ${shape.join('×')} voxels of ${bytes} bytes from byte ${offset} on need ` +
      `${wanted} bytes, the file has ${length}; copy it again from its source`,
  )
}

/**
 * The grid of a NIfTI file from its beginning.
 *
 * @param head unpacked, the header at least
 * @param length bytes of the whole file, where it is not packed
 * @throws DataError as `readNifti`
 */
export async function niftiGrid(head: Uint8Array, name: string, length?: number): Promise<Grid> {
  const file = ownBuffer(head)
  const header = await readHeader(file, name)
  const shape = shapeOf(header, name)
  if (length !== undefined) refuseTruncated(header, shape, length, name)
  return orientGrid(shape, affineOf(header, sformRows(file, header.littleEndian)), name)
}

function shapeOf({ dims }: Header, name: string): [number, number, number] {
  const [rank = 0] = dims
  const sizes = Array.from({ length: Math.max(0, rank) }, (_, i) => dims[i + 1]!)
  if (rank < 1 || rank > 7 || sizes.some((n) => !(n >= 1)))
    throw new DataError(`${name}: its header gives sizes ${dims.slice(0, 8).join(', ')}; the file is damaged`)
  if (sizes.slice(3).some((n) => n > 1)) {
    throw new DataError(
      `${name}: it has ${sizes.length} axes (${sizes.join('×')}), one volume of 3 is wanted; split it by time or channel`,
    )
  }
  return [sizes[0]!, sizes[1] ?? 1, sizes[2] ?? 1]
}

function affineOf(h: Header, sform: readonly number[][]): Affine {
  const unit = UNITS[h.xyzt_units & 7] ?? 1
  const mm = (rows: readonly number[][]): Affine => [...rows.map((r) => r.map((v) => v * unit)), [0, 0, 0, 1]]
  if (h.sform_code > 0) return mm(sform)
  const [, dx = 1, dy = 1, dz = 1] = h.pixDims.map((v) => (Math.abs(v) > 0 ? Math.abs(v) : 1))
  if (h.qform_code > 0) {
    const { quatern_b: b, quatern_c: c, quatern_d: d } = h
    const a = Math.sqrt(Math.max(0, 1 - b * b - c * c - d * d))
    const k = (h.pixDims[0]! < 0 ? -1 : 1) * dz
    return mm([
      [(a * a + b * b - c * c - d * d) * dx, 2 * (b * c - a * d) * dy, 2 * (b * d + a * c) * k, h.qoffset_x],
      [2 * (b * c + a * d) * dx, (a * a + c * c - b * b - d * d) * dy, 2 * (c * d - a * b) * k, h.qoffset_y],
      [2 * (b * d - a * c) * dx, 2 * (c * d + a * b) * dy, (a * a + d * d - c * c - b * b) * k, h.qoffset_z],
    ])
  }
  return mm([
    [dx, 0, 0, 0],
    [0, dy, 0, 0],
    [0, 0, dz, 0],
  ])
}

/** srow_x, srow_y, srow_z: nifti-reader-js keeps them only where they win by its own rule. */
function sformRows(file: ArrayBuffer, little: boolean): number[][] {
  const view = new DataView(file)
  const second = view.getInt32(0, little) === 540
  return [0, 1, 2].map((row) =>
    [0, 1, 2, 3].map((c) =>
      second
        ? view.getFloat64(400 + (row * 4 + c) * 8, little)
        : view.getFloat32(280 + (row * 4 + c) * 4, little),
    ),
  )
}

async function readHeader(file: ArrayBuffer, name: string): Promise<Header> {
  const nifti = await loadNifti()
  if (!nifti.isNIFTI(file)) {
    const why = nifti.isNIFTI(file, true)
      ? 'is the header of a .hdr/.img pair; convert the pair to one .nii file'
      : 'is no NIfTI file; the first bytes are not those of version 1 or 2'
    throw new DataError(`${name}: ${why}`)
  }
  try {
    // The header alone: of the extensions behind it nothing is used, and a damaged one would end the reading.
    const view = new DataView(file)
    const second = [view.getInt32(0, true), view.getInt32(0)].includes(540)
    return nifti.readHeader(file.slice(0, second ? 544 : 352)) as unknown as Header
  } catch (cause) {
    throw new DataError(
      `${name}: its NIfTI header cannot be read (${(cause as Error).message}); the file is damaged`,
      {
        cause,
      },
    )
  }
}

const ownBuffer = (b: Uint8Array): ArrayBuffer =>
  b.buffer.slice(b.byteOffset, b.byteOffset + b.byteLength) as ArrayBuffer

async function inflate(bytes: Uint8Array, name: string): Promise<ArrayBuffer> {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return ownBuffer(bytes)
  try {
    return ownBuffer(await promisify(gunzip)(bytes))
  } catch (cause) {
    throw new DataError(
      `${name}: the gzip stream cannot be unpacked (${(cause as Error).message}); copy the file again from its source`,
      { cause },
    )
  }
}

async function loadNifti(): Promise<typeof import('nifti-reader-js')> {
  try {
    return await import('nifti-reader-js')
  } catch (cause) {
    throw new DataError(
      'reading NIfTI needs the package nifti-reader-js: run `npm install nifti-reader-js`',
      { cause },
    )
  }
}
