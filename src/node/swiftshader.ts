import { createReadStream, existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createBrotliDecompress } from 'node:zlib'
import { AdapterError } from '../gpu/errors.ts'
import { cacheFolder, placeFolder } from './cache.ts'

const PACKAGE = '@sparticuz/chromium'
/** What fovea needs of the archive: the driver, its manifest, and a Vulkan loader for machines without one. */
const DRIVER = 'libvk_swiftshader.so'
const MANIFEST = 'vk_swiftshader_icd.json'
const LOADER = 'libvulkan.so.1'

interface TarFs {
  extract(folder: string, options: { chown: boolean; ignore(path: string): boolean }): Writable
}

export interface SwiftShaderArchive {
  readonly path: string
  readonly version: string
  /** The package's entry file, from which its own dependencies resolve. */
  readonly entry: string
}

export interface SwiftShader {
  /** The Vulkan driver manifest (`VK_ICD_FILENAMES`). */
  readonly manifest: string
  /** `libvulkan.so.1`. */
  readonly loader: string
}

/** SwiftShader's archive in the optional dependency `@sparticuz/chromium`, or a sentence that says why not. */
export function findSwiftShader(
  platform: string = `${process.platform}-${process.arch}`,
  from: string = import.meta.url,
): SwiftShaderArchive | string {
  if (platform !== 'linux-x64') return `${PACKAGE} ships SwiftShader for linux-x64 only, this is ${platform}`
  try {
    const entry = createRequire(from).resolve(PACKAGE)
    const root = join(dirname(entry), '..', '..')
    const path = join(root, 'bin', 'swiftshader.tar.br')
    if (!existsSync(path)) return `${path} is missing; reinstall ${PACKAGE}`
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
    return { path, version, entry }
  } catch {
    return `the optional npm package ${PACKAGE} is not installed; run \`npm install ${PACKAGE}@143\``
  }
}

/**
 * Unpacks SwiftShader (about 7 MB) into `cache`, once for all processes and without root.
 * Throws an `AdapterError` that names the archive where it is damaged or the disk refuses it.
 */
export async function unpackSwiftShader(
  archive: SwiftShaderArchive,
  cache: string = cacheFolder(),
): Promise<SwiftShader> {
  const target = join(cache, `swiftshader-${archive.version}`)
  const wanted = [DRIVER, MANIFEST, LOADER]
  // The package unpacks itself with tar-fs, so tar-fs is there wherever the archive is.
  const tar = createRequire(archive.entry)('tar-fs') as TarFs
  try {
    await placeFolder(target, async (folder) => {
      const ignore = (path: string) => !wanted.some((name) => path === join(folder, name))
      const unpacked = tar.extract(folder, { chown: false, ignore })
      await pipeline(createReadStream(archive.path), createBrotliDecompress(), unpacked)
      const missing = wanted.filter((name) => !existsSync(join(folder, name)))
      if (missing.length > 0) throw new Error(`${missing.join(', ')} not found in it`)
    })
  } catch (error) {
    throw new AdapterError(
      `SwiftShader could not be unpacked from ${archive.path} to ${target}: ${(error as Error).message}; ` +
        `reinstall ${PACKAGE}, or set FOVEA_CACHE to a writable folder`,
      { cause: error },
    )
  }
  return { manifest: join(target, MANIFEST), loader: join(target, LOADER) }
}
