import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { add, exp, mul, sum } from '../../src/autograd/ops/index.ts'
import { SHADER_STAGE_COMPUTE } from '../../src/gpu/flags.ts'
import { findAdapter } from '../../src/node/adapters.ts'
import { compileAhead, launchNothing } from '../../src/node/compile-ahead.ts'
import { installedDrivers } from '../../src/node/vulkan.ts'
import { testDevice } from '../device.ts'
import { probe } from './probes.ts'

const cache = mkdtempSync(join(tmpdir(), 'fovea-compile-ahead-'))
afterAll(() => rmSync(cache, { recursive: true, force: true }))

/** A device of which only is told who compiled what: a launch ends when `finish` says so. */
function fakeDevice(name: string, log: string[], finish: () => Promise<void>) {
  let lose = () => {}
  const device = {
    destroyed: false,
    lost: new Promise<void>((resolve) => {
      lose = resolve
    }),
    lose: () => lose(),
    createShaderModule: (d: GPUShaderModuleDescriptor) => ({ code: d.code }),
    createBindGroupLayout: () => ({}),
    createPipelineLayout: () => ({}),
    createComputePipelineAsync: async (d: GPUComputePipelineDescriptor) => ({
      entry: d.compute.entryPoint,
      getBindGroupLayout: () => ({}),
    }),
    createBuffer: () => ({ destroy: () => {} }),
    createBindGroup: () => ({}),
    pushErrorScope: () => {},
    popErrorScope: async () => null,
    createCommandEncoder: () => ({
      beginComputePass: () => ({
        setPipeline: (p: { entry: string }) => void log.push(`${name}: ${p.entry}`),
        setBindGroup: () => {},
        dispatchWorkgroupsIndirect: () => {},
        end: () => {},
      }),
      finish: () => ({}),
    }),
    queue: { submit: () => {}, onSubmittedWorkDone: finish },
    destroy: () => {
      device.destroyed = true
    },
  }
  return device
}

const fakeAdapter = (device: object) => ({ requestDevice: async () => device }) as unknown as GPUAdapter
const wait = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** Asks a device for pipelines as fovea does, of texts of these lengths. */
function ask(device: GPUDevice, lengths: readonly number[]): Promise<GPUComputePipeline>[] {
  const bind = device.createBindGroupLayout({ entries: [] })
  const layout = device.createPipelineLayout({ bindGroupLayouts: [bind] })
  return lengths.map((length) => {
    const module = device.createShaderModule({ code: ' '.repeat(length) })
    return device.createComputePipelineAsync({ layout, compute: { module, entryPoint: `of ${length}` } })
  })
}

describe('on devices of which only is told who compiled what', () => {
  // Whatever this machine keeps, here there is a cache.
  beforeEach(() => {
    vi.stubEnv('MESA_SHADER_CACHE_DISABLE', 'false')
    vi.stubEnv('MESA_SHADER_CACHE_DIR', cache)
    return () => vi.unstubAllEnvs()
  })

  test('pipelines are compiled once each, the longest text first, by the device and further ones beside it', async () => {
    const log: string[] = []
    const helpers: ReturnType<typeof fakeDevice>[] = []
    const main = fakeDevice('main', log, () => wait(250))
    const adapter = fakeAdapter(main)
    compileAhead(adapter, async () => {
      helpers.push(fakeDevice('helper', log, () => wait(250)))
      return fakeAdapter(helpers.at(-1)!)
    })
    const device = await adapter.requestDevice()
    const asked = ask(device, [3, 5, 1, 4, 2])
    let resolved = 0
    for (const p of asked) void p.then(() => resolved++)
    await wait(50)
    expect(resolved).toBe(0)
    const pipelines = await Promise.all(asked)
    expect(pipelines.map((p) => (p as unknown as { entry: string }).entry)).toEqual(
      [3, 5, 1, 4, 2].map((n) => `of ${n}`),
    )
    // What comes first is begun at once.
    expect(log[0]).toBe('main: of 3')
    expect(log.map((line) => line.split(': ')[1])).toEqual([3, 5, 4, 2, 1].map((n) => `of ${n}`))
    expect(helpers.length).toBe(Math.min(3, availableParallelism() - 1))
    expect(log.some((line) => line.startsWith('helper'))).toBe(helpers.length > 0)
    await wait(10)
    expect(helpers.every((h) => h.destroyed)).toBe(true)
    expect(main.destroyed).toBe(false)
  })

  test('what is in the cache needs no further device', async () => {
    const log: string[] = []
    const adapter = fakeAdapter(fakeDevice('main', log, async () => {}))
    let opened = 0
    compileAhead(adapter, async () => {
      opened++
      throw new Error('not asked for')
    })
    await Promise.all(ask(await adapter.requestDevice(), [1, 2, 3, 4]))
    expect([log.length, opened]).toEqual([4, 0])
  })

  test('without a cache there is no further device', async () => {
    vi.stubEnv('MESA_SHADER_CACHE_DISABLE', 'true')
    const log: string[] = []
    const adapter = fakeAdapter(fakeDevice('main', log, () => wait(150)))
    let opened = 0
    compileAhead(adapter, async () => {
      opened++
      throw new Error('not asked for')
    })
    await Promise.all(ask(await adapter.requestDevice(), [1, 2, 3]))
    expect([log.length, opened]).toEqual([3, 0])
  })

  test('a further device that fails, and a launch that fails, leave the pipelines to the device', async () => {
    const log: string[] = []
    const adapter = fakeAdapter(
      fakeDevice('main', log, async () => {
        await wait(150)
        throw new Error('the device is lost')
      }),
    )
    compileAhead(adapter, async () => {
      throw new Error('no adapter any more')
    })
    const pipelines = await Promise.all(ask(await adapter.requestDevice(), [1, 2, 3]))
    expect(pipelines.length).toBe(3)
    expect(log.length).toBe(3)
  })

  test('of a lost device nothing is waited for', async () => {
    const log: string[] = []
    const main = fakeDevice('main', log, () => wait(60))
    const adapter = fakeAdapter(main)
    compileAhead(adapter, () => new Promise(() => {}))
    const device = await adapter.requestDevice()
    const asked = ask(device, [1, 2, 3, 4])
    await wait(10)
    main.lose()
    await Promise.all([...asked, ...ask(device, [5])])
    expect(log).toEqual(['main: of 1'])
  })

  test('pipelines that are asked for at any moment after the others are compiled, too', async () => {
    const log: string[] = []
    let finished = () => {}
    const adapter = fakeAdapter(
      fakeDevice('main', log, () => {
        return new Promise((resolve) => {
          finished = resolve
        })
      }),
    )
    compileAhead(adapter, () => new Promise(() => {}))
    const device = await adapter.requestDevice()
    for (let depth = 0; depth < 40; depth++) {
      const [first] = ask(device, [1])
      await wait(1)
      finished()
      for (let i = 0; i < depth; i++) await Promise.resolve()
      const [second] = ask(device, [2])
      await wait(1)
      finished()
      await Promise.all([first, second])
    }
    expect(log.length).toBe(80)
  })
})

