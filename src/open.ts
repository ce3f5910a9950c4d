import { Device } from './autograd/device.ts'
import { setPooledBatchNorm } from './autograd/ops/batch-norm.ts'
import { checkOptions, shown } from './autograd/options.ts'
import { setSubgroupReduction } from './autograd/reduction.ts'
import { AdapterError, FoveaError } from './gpu/errors.ts'
import { type DebugOptions, nameOf, requestDevice } from './gpu/gpu.ts'
import { selfCheck } from './gpu/selfcheck.ts'
import { setSubgroupSums } from './gpu/summing.ts'
import { TUNE_MODES, type TuneMode, tunerOf } from './gpu/tuner.ts'
import type { ChoiceStore } from './gpu/tuner-table.ts'

export interface OpenOptions {
  /**
   * 'auto' takes the best there is, 'hardware' and 'software' insist. In Node also 'lavapipe',
   * 'swiftshader', or a part of an adapter's name.
   */
  readonly adapter?: 'auto' | 'hardware' | 'software' | (string & {})
  /**
   * Where choices between kernels that compute the same come from: 'off' (each plan's first), 'defaults' (what
   * fovea ships for the adapter; the default), 'cached' (also what was measured on this machine before),
   * 'measure' (also measures what is unknown whenever a compiled step is prepared, and keeps it). With
   * 'cached' and 'measure' the last bits of results depend on what was measured. In Node `FOVEA_TUNE` stands
   * in for it.
   */
  readonly tune?: TuneMode
  readonly debug?: DebugOptions
  /**
   * Most bytes that buffers may take together on this device; what would pass it throws a GpuOutOfMemoryError
   * before a buffer is made. Default: none, since WebGPU does not tell how much memory there is; in Node, on a driver that runs
   * on the CPU, all the memory there is (the machine's, or the container's); `Infinity` lifts it.
   */
  readonly memoryLimit?: number
  /**
   * Multiply by subgroup matrices, Dawn's `chromium-experimental-subgroup-matrix`: convolutions and matrix products of
   * float16 by f16 matrices, of float32 by f32 ones, summed in float32. `true` uses them where the adapter offers them
   * and is the same as leaving it out elsewhere; 'required' throws an AdapterError there. In Chrome it wants
   * --enable-unsafe-webgpu. Experimental: no adapter that offers them has run it yet. Default: false.
   */
  readonly subgroupMatrices?: boolean | 'required'
  /** Skip the start-up check of the adapter's arithmetic (it takes some milliseconds). */
  readonly selfCheck?: boolean
}

const OPTIONS = ['adapter', 'tune', 'debug', 'memoryLimit', 'subgroupMatrices', 'selfCheck']

/**
 * Opens a device on an adapter that was found already and holds it to the start-up check. `choices` gives the
 * place where measured choices of kernels are kept.
 * Throws an AdapterError for one that computes wrongly (Dawn's null backend, too, which Node refuses by its name).
 */
export async function openOn(
  adapter: GPUAdapter,
  options: OpenOptions,
  choices: () => ChoiceStore | Promise<ChoiceStore>,
): Promise<Device> {
  checkOptions('openDevice', options, [], OPTIONS)
  const { memoryLimit = Infinity, tune = 'defaults' } = options
  if (!(typeof memoryLimit === 'number' && memoryLimit > 0))
    throw new FoveaError(`openDevice: memoryLimit is a number of bytes above 0, got ${shown(memoryLimit)}`)
  if (!TUNE_MODES.includes(tune))
    throw new FoveaError(`openDevice: tune '${tune}' is none of ${TUNE_MODES.join(', ')}`)

  const name = nameOf(adapter.info)
  const { subgroupMatrices } = options
  const matrices = subgroupMatrices
    ? (await import('./autograd/ops/subgroup_matrices.ts')).findMatrices(
        adapter,
        name,
        subgroupMatrices === 'required',
      )
    : undefined
  const native = await requestDevice(adapter, matrices && [matrices.feature])
  if (options.selfCheck ?? true) await selfCheck(native, name)
  const opened = new Device(adapter, native, options.debug, memoryLimit)
  opened.matrices = matrices?.plans
  const { cpu, subgroups } = opened.adapter
  // All at once: a page fetches each from its server.
  await Promise.all([
    cpu &&
      import('./autograd/ops/conv2d_cpu_kernels.ts').then((m) => {
        m.addCpuKernels(opened)
        setPooledBatchNorm(m.batchNormPooled)
      }),
    subgroups &&
      import('./autograd/subgroup-kernels.ts').then((m) => {
        setSubgroupSums({ addUp: m.addUp, addUpInLanes: m.addUpInLanes })
        setSubgroupReduction(m.reduce)
      }),
    (cpu || tune === 'cached' || tune === 'measure') &&
      import('./autograd/ops/conv2d_tuned_kernels.ts').then((m) => {
        m.addTunedConvKernels()
        tunerOf(opened).ship(m.TUNER_DEFAULTS)
      }),
  ])
  await tunerOf(opened).attach(tune, choices)
  return opened
}

/**
 * Opens a GPU device through the host's `navigator.gpu` (browsers, Deno).
 * Throws an AdapterError that says what to switch on if there is none.
 */
export async function openDevice(options: OpenOptions = {}): Promise<Device> {
  const gpu = globalThis.navigator?.gpu
  if (!gpu) {
    throw new AdapterError(
      'this page has no WebGPU: navigator.gpu is missing. Use Chrome or Edge 113+, Safari 26+ or Firefox 141+, over https or localhost; ' +
        'on Linux Chrome may want --enable-unsafe-webgpu; in Deno pass --unstable-webgpu',
    )
  }
  const wanted = options.adapter ?? 'auto'
  if (!['auto', 'hardware', 'software'].includes(wanted)) {
    throw new AdapterError(`adapter '${wanted}': in a browser choose 'auto', 'hardware' or 'software'`)
  }
  const adapter = await gpu.requestAdapter({
    powerPreference: 'high-performance',
    ...(wanted === 'software' ? { forceFallbackAdapter: true } : {}),
  })
  if (!adapter || (wanted === 'hardware' && adapter.info.isFallbackAdapter)) {
    throw new AdapterError(
      `no ${wanted === 'auto' ? '' : `${wanted} `}WebGPU adapter: the browser offers none. Look at chrome://gpu, update the graphics driver, or allow software rendering`,
    )
  }
  return openOn(adapter, options, async () => new (await import('./choice-database.ts')).ChoiceDatabase())
}
