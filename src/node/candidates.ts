import { accessSync, constants } from 'node:fs'
import { type AdapterKind, openDawn } from './dawn.ts'
import { findSwiftShader, unpackSwiftShader } from './swiftshader.ts'
import {
  gpuDeviceFiles,
  installedDrivers,
  openLoader,
  openSystemLoader,
  type VulkanDriver,
} from './vulkan.ts'

export interface Opened {
  readonly gpu: GPU
  readonly adapter: GPUAdapter
}

/** One place where an adapter may be found on this machine. */
export interface Candidate {
  readonly kind: AdapterKind
  /** Where it comes from: a driver, a package, the operating system. */
  readonly source: string
  /** Why there is no point in trying, as a sentence; undefined where there is. */
  readonly absent: string | undefined
  /** Opens it, also where it is said to be `absent`; a sentence where it gives no adapter. */
  open(): Promise<Opened | string>
}

async function openOrSay(
  manifests: readonly string[] | undefined,
  otherwise: string,
  dawn: readonly string[],
  request: GPURequestAdapterOptions = {},
): Promise<Opened | string> {
  if (manifests?.length === 0) return otherwise
  const { gpu, adapter } = await openDawn(dawn, manifests, request)
  return adapter ? { gpu, adapter } : otherwise
}

const names = (drivers: readonly VulkanDriver[]): string => drivers.map((d) => d.name).join(', ')
const manifestsOf = (drivers: readonly VulkanDriver[]): string[] => drivers.map((d) => d.manifest)

/** Makes `libvulkan.so.1` available to Dawn: the machine's own, else the one beside SwiftShader. */
export async function provideLoader(): Promise<string | undefined> {
  if (openSystemLoader()) return undefined
  const archive = findSwiftShader()
  if (typeof archive === 'string') return `there is no Vulkan loader (libvulkan.so.1), and ${archive}`
  const complaint = openLoader((await unpackSwiftShader(archive)).loader)
  return complaint && `the Vulkan loader out of ${archive.path} does not open: ${complaint}`
}

function usableByUser(file: string): boolean {
  try {
    accessSync(file, constants.R_OK | constants.W_OK)
    return true
  } catch {
    return false
  }
}

function hardwareAbsent(drivers: readonly VulkanDriver[]): string | undefined {
  if (drivers.length === 0) return 'no Vulkan driver of a graphics processor is installed'
  const files = gpuDeviceFiles()
  if (files.length === 0) {
    return `drivers are installed (${names(drivers)}), but /dev shows no graphics processor`
  }
  if (files.some(usableByUser)) return undefined
  return `${files.join(', ')} may not be opened by this user; add him to the groups render and video`
}

/** Where Linux may have an adapter, fastest first. `dawn`: options for Dawn. */
export function linuxCandidates(dawn: readonly string[]): Candidate[] {
  const drivers = installedDrivers()
  const of = (kind: VulkanDriver['kind']) => drivers.filter((d) => d.kind === kind)
  const withLoader = async (open: () => Promise<Opened | string>) => (await provideLoader()) ?? (await open())
  const [hardware, lavapipe, swiftshader] = [of('hardware'), of('lavapipe'), of('swiftshader')]
  const archive = findSwiftShader()
  return [
    {
      kind: 'hardware',
      source: hardware.length > 0 ? `Vulkan drivers ${names(hardware)}` : 'Vulkan',
      absent: hardwareAbsent(hardware),
      open: () =>
        withLoader(() =>
          openOrSay(
            manifestsOf(hardware),
            `no graphics processor answers to the drivers ${names(hardware)}`,
            dawn,
            { powerPreference: 'high-performance' },
          ),
        ),
    },
    {
      kind: 'lavapipe',
      source: lavapipe[0]?.manifest ?? 'Mesa',
      absent: lavapipe.length > 0 ? undefined : 'lavapipe (Mesa) is not installed',
      open: () =>
        withLoader(() =>
          openOrSay(manifestsOf(lavapipe), 'Dawn refuses this lavapipe; it wants Mesa 23 or newer', dawn),
        ),
    },
    {
      kind: 'swiftshader',
      source: swiftshader[0]?.manifest ?? '@sparticuz/chromium',
      absent: swiftshader.length > 0 || typeof archive !== 'string' ? undefined : archive,
      open: () =>
        withLoader(async () => {
          if (swiftshader.length > 0)
            return openOrSay(manifestsOf(swiftshader), 'Dawn refuses this SwiftShader', dawn)
          if (typeof archive === 'string') return archive
          const { manifest } = await unpackSwiftShader(archive)
          return openOrSay(
            [manifest],
            `SwiftShader at ${manifest} does not start; is that folder mounted noexec?`,
            dawn,
          )
        }),
    },
  ]
}

/** Where macOS and Windows may have an adapter: Metal and Direct3D 12, which Dawn finds by itself. */
export function desktopCandidates(platform: string, dawn: readonly string[]): Candidate[] {
  const api = platform === 'darwin' ? 'Metal' : 'Direct3D 12'
  const hardware: Candidate = {
    kind: 'hardware',
    source: api,
    absent: undefined,
    open: () =>
      openOrSay(undefined, `${api} offers no adapter`, dawn, { powerPreference: 'high-performance' }),
  }
  const warp: Candidate = {
    kind: 'warp',
    source: api,
    absent: undefined,
    open: () => openOrSay(undefined, 'Windows offers no WARP adapter', dawn, { forceFallbackAdapter: true }),
  }
  return platform === 'win32' ? [hardware, warp] : [hardware]
}
