import { open } from 'node:fs/promises'
import { constants, gunzipSync } from 'node:zlib'
import { DataError } from '../../gpu/errors.ts'

/** Bytes that hold any header. */
const HEAD = 65536

/**
 * Voxels of a NIfTI or NRRD file along the axes as it stores them, from its header alone.
 *
 * @throws DataError naming the file when it cannot be read or its header gives no sizes
 */
export async function readVolumeSize(path: string): Promise<number[]> {
  const bytes = await headOf(path)
  const sizes = bytes.toString('latin1', 0, 4) === 'NRRD' ? nrrdSizes(bytes) : niftiSizes(bytes)
  if (sizes.length === 0 || sizes.some((n) => !(n >= 1)))
    throw new DataError(`${path}: its header gives no sizes; the file is damaged, copy it again`)
  return sizes
}

async function headOf(path: string): Promise<Buffer> {
  try {
    const file = await open(path)
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD), 0, HEAD, 0)
      const head = buffer.subarray(0, bytesRead)
      // What was read of a gzip stream ends anywhere.
      return head[0] === 0x1f && head[1] === 0x8b
        ? gunzipSync(head, { finishFlush: constants.Z_SYNC_FLUSH })
        : head
    } finally {
      await file.close()
    }
  } catch (cause) {
    throw new DataError(`${path}: cannot be read (${(cause as Error).message})`, { cause })
  }
}

function nrrdSizes(bytes: Buffer): number[] {
  const line = /^sizes: *([\d ]+)\r?$/m.exec(bytes.toString('latin1'))
  return line ? line[1]!.trim().split(/ +/).map(Number) : []
}

/** `dim` of NIfTI-1 (int16 from byte 40 on) and NIfTI-2 (int64 from byte 16 on), either byte order. */
function niftiSizes(bytes: Buffer): number[] {
  if (bytes.length < 348) return []
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const little = [348, 540].includes(view.getInt32(0, true))
  const version = view.getInt32(0, little)
  const dim =
    version === 348
      ? (i: number) => view.getInt16(40 + 2 * i, little)
      : version === 540
        ? (i: number) => Number(view.getBigInt64(16 + 8 * i, little))
        : () => 0
  return Array.from({ length: Math.min(7, Math.max(0, dim(0))) }, (_, i) => dim(i + 1))
}
