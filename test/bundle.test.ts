import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { VERSION } from '../src/version.ts'

interface Size {
  readonly page: string
  readonly gzipped: number
  readonly imports: readonly string[]
  readonly modules: readonly string[]
  readonly packages: readonly string[]
  readonly packagesLater: readonly string[]
}

test('a web page needs no Node module and no package, and little to load', async () => {
  const root = fileURLToPath(new URL('..', import.meta.url))
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['scripts/bundle-size.mjs', '--json', '--own'],
    {
      cwd: root,
    },
  )
  const [unet, all] = (JSON.parse(stdout) as { fovea: [Size, Size] }).fovea
  for (const { page, imports, packages } of [unet, all])
    expect({ page, imports, packages }).toEqual({ page, imports: [], packages: [] })
  expect(unet.gzipped).toBeLessThan(60_000)
  // All networks, methods and the ONNX export are in it; nobody loads all of that.
  expect(all.gzipped).toBeLessThan(150_000)
  // A page pays for the network that it names, and for protobuf when it exports.
  const networks = unet.modules.filter((path) => /^src\/(nn\/(networks|parts)|onnx)\//.test(path))
  expect(networks).toEqual(['src/nn/networks/unet.ts'])
  expect([unet.packagesLater, all.packagesLater]).toEqual([[], ['node_modules/pbf/index.js']])
})

test('the version that caches are held to is that of the package', () => {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  expect(VERSION).toBe(version)
})
