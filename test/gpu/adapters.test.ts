import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, describe, expect, test } from 'vitest'
import { AdapterError } from '../../src/gpu/errors.ts'
import { checkResults, selfCheck } from '../../src/gpu/selfcheck.ts'
import { adapterChoice, findAdapter, listAdapters } from '../../src/node/adapters.ts'
import { fasterAdvice, installAdvice } from '../../src/node/advice.ts'
import { cacheFolder, placeFolder } from '../../src/node/cache.ts'
import { adapterKind } from '../../src/node/dawn.ts'
import { findSwiftShader, unpackSwiftShader } from '../../src/node/swiftshader.ts'
import { gpuDeviceFiles, installedDrivers, openLoader } from '../../src/node/vulkan.ts'
import { probe } from './probes.ts'

const run = promisify(execFile)
const temp = mkdtempSync(join(tmpdir(), 'fovea-adapters-'))
afterAll(() => rmSync(temp, { recursive: true, force: true }))

const archive = findSwiftShader()
const onLinux = process.platform === 'linux'
const hasSwiftShader = typeof archive !== 'string'
const hasLavapipe = onLinux && installedDrivers().some((d) => d.kind === 'lavapipe')

/** A new folder under the test's own, with the files given. */
function folder(files: Record<string, string> = {}): string {
  const root = mkdtempSync(join(temp, 'f-'))
  for (const [name, text] of Object.entries(files)) {
    const path = join(root, name)
    mkdirSync(join(path, '..'), { recursive: true })
    writeFileSync(path, text)
  }
  return root
}

