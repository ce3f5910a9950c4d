import { readdirSync, readFileSync } from 'node:fs'
import { constants, homedir } from 'node:os'
import { basename, join } from 'node:path'

/**
 * The Vulkan side of Linux: drivers announce themselves by JSON manifests, and the loader `libvulkan.so.1`
 * opens those that `VK_DRIVER_FILES` (or the older `VK_ICD_FILENAMES`) names, else all it finds.
 */

type DriverKind = 'hardware' | 'lavapipe' | 'swiftshader'

export interface VulkanDriver {
  readonly kind: DriverKind
  /** Path of its manifest. */
  readonly manifest: string
  /** The manifest's name without `_icd.json`, such as `lvp` or `nvidia`. */
  readonly name: string
}

type Env = Readonly<Record<string, string | undefined>>

const list = (value: string | undefined): string[] => (value ?? '').split(':').filter((s) => s !== '')

function filesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort()
  } catch {
    return []
  }
}

/** The folders in which the loader looks for manifests, in its order. */
function manifestFolders(env: Env): string[] {
  const home = env.HOME ?? homedir()
  const config = [env.XDG_CONFIG_HOME ?? join(home, '.config'), ...list(env.XDG_CONFIG_DIRS ?? '/etc/xdg')]
  const data = [
    env.XDG_DATA_HOME ?? join(home, '.local/share'),
    ...list(env.XDG_DATA_DIRS ?? '/usr/local/share:/usr/share'),
  ]
  return [...config, '/usr/local/etc', '/etc', ...data].map((folder) => join(folder, 'vulkan/icd.d'))
}

/** What kind of driver a manifest announces, by its file name. */
function driverKind(manifest: string): DriverKind {
  const file = basename(manifest)
  if (/^(lvp|lavapipe)/.test(file)) return 'lavapipe'
  return /swiftshader/.test(file) ? 'swiftshader' : 'hardware'
}

/** Built for this processor: manifests of multi-arch installs carry the architecture in their name. */
function fitsProcessor(manifest: string): boolean {
  const arch = /\.(x86_64|i[3-6]86|aarch64|armv\d\w*|riscv64|ppc64le)\.json$/.exec(manifest)?.[1]
  const own: Record<string, string> = { x64: 'x86_64', arm64: 'aarch64' }
  return arch === undefined || arch === (own[process.arch] ?? arch)
}

/** The drivers that the Vulkan loader would open, in its order; those the user named, where he named any. */
export function installedDrivers(env: Env = process.env): VulkanDriver[] {
  const named = list(env.VK_DRIVER_FILES ?? env.VK_ICD_FILENAMES)
  const found =
    named.length > 0
      ? named.flatMap((path) => (path.endsWith('.json') ? [path] : filesIn(path).map((f) => join(path, f))))
      : [
          ...list(env.VK_ADD_DRIVER_FILES),
          ...manifestFolders(env).flatMap((folder) => filesIn(folder).map((file) => join(folder, file))),
        ]
  return [...new Set(found)].filter(readable).filter(fitsProcessor).map(describe)
}

function readable(manifest: string): boolean {
  if (!manifest.endsWith('.json')) return false
  try {
    return 'ICD' in JSON.parse(readFileSync(manifest, 'utf8'))
  } catch {
    return false
  }
}

function describe(manifest: string): VulkanDriver {
  const name = basename(manifest)
    .replace(/\.json$/, '')
    .replace(/[._]icd(\..*)?$|\.(x86_64|aarch64)$/g, '')
  return { kind: driverKind(manifest), manifest, name: name.replace(/_icd$/, '') }
}

/** Device files of graphics processors under `/dev`; none means that no hardware driver has anything to drive. */
export function gpuDeviceFiles(dev = '/dev'): string[] {
  const nodes = filesIn(dev).filter((f) => /^(nvidia\d|nvhost-gpu|nvgpu|dxg$|kfd$|mali|kgsl|pvr)/.test(f))
  const render = filesIn(join(dev, 'dri')).filter((f) => f.startsWith('renderD'))
  return [...nodes.map((f) => join(dev, f)), ...render.map((f) => join(dev, 'dri', f))]
}

/** Keeps a library in the process when the handle that opened it is closed (Linux, dlfcn.h). */
const RTLD_NODELETE = 0x1000

/**
 * Opens the Vulkan loader at `path` for good. Dawn asks the linker for `libvulkan.so.1` by that name, and the
 * linker answers with a library of that name which is open already; so nothing is written beside Dawn.
 * Node then complains that the library is no module of its own, which is true and harmless.
 * Returns undefined where the loader opened, else the linker's complaint.
 */
export function openLoader(path: string): string | undefined {
  try {
    process.dlopen({ exports: {} }, path, constants.dlopen.RTLD_NOW | RTLD_NODELETE)
    return undefined
  } catch (error) {
    const message = (error as Error).message
    return message.includes('did not self-register') ? undefined : message
  }
}

/** Opens the machine's own `libvulkan.so.1` for good; false where there is none that fits. */
export const openSystemLoader = (): boolean => openLoader('libvulkan.so.1') === undefined
