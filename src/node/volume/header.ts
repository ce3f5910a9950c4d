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
 * @throws DataError naming the file when it cannot be read, or its header tells no volume of three axes
 */
export async function readVolumeGrid(path: string): Promise<Grid> {
  const head = await headOf(path)
  return isNrrd(head) ? nrrdGrid(head, path) : niftiGrid(head, path)
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
    throw new DataError(
      `${path}: cannot be read (${(cause as Error).message}); copy it again from its source`,
      {
        cause,
      },
    )
  }
}
