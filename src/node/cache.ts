import { lstatSync, mkdirSync, mkdtempSync } from 'node:fs'
import { access, mkdtemp, rename, rm } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'

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

function usable({ folder, trusted }: Place): boolean {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    // access(2) says yes to root on a read-only file system; making a folder does not.
    const probe = mkdtempSync(join(folder, '.probe-'))
    rm(probe, { recursive: true, force: true }).catch(() => {})
    return trusted || isPrivate(folder)
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
 * else a new temp folder for this process alone. Throws what `mkdtemp` throws where even that fails.
 */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  return places(env).find(usable)?.folder ?? mkdtempSync(join(tmpdir(), 'fovea-'))
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
