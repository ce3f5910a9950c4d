import { tmpdir } from 'node:os'
import { AdapterError } from '../gpu/errors.ts'
import { paceDawn } from './pace.ts'

/** Adapters that fovea tells apart. `warp` is Windows' own software adapter. */
export type AdapterKind = 'hardware' | 'lavapipe' | 'swiftshader' | 'warp'

/** What an adapter says of itself; the part of `GPUAdapterInfo` that names it. */
export interface AdapterName {
  readonly vendor: string
  readonly architecture: string
  readonly device: string
  readonly description: string
}

interface Dawn {
  create(options: string[]): GPU
  globals: Record<string, unknown>
}

/** One line that names an adapter for people. */
export function adapterTitle(info: AdapterName): string {
  return info.description || [info.vendor, info.architecture, info.device].filter((s) => s !== '').join(' ')
}

/** Throws the `AdapterError` that refuses Dawn's null backend. */
export function refuseNull(name: string): never {
  throw new AdapterError(
    `adapter '${name}' is Dawn's null backend: it accepts every command and computes nothing. ` +
      'Run `fovea devices` to see what else there is',
  )
}

/**
 * Tells an adapter's kind by what it says of itself.
 * Throws an `AdapterError` for Dawn's null backend, which accepts every command and computes nothing.
 */
export function adapterKind(info: AdapterName): AdapterKind {
  const text = `${info.vendor} ${info.architecture} ${info.device} ${info.description}`.toLowerCase()
  if (/null[- ]backend/.test(text) || text.trim() === '') refuseNull(adapterTitle(info))
  if (/llvmpipe|lavapipe/.test(text)) return 'lavapipe'
  if (text.includes('swiftshader')) return 'swiftshader'
  return /microsoft basic render|\bwarp\b/.test(text) ? 'warp' : 'hardware'
}

/** Loads npm `webgpu` and defines WebGPU's globals (`GPUBufferUsage` …). */
async function loadDawn(): Promise<Dawn> {
  try {
    const dawn = (await import('webgpu')) as unknown as Dawn
    for (const [name, value] of Object.entries(dawn.globals)) {
      if (!(name in globalThis))
        Object.defineProperty(globalThis, name, { value, writable: true, configurable: true })
    }
    paceDawn(dawn.globals)
    return dawn
  } catch (error) {
    throw new AdapterError(
      `the npm package \`webgpu\` (Dawn) does not load on ${process.platform}-${process.arch}: ` +
        `${(error as Error).message.split('\n')[0]}. It needs Linux with glibc 2.34 or newer (not Alpine), ` +
        `macOS or Windows, on x64 or arm64; run \`npm install webgpu@0.6.2\``,
      { cause: error },
    )
  }
}

/** Browsers round the GPU's clock so that pages cannot spy by it; a program of one's own wants a launch's microseconds. */
const EXACT_CLOCK = 'disable-dawn-features=timestamp_quantization'

/** Lets adapters offer experimental features, such as subgroup matrices. */
export const UNSAFE = 'enable-dawn-features=allow_unsafe_apis'

/** Dawn dies when what `create()` gave is collected while anything of it lives: it stays for the process. */
const held = globalThis as typeof globalThis & { foveaDawn?: Map<string, GPU> }

/**
 * A `GPU` of Dawn, one for each set of options and drivers in this process.
 * `manifests` limits Vulkan to these drivers; undefined leaves the choice to the loader.
 * Throws what Dawn throws, such as for an adapter name that nothing bears.
 */
export async function openDawn(
  options: readonly string[],
  manifests: readonly string[] | undefined,
  request: GPURequestAdapterOptions,
): Promise<{ gpu: GPU; adapter: GPUAdapter | null }> {
  const dawn = await loadDawn()
  const drivers = manifests?.join(':')
  held.foveaDawn ??= new Map()
  const key = JSON.stringify([options, drivers])
  const gpu = held.foveaDawn.get(key) ?? dawn.create([...options, EXACT_CLOCK])
  held.foveaDawn.set(key, gpu)
  const forced: Record<string, string> =
    drivers === undefined ? {} : { VK_DRIVER_FILES: drivers, VK_ICD_FILENAMES: drivers }
  // Mesa wants a runtime folder, also later, and complains on stderr without one.
  process.env.XDG_RUNTIME_DIR ??= tmpdir()
  // The loader reads which drivers to open when Dawn first looks for adapters, not before and never again.
  const adapter = await withEnv(forced, () => gpu.requestAdapter(request))
  return { gpu, adapter }
}

async function withEnv<T>(values: Record<string, string>, body: () => Promise<T>): Promise<T> {
  const before = Object.keys(values).map((name) => [name, process.env[name]] as const)
  Object.assign(process.env, values)
  try {
    return await body()
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  }
}
