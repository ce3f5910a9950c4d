import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { cacheFolder, placeFolder } from '../../src/node/cache.ts'

/** How Playwright launches a Chromium with WebGPU. */
export interface ChromiumLaunch {
  readonly executablePath: string
  readonly args: string[]
  readonly env: Record<string, string>
}

/**
 * Unpacks the npm package's Chromium, with the libraries it needs, into fovea's cache: once, without root.
 * The package unpacks into TMPDIR, so a process of its own does it with TMPDIR set to the new folder.
 */
async function unpack(): Promise<string> {
  const entry = createRequire(import.meta.url).resolve('@sparticuz/chromium')
  const { version } = JSON.parse(readFileSync(join(dirname(entry), '..', '..', 'package.json'), 'utf8'))
  const target = join(cacheFolder(), `chromium-${version}`)
  return placeFolder(target, async (folder) => {
    const script = `import chromium from '@sparticuz/chromium'; await chromium.executablePath()`
    // Named as on a server without libraries, it unpacks libnss3 and its kin, too.
    const env = { ...process.env, TMPDIR: folder, AWS_EXECUTION_ENV: 'AWS_Lambda_nodejs20.x' }
    await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
      env,
      cwd: dirname(entry),
    })
    const fonts = `<fontconfig><dir>${target}/fonts</dir><cachedir>${target}/fonts/cache</cachedir></fontconfig>`
    await writeFile(join(folder, 'fonts', 'fonts.conf'), fonts)
  })
}

/** Where Chromium is (unpacked on first use) and how to start it. */
export async function chromiumLaunch(): Promise<ChromiumLaunch> {
  const args = ['--enable-unsafe-webgpu', '--no-sandbox']
  const env = { ...process.env } as Record<string, string>
  if (process.env.FOVEA_CHROMIUM) return { executablePath: process.env.FOVEA_CHROMIUM, args, env }
  const folder = await unpack()
  const libraries = [join(folder, 'al2023', 'lib'), process.env.LD_LIBRARY_PATH].filter(Boolean).join(':')
  const fonts: Record<string, string> = existsSync('/etc/fonts/fonts.conf')
    ? {}
    : { FONTCONFIG_PATH: join(folder, 'fonts') }
  return {
    executablePath: join(folder, 'chromium'),
    args: [...args, '--use-webgpu-adapter=swiftshader'],
    env: { ...env, ...fonts, LD_LIBRARY_PATH: libraries },
  }
}