const KERNEL = /* wgsl */ `
struct Params { count: u32, scale: f32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> index: array<u32>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> sums: array<atomic<u32>>;
@group(0) @binding(7) var<uniform> params: Params;
override WG: u32 = 64;
@compute @workgroup_size(WG)
fn gather(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < params.count) { y[id.x] = params.scale * x[index[id.x]]; }
  atomicAdd(&sums[0], 1u);
}`

test('a launch of nothing is valid for bindings of every kind, and says what is not', async () => {
  const { adapter } = await findAdapter()
  const device = await adapter.requestDevice()
  const errors: string[] = []
  device.addEventListener('uncapturederror', (e) => errors.push(e.error.message))
  const types = {
    0: 'read-only-storage',
    2: 'read-only-storage',
    5: 'storage',
    6: 'storage',
    7: 'uniform',
  } as const
  const layout: GPUBindGroupLayoutDescriptor = {
    entries: Object.entries(types).map(([binding, type]) => ({
      binding: Number(binding),
      visibility: SHADER_STAGE_COMPUTE,
      buffer: { type },
    })),
  }
  const pipeline = await device.createComputePipelineAsync({
    layout: device.createPipelineLayout({ bindGroupLayouts: [device.createBindGroupLayout(layout)] }),
    compute: {
      module: device.createShaderModule({ code: KERNEL }),
      entryPoint: 'gather',
      constants: { WG: 8 },
    },
  })
  await launchNothing(device, pipeline, layout)
  const others = { entries: [...layout.entries].slice(1) }
  await expect(launchNothing(device, pipeline, others)).rejects.toThrow(/binding/i)
  expect(errors).toEqual([])
  device.destroy()
})

test('a prepared step computes what one does that is not prepared, and counts no launches but its own', async () => {
  const device = await testDevice()
  const x = device.tensor(
    Float32Array.from({ length: 1024 }, (_, i) => Math.sin(i)),
    [1024],
  )
  const at = (prepared: boolean) => {
    const step = device.compile(() => sum(exp(add(mul(x, x), x))))
    return { step, ready: prepared ? step.prepare() : Promise.resolve() }
  }
  const before = device.counters
  const { step, ready } = at(true)
  await ready
  expect(device.counters.dispatches).toBe(before.dispatches)
  expect(device.counters.submissions).toBe(before.submissions)
  const got = await step().data()
  const want = await at(false).step().data()
  expect(got).toEqual(want)
})

const hasLavapipe = process.platform === 'linux' && installedDrivers().some((d) => d.kind === 'lavapipe')

describe.runIf(hasLavapipe)('in a process with a cache of its own', () => {
  const program = probe(new URL('./compile-probe.ts', import.meta.url))

  function run(folder: string, ...mode: string[]) {
    const { MESA_SHADER_CACHE_DISABLE: _, ...rest } = process.env
    const env = { ...rest, MESA_SHADER_CACHE_DIR: mkdtempSync(join(cache, folder)) }
    return new Promise<{ code: unknown; stdout: string; stderr: string }>((resolve) => {
      execFile(process.execPath, [program, ...mode], { env }, (error, stdout, stderr) =>
        resolve({ code: error?.code ?? error?.signal ?? 0, stdout, stderr }),
      )
    })
  }

  test('a step that is prepared has its machine code before it runs', async () => {
    const { code, stdout } = await run('prepared')
    expect(code).toBe(0)
    const { pipelines, before, after } = JSON.parse(stdout)
    // Kilobytes each; there is no code of one that was not launched.
    expect(after - before).toBeGreaterThan(2000 * pipelines)
  })

  test('a program that ends meanwhile ends as it says, without words of Dawn', async () => {
    const { code, stdout, stderr } = await run('ended', 'exit')
    const others = stderr.split('\n').filter((line) => line !== '' && !line.startsWith('Warning: maxDynamic'))
    expect([code, stdout, others]).toEqual([3, '', []])
  })
})