describe('the choice', () => {
  test('FOVEA_ADAPTER stands in for auto and yields to an explicit option', () => {
    expect(adapterChoice(undefined, {})).toBe('auto')
    expect(adapterChoice(undefined, { FOVEA_ADAPTER: '' })).toBe('auto')
    expect(adapterChoice('auto', { FOVEA_ADAPTER: 'software' })).toBe('software')
    expect(adapterChoice('lavapipe', { FOVEA_ADAPTER: 'software' })).toBe('lavapipe')
  })

  const name = (description: string, device = '') => ({ vendor: '', architecture: '', device, description })
  test('adapters are told apart by what they say of themselves', () => {
    expect(adapterKind(name('llvmpipe: Mesa 25.0.7 (LLVM 15.0.6) 0.0.1'))).toBe('lavapipe')
    expect(adapterKind(name('SwiftShader driver 5.0.0'))).toBe('swiftshader')
    expect(adapterKind(name('Microsoft Basic Render Driver'))).toBe('warp')
    expect(adapterKind(name('NVIDIA H100'))).toBe('hardware')
  })

  test("Dawn's null backend is refused by its name", async () => {
    expect(() => adapterKind(name('', 'null-backend'))).toThrow(/'null-backend' is Dawn's null backend/)
    await expect(findAdapter({ adapter: 'null' })).rejects.toThrow(AdapterError)
  })

  test.runIf(onLinux && hasSwiftShader)('an unknown name is answered with the names there are', async () => {
    const search = findAdapter({ adapter: 'Voodoo 2' })
    await expect(search).rejects.toThrow(AdapterError)
    await expect(search).rejects.toThrow(/no adapter is named 'Voodoo 2'; choose auto, .*'SwiftShader/)
  })
})

describe('Vulkan drivers', () => {
  const icd = '{"ICD": {"library_path": "x.so"}}'
  test('manifests are found where the loader looks, told apart, and fit this processor', () => {
    const data = folder({
      'vulkan/icd.d/lvp_icd.x86_64.json': icd,
      'vulkan/icd.d/lvp_icd.aarch64.json': icd,
      'vulkan/icd.d/nvidia_icd.json': icd,
      'vulkan/icd.d/broken_icd.json': '{',
      'vulkan/icd.d/notes.txt': icd,
    })
    const nowhere = folder()
    const env = { XDG_DATA_DIRS: data, XDG_DATA_HOME: nowhere, XDG_CONFIG_HOME: nowhere, HOME: nowhere }
    const found = installedDrivers(env).filter((d) => d.manifest.startsWith(data))
    expect(found.map((d) => [d.name, d.kind])).toEqual([
      ['lvp', 'lavapipe'],
      ['nvidia', 'hardware'],
    ])
  })

  test('the drivers that the user names are the only ones', () => {
    const one = join(folder({ 'vk_swiftshader_icd.json': icd }), 'vk_swiftshader_icd.json')
    expect(installedDrivers({ VK_ICD_FILENAMES: `${one}:/nowhere.json` })).toEqual([
      { kind: 'swiftshader', manifest: one, name: 'vk_swiftshader' },
    ])
  })

  test('device files of graphics processors', () => {
    const dev = folder({ null: '', nvidia0: '', nvidiactl: '', 'dri/renderD128': '', 'dri/card0': '' })
    expect(gpuDeviceFiles(dev)).toEqual([join(dev, 'nvidia0'), join(dev, 'dri/renderD128')])
    expect(gpuDeviceFiles(folder({ null: '' }))).toEqual([])
  })

  test.runIf(onLinux)('a loader that does not open says why', () => {
    const bad = join(folder({ 'libvulkan.so.1': 'no library' }), 'libvulkan.so.1')
    expect(openLoader(bad)).toMatch(/file too short|invalid ELF header/)
  })
})

describe('the cache', () => {
  test('is the folder that the user names, else one of his own', () => {
    const named = join(temp, 'named')
    expect(cacheFolder({ FOVEA_CACHE: named, XDG_CACHE_HOME: temp })).toBe(named)
    expect(cacheFolder({ XDG_CACHE_HOME: join(temp, 'xdg') })).toBe(join(temp, 'xdg', 'fovea'))
    const file = join(folder({ file: '' }), 'file')
    expect(cacheFolder({ FOVEA_CACHE: file, XDG_CACHE_HOME: join(temp, 'xdg') })).toBe(
      join(temp, 'xdg', 'fovea'),
    )
  })

  test.runIf(onLinux)('is passed over where nothing can be made, without waiting for it', () => {
    // Node's own `recursive` never returns from these (Node 20).
    const xdg = join(temp, 'xdg')
    for (const none of ['/proc/x', '/proc/x/y', '/proc/version/x'])
      expect(cacheFolder({ FOVEA_CACHE: none, XDG_CACHE_HOME: xdg })).toBe(join(xdg, 'fovea'))
    const { HOME, TMPDIR } = process.env
    try {
      process.env.HOME = process.env.TMPDIR = '/proc/none'
      const nowhere = cacheFolder({ FOVEA_CACHE: '/proc/x' })
      expect(nowhere).toMatch(/^\/proc\/none\/fovea-[\w-]{36}$/)
      expect(existsSync(nowhere)).toBe(false)
    } finally {
      Object.assign(process.env, { HOME, TMPDIR })
      if (TMPDIR === undefined) delete process.env.TMPDIR
    }
  })

  test('a folder is placed whole or not at all', async () => {
    const target = join(folder(), 'placed')
    const half = placeFolder(target, async (draft) => {
      writeFileSync(join(draft, 'half'), '')
      throw new Error('disk full')
    })
    await expect(half).rejects.toThrow('disk full')
    expect(readdirSync(join(target, '..'))).toEqual([])
  })

  test.runIf(hasSwiftShader)('SwiftShader unpacks, also several times at once', async () => {
    if (typeof archive === 'string') return
    const cache = folder()
    const all = await Promise.all([1, 2, 3].map(() => unpackSwiftShader(archive, cache)))
    expect(new Set(all.map((s) => s.manifest)).size).toBe(1)
    expect(readdirSync(cache)).toEqual([`swiftshader-${archive.version}`])
    expect(existsSync(all[0]!.manifest) && existsSync(all[0]!.loader)).toBe(true)
  })

  test.runIf(hasSwiftShader)('a damaged archive is named', async () => {
    if (typeof archive === 'string') return
    const path = join(folder({ 'swiftshader.tar.br': 'not brotli' }), 'swiftshader.tar.br')
    const unpacking = unpackSwiftShader({ ...archive, path }, folder())
    await expect(unpacking).rejects.toThrow(AdapterError)
    await expect(unpacking).rejects.toThrow(path)
  })

  test('where the package is not to be had, a sentence says so', () => {
    expect(findSwiftShader('darwin-arm64')).toMatch(/linux-x64 only/)
    expect(findSwiftShader('linux-x64', join(temp, 'x.js'))).toMatch(/npm install @sparticuz\/chromium/)
  })
})

test('each platform is told what to install', () => {
  expect(installAdvice('linux')).toMatch(/lavapipe.*SwiftShader/)
  expect(installAdvice('darwin')).toMatch(/Metal/)
  expect(installAdvice('win32')).toMatch(/Direct3D 12/)
  expect(installAdvice('sunos')).toMatch(/no build for sunos/)
  expect(fasterAdvice('swiftshader', 'linux')).toMatch(/install-lavapipe/)
})

describe('a search', () => {
  const program = probe(new URL('./adapter-probe.ts', import.meta.url))

  async function search(choice: string, env: Record<string, string> = {}): Promise<Record<string, string>> {
    const { FOVEA_ADAPTER: _, VK_DRIVER_FILES: __, ...rest } = process.env
    const { stdout } = await run(process.execPath, [program, choice], { env: { ...rest, ...env } })
    return JSON.parse(stdout)
  }

  test.runIf(hasLavapipe)('lavapipe is found and passes the self-check', async () => {
    expect(await search('lavapipe')).toMatchObject({
      kind: 'lavapipe',
      reason: expect.stringMatching(/llvmpipe/),
    })
  })

  test.runIf(hasSwiftShader)('SwiftShader is found in a clean cache and passes the self-check', async () => {
    const cache = folder()
    expect(await search('swiftshader', { FOVEA_CACHE: cache })).toMatchObject({ kind: 'swiftshader' })
    expect(readdirSync(cache).length).toBe(1)
  })

  test.runIf(hasSwiftShader)('with no driver installed auto takes SwiftShader and says why', async () => {
    const answer = await search('', { VK_ICD_FILENAMES: '/nowhere.json', FOVEA_CACHE: folder() })
    expect(answer.kind).toBe('swiftshader')
    expect(answer.reason).toMatch(
      /hardware: no Vulkan driver .*; lavapipe: lavapipe \(Mesa\) is not installed/,
    )
  })

  test.runIf(hasSwiftShader)('FOVEA_ADAPTER is heard', async () => {
    expect(await search('auto', { FOVEA_ADAPTER: 'swiftshader' })).toMatchObject({ kind: 'swiftshader' })
  })

  test.runIf(onLinux)('in vain it says what was tried and what to install', async () => {
    const { error } = await search('hardware', { VK_ICD_FILENAMES: '/nowhere.json' })
    expect(error).toMatch(/^AdapterError: no adapter for 'hardware'\. Tried: hardware: no Vulkan driver/)
    expect(error).toContain(installAdvice('linux'))
  })

  test.runIf(onLinux && hasSwiftShader)('the report lists every place and the choice', async () => {
    const report = await listAdapters({ adapter: 'swiftshader' })
    expect(report.entries.map((e) => e.kind)).toEqual(['hardware', 'lavapipe', 'swiftshader'])
    expect(report.entries.filter((e) => e.chosen).map((e) => e.kind)).toEqual(['swiftshader'])
    expect(report.reason).toMatch(/'swiftshader' takes swiftshader/)
    expect(report.hint).toMatch(/install-lavapipe/)
    expect((await listAdapters({ adapter: 'Voodoo 2' })).reason).toMatch(/nothing here fits 'Voodoo 2'/)
  })
})

describe('the self-check', () => {
  /** `device`, but every shader has `from` replaced by `to`: an adapter that computes wrongly. */
  function lying(device: GPUDevice, from: string, to: string): GPUDevice {
    return new Proxy(device, {
      get(target, key) {
        if (key === 'createShaderModule') {
          return ({ code }: GPUShaderModuleDescriptor) => {
            expect(code).toContain(from)
            return target.createShaderModule({ code: code.replace(from, to) })
          }
        }
        const value = Reflect.get(target, key, target)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
  }

  test.runIf(hasLavapipe || hasSwiftShader)('refuses an adapter that computes wrongly', async () => {
    const { adapter } = await findAdapter({ adapter: 'software' })
    const device = await adapter.requestDevice()
    await selfCheck(device, 'honest')
    const lies: [from: string, to: string, complaint: RegExp][] = [
      ['a.x + a.y', 'a.x - a.y', /'liar' computes wrongly: 1\.5 \+ 2\.25 should be 3\.75, it gives -0\.75/],
      ['tanh(c.y)', '0.5 * tanh(c.y)', /tanh\(0\.7\) should be 0\.604/],
      ['products[k]', 'lanes[k]', /workgroup reduction/],
      ['minus_seven / 2', '(minus_seven - 1) / 2', /-7 \/ 2 should be 0xfffffffd, it gives 0xfffffffc/],
      ['is_nan(inf - overflow)', '0u', /infinity - 3e38 \* 3 is NaN/],
      ['= id.x * 3u + 1u', '= (id.x & 127u) * 3u + 1u', /invocation 128/],
      ['atomicMin', 'atomicMax', /atomicMin over 256/],
      ['results[id.x] =', 'resluts[id.x] =', /'liar' cannot run fovea's self-check: .*resluts/s],
    ]
    for (const [from, to, complaint] of lies) {
      const check = selfCheck(lying(device, from, to), 'liar')
      await expect(check).rejects.toThrow(AdapterError)
      await expect(check).rejects.toThrow(complaint)
    }
    device.destroy()
  })

  test('zeros, as from a lost device, are refused, too', () => {
    expect(() => checkResults('nothing', new Uint32Array(260))).toThrow(
      /'nothing' computes wrongly.*it gives 0/,
    )
  })
})
