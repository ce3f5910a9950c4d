import { randomUUID } from 'node:crypto'
import { lstatSync, mkdirSync, mkdtempSync, statSync } from 'node:fs'
import { access, mkdtemp, rename, rm } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

interface Place {
  readonly folder: string
  readonly trusted: boolean
}

/** Ours alone and writable: a folder that others may write to could hand us a foreign driver. */
function isPrivate(folder: string): boolean {
  const stat = lstatSync(folder)
  if (!stat.isDirectory()) return false
  return process.getuid === undefined || (stat.uid === process.getuid() && (stat.mode & 0o022) === 0)
}

const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false

/** Makes a folder and its missing parents for the user alone, at once and without Node's `recursive`: see `makeFolder`. */
function makePrivate(folder: string): void {
  if (isFolder(folder)) return
  if (dirname(folder) !== folder) makePrivate(dirname(folder))
  try {
    mkdirSync(folder, { mode: 0o700 })
  } catch (cause) {
    // Another process may have made it meanwhile.
    if (!isFolder(folder)) throw cause
  }
}

/** Whether files can be made in a folder, which is made if it is not there. */
export function isWritable(folder: string): boolean {
  try {
    makePrivate(folder)
    // access(2) says yes to root on a read-only file system; making a folder does not.
    const probe = mkdtempSync(join(folder, '.probe-'))
    rm(probe, { recursive: true, force: true }).catch(() => {})
    return true
  } catch {
    return false
  }
}

/** `isPrivate` may throw of a folder that was taken away meanwhile. */
function usable({ folder, trusted }: Place): boolean {
  try {
    return isWritable(folder) && (trusted || isPrivate(folder))
  } catch {
    return false
  }
}

/** Where fovea may keep files, best first. A folder that the user names himself is trusted as it is. */
function places(env: NodeJS.ProcessEnv): Place[] {
  const own = env.FOVEA_CACHE ? [{ folder: env.FOVEA_CACHE, trusted: true }] : []
  const xdg = env.XDG_CACHE_HOME ? [join(env.XDG_CACHE_HOME, 'fovea')] : []
  const user = process.getuid?.() ?? 'user'
  const rest = [...xdg, join(homedir(), '.cache', 'fovea'), join(tmpdir(), `fovea-${user}`)]
  return [...own, ...rest.map((folder) => ({ folder, trusted: false }))]
}

/**
 * The folder for what fovea unpacks or remembers on this machine: the first of `FOVEA_CACHE`,
 * `XDG_CACHE_HOME/fovea`, `~/.cache/fovea` and `TMPDIR/fovea-UID` that is writable and nobody else's;
 * else a new temp folder for this process alone. Where not even that can be made it is a folder that is not there: nothing
 * is found in it, and what is written to it says why it cannot be.
 */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  const place = places(env).find(usable)
  if (place) return place.folder
  try {
    return mkdtempSync(join(tmpdir(), 'fovea-'))
  } catch {
    // A name that nobody else can have put a driver under.
    return join(tmpdir(), `fovea-${randomUUID()}`)
  }
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )

/**
 * Makes `target` whole or not at all: `fill` writes into a fresh folder beside it, which is then renamed.
 * Any number of processes may do this at once; the first to finish wins and the others take its result.
 * Passes on what `fill` throws.
 */
export async function placeFolder(target: string, fill: (folder: string) => Promise<void>): Promise<string> {
  if (await exists(target)) return target
  const draft = await mkdtemp(`${target}.partial-`)
  try {
    await fill(draft)
    await rename(draft, target)
  } catch (error) {
    await rm(draft, { recursive: true, force: true })
    if (!(await exists(target))) throw error
  }
  return target
}
