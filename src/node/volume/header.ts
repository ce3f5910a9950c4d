import { open } from 'node:fs/promises'
import { constants, gunzipSync } from 'node:zlib'
import type { Grid } from '../../data/volume.ts'
import { DataError } from '../../gpu/errors.ts'
import { niftiGrid } from './nifti.ts'
import { isNrrd, nrrdGrid } from './nrrd.ts'

/** Bytes that hold any header. */
const HEAD = 65536

/**
 * The grid of a NIfTI or NRRD file from its header alone, parsed by the libraries that read the file.
 *
 * @throws DataError naming the file when it cannot be read, its header tells no volume of three axes, or a file that is not
 *   packed is shorter than its header says
 */
export async function readVolumeGrid(path: string): Promise<Grid> {
  const { head, length, packed } = await headOf(path)
  return isNrrd(head) ? nrrdGrid(head, path, length) : niftiGrid(head, path, packed ? undefined : length)
}

/** The beginning of a file, unpacked. */
async function headOf(path: string): Promise<{ head: Buffer; length: number; packed: boolean }> {
  try {
    const file = await open(path)
    try {
      const { size: length } = await file.stat()
      const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD), 0, HEAD, 0)
      const head = buffer.subarray(0, bytesRead)
      if (head[0] !== 0x1f || head[1] !== 0x8b) return { head, length, packed: false }
      // What was read of a gzip stream ends anywhere.
      return { head: gunzipSync(head, { finishFlush: constants.Z_SYNC_FLUSH }), length, packed: true }
    } finally {
      await file.close()
    }
  } catch (cause) {
    throw new DataError(
      `${path}: cannot be read (${(cause as Error).message}); copy it again from its source`,
      { cause },
    )
  }
}
