import { type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { DataError } from '../gpu/errors.ts'

let serial = 0

const isFolder = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  )

/**
 * Makes a folder and its missing parents. Node's own `recursive` does not return where a parent exists and refuses, as
 * /proc does (Node 20).
 */
export async function makeFolder(path: string): Promise<void> {
  if (await isFolder(path)) return
  if (dirname(path) !== path) await makeFolder(dirname(path))
  await mkdir(path).catch(async (cause: Error) => {
    // Another process may have made it meanwhile.
    if (!(await isFolder(path))) throw cause
  })
}

/**
 * Writes a file whole or not at all: into a temporary file beside it, flushed to the disk, then renamed over
 * `path`. A crash, a full disk or Ctrl-C leaves the earlier file as it was. Missing parent folders are made.
 *
 * @param path file to write; an existing one is replaced
 * @param data bytes, or text written as UTF-8
 * @throws DataError naming the file and the system's reason
 */
export async function writeFileAtomic(path: string, data: Uint8Array | string): Promise<void> {
  const folder = dirname(path)
  const temporary = join(folder, `.${basename(path)}.${process.pid}.${serial++}.tmp`)
  let file: FileHandle | undefined
  try {
    await makeFolder(folder)
    file = await open(temporary, 'wx')
    await file.writeFile(data)
    await file.sync()
    await file.close()
    file = undefined
    await rename(temporary, path)
  } catch (cause) {
    await file?.close().catch(() => undefined)
    await rm(temporary, { force: true }).catch(() => undefined)
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new DataError(`cannot write ${path}: ${reason}; nothing was changed`, { cause })
  }
  await syncFolder(folder)
}

/** Makes the rename itself durable; some platforms cannot open a folder, and then it is left to them. */
async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, 'r')
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  } catch {
    // Windows has no such call.
  }
}
