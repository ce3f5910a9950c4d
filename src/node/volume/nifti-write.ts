import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { toStoredOrder, type Volume } from '../../data/volume.ts'
import { DataError } from '../../gpu/errors.ts'
import { writeFileAtomic } from '../atomic.ts'

/** Options of `writeVolume`. */
export interface WriteVolumeOptions {
  /** Voxel type of the file. Default: uint8 where all values are whole numbers of 0 to 255 (masks), else float32. */
  readonly type?: 'uint8' | 'int16' | 'float32'
}

const TYPES = {
  uint8: { code: 2, array: Uint8Array, low: 0, high: 255 },
  int16: { code: 4, array: Int16Array, low: -32768, high: 32767 },
  float32: { code: 16, array: Float32Array, low: -Infinity, high: Infinity },
} as const

const HEADER = 348
const OFFSET = 352

/**
 * Writes a volume as NIfTI-1, gzipped where the name ends in .gz, whole or not at all. A volume that was read
 * from a file and keeps its `stored` grid is written on that grid: same axis order, sizes and affine as the input,
 * so that a mask lies voxel on voxel over its image. Without it, in the order of `Volume`.
 *
 * @param path file ending in .nii or .nii.gz; missing folders are made
 * @param volume `{ ...image, data: mask }` writes a mask with the image's geometry
 * @throws DataError for another ending, data that do not fit the shape or the type, or when it cannot be written
 */
export async function writeVolume(
  path: string,
  volume: Volume,
  options: WriteVolumeOptions = {},
): Promise<void> {
  if (!/\.nii(\.gz)?$/i.test(path)) throw new DataError(`${path}: a volume is written as .nii or .nii.gz`)
  const [depth, height, width] = volume.shape
  if (volume.data.length !== depth * height * width) {
    throw new DataError(
      `${path}: ${volume.data.length} values do not fill ${depth}×${height}×${width} voxels; nothing was written`,
    )
  }
  const { stored } = volume
  const shape = stored?.shape ?? [width, height, depth]
  const values = stored ? toStoredOrder(volume.data, stored) : volume.data
  const type = TYPES[options.type ?? smallestType(values)]
  const outside = values.findIndex(
    (v) => type !== TYPES.float32 && !(v >= type.low && v <= type.high && v % 1 === 0),
  )
  if (outside >= 0) {
    throw new DataError(
      `${path}: the value ${values[outside]} does not fit ${options.type}; write float32. Nothing was written`,
    )
  }
  const affine = stored?.affine ?? volume.affine
  const voxels = type.array.from(values)
  const bytes = new Uint8Array(OFFSET + voxels.byteLength)
  bytes.set(header(shape, affine, type.code, voxels.BYTES_PER_ELEMENT * 8))
  bytes.set(new Uint8Array(voxels.buffer), OFFSET)
  await writeFileAtomic(path, /\.gz$/i.test(path) ? await promisify(gzip)(bytes) : bytes)
}

const smallestType = (values: Float32Array): keyof typeof TYPES =>
  values.every((v) => v >= 0 && v <= 255 && v % 1 === 0) ? 'uint8' : 'float32'

/** A NIfTI-1 header, little endian, with the affine as sform. Offsets are those of nifti1.h. */
function header(
  shape: readonly [number, number, number],
  affine: Volume['affine'],
  code: number,
  bits: number,
): Uint8Array {
  const view = new DataView(new ArrayBuffer(HEADER))
  const shorts = (at: number, list: readonly number[]) =>
    list.forEach((v, i) => {
      view.setInt16(at + 2 * i, v, true)
    })
  const floats = (at: number, list: readonly number[]) =>
    list.forEach((v, i) => {
      view.setFloat32(at + 4 * i, v, true)
    })
  const size = (axis: number) => Math.hypot(affine[0]![axis]!, affine[1]![axis]!, affine[2]![axis]!)
  view.setInt32(0, HEADER, true)
  shorts(40, [3, ...shape, 1, 1, 1, 1])
  shorts(70, [code, bits])
  floats(76, [1, size(0), size(1), size(2), 0, 0, 0, 0])
  floats(108, [OFFSET, 1, 0])
  view.setUint8(123, 2) // millimetres
  shorts(252, [0, 2]) // no qform; the sform is aligned to the scanner
  for (const row of [0, 1, 2]) floats(280 + 16 * row, affine[row]!)
  new Uint8Array(view.buffer).set([0x6e, 0x2b, 0x31, 0], 344) // "n+1"
  return new Uint8Array(view.buffer)
}
