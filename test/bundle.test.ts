import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { readKernel } from '../scripts/wgsl.mjs'
import { type Kernel, kernel } from '../src/gpu/kernel.ts'
import { VERSION } from '../src/version.ts'
import { testDevice } from './device.ts'

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

const folder = fileURLToPath(new URL('../kernels', import.meta.url))
const kernels = readdirSync(folder).filter((name) => name.endsWith('.wgsl'))

/** Names that are not shortened, by which a kernel is told that it waits. */
const WAITS = ['workgroupBarrier', 'storageBarrier', 'workgroupUniformLoad']

/** What TypeScript reads of a kernel. */
const declared = (k: Kernel) => ({
  ...k.meta,
  constants: [...k.meta.constants.values()],
  overrides: [...k.meta.overrides].map(([name, o]) => ({
    name,
    ...o,
    default: o.default?.replaceAll(' ', ''),
  })),
  entries: [...k.meta.entries.values()].map((entry) => ({
    ...entry,
    reaches: WAITS.filter((name) => entry.reaches.has(name)),
    workgroupSize: k.workgroupSize(entry, {}),
  })),
})

test.each(kernels)('%s means the same in a page, which has it shortened', async (name) => {
  const { kernelsForPages } = (await import(new URL('../scripts/build.mjs', import.meta.url).href)) as {
    kernelsForPages(): Map<string, string>
  }
  const source = readKernel(`${folder}/${name}`)
  const short = kernelsForPages().get(name)!
  expect(short.length).toBeLessThan(source.length)
  expect(short.match(/^alias .*?;/gm)).toEqual(source.match(/^alias .*?;/gm))
  // Parts that others are built of have no entry point, and what is built of parts wants them.
  if (source.includes('@compute'))
    expect(declared(kernel(name, short))).toEqual(declared(kernel(name, source)))
  const { native } = await testDevice()
  const errors = async (code: string) => {
    native.pushErrorScope('validation')
    const { messages } = await native.createShaderModule({ code }).getCompilationInfo()
    await native.popErrorScope()
    return messages.filter((m) => m.type === 'error').length
  }
  expect(await errors(short)).toEqual(await errors(source))
})

test('the version that caches are held to is that of the package', () => {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  expect(VERSION).toBe(version)
})
