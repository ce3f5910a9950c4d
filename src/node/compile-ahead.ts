/**
 * lavapipe makes machine code of a kernel when its queue first launches it, in the queue's one thread: the other cores wait while the
 * kernels of a step, some thirty, are compiled one after the other. Here pipelines that are asked for together
 * (`createComputePipelineAsync`) are compiled before their promises resolve, each by a launch of no workgroups: on the
 * device itself and meanwhile on further devices of the same driver, each a queue and a thread. Theirs the device finds in Mesa's cache
 * of compiled shaders, which knows a shader by its text and its layout; where Mesa keeps none there are no further devices. Other adapters'
 * devices are not given here.
 */
import { availableParallelism, homedir } from 'node:os'
import { join } from 'node:path'
import { BufferUsage } from '../gpu/flags.ts'
import { isWritable } from './cache.ts'

/** Whether Mesa keeps compiled shaders: what further devices compile is lost without. */
function hasCache(): boolean {
  const { MESA_SHADER_CACHE_DISABLE, MESA_GLSL_CACHE_DISABLE, MESA_SHADER_CACHE_DIR, XDG_CACHE_HOME } =
    process.env
  if (/^(1|t|true|y|yes)$/i.test(MESA_SHADER_CACHE_DISABLE ?? MESA_GLSL_CACHE_DISABLE ?? '')) return false
  return isWritable(MESA_SHADER_CACHE_DIR || XDG_CACHE_HOME || join(homedir(), '.cache'))
}

/** Further devices at most: one for each further core, and no more than have enough to do. */
const HELPERS = Math.min(3, availableParallelism() - 1)

/** A pipeline that takes longer is not in the cache: it is worth opening further devices, which takes some milliseconds. */
const COMPILING_MS = 100

/** Bytes behind each binding of a launch that does nothing; a multiple of any offset's alignment. */
const DUMMY_BYTES = 4096

/** `GPUBufferUsage.INDIRECT`. */
const INDIRECT = 0x100

/** A pipeline to compile and what it was made of, so that a further device makes the same. */
interface Job {
  readonly pipeline: GPUComputePipeline
  readonly descriptor: GPUComputePipelineDescriptor
  readonly module: GPUShaderModuleDescriptor
  /** Of its one group of bindings, which are buffers. */
  readonly layout: GPUBindGroupLayoutDescriptor
  /** Called once it is compiled or cannot be: then it fails where it is used, with words of its own. */
  done(): void
}

/**
 * Launches no workgroups of a pipeline whose bindings are one group of buffers; resolves when the queue has been there.
 * Rejects with what WebGPU says against it.
 */
export async function launchNothing(
  device: GPUDevice,
  pipeline: GPUComputePipeline,
  layout: GPUBindGroupLayoutDescriptor,
): Promise<void> {
  const { STORAGE, UNIFORM } = BufferUsage
  const entries = [...layout.entries]
  const buffer = (usage: number) =>
    device.createBuffer({ size: DUMMY_BYTES * Math.max(1, entries.length), usage })
  // What is read and what is written may not share one.
  const buffers = {
    uniform: buffer(UNIFORM),
    storage: buffer(STORAGE),
    'read-only-storage': buffer(STORAGE),
    indirect: buffer(INDIRECT),
  }
  let complaint: Promise<GPUError | null>
  device.pushErrorScope('validation')
  try {
    const group = device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: entries.map((entry, i) => ({
        binding: entry.binding,
        resource: {
          buffer: buffers[entry.buffer?.type ?? 'uniform'],
          offset: DUMMY_BYTES * i,
          size: DUMMY_BYTES,
        },
      })),
    })
    const encoder = device.createCommandEncoder()
    const pass = encoder.beginComputePass()
    pass.setPipeline(pipeline)
    pass.setBindGroup(0, group)
    // Zeros, as buffers are made. A zero in the call itself Dawn calls unusual, on standard output.
    pass.dispatchWorkgroupsIndirect(buffers.indirect, 0)
    pass.end()
    device.queue.submit([encoder.finish()])
  } finally {
    complaint = device.popErrorScope()
  }
  try {
    // Of a lost device both are refused.
    const [error] = await Promise.all([complaint, device.queue.onSubmittedWorkDone()])
    if (error) throw new Error(error.message)
  } finally {
    for (const b of Object.values(buffers)) b.destroy()
  }
}

/**
 * Devices that compile, and how many pipelines. A program that ends meanwhile would take down Dawn's threads while they work, which
 * prints pages of its own text or crashes: `destroy` waits for what they have begun, seconds if it must.
 */
const compiling = new Map<GPUDevice, number>()
let watched = false

async function whileCompiling<R>(device: GPUDevice, body: () => Promise<R>): Promise<R> {
  if (!watched) process.on('exit', () => [...compiling.keys()].forEach((d) => void d.destroy()))
  watched = true
  compiling.set(device, (compiling.get(device) ?? 0) + 1)
  try {
    return await body()
  } finally {
    const others = compiling.get(device)! - 1
    if (others > 0) compiling.set(device, others)
    else compiling.delete(device)
  }
}

/** Makes the pipeline of a job anew on a further device, and compiles it there. */
async function compileOn(device: GPUDevice, { descriptor, module, layout }: Job): Promise<void> {
  const pipeline = await device.createComputePipelineAsync({
    layout: device.createPipelineLayout({ bindGroupLayouts: [device.createBindGroupLayout(layout)] }),
    compute: { ...descriptor.compute, module: device.createShaderModule(module) },
  })
  await launchNothing(device, pipeline, layout)
}

/** The pipelines of a device that wait to be compiled, and who compiles them. */
class Compilers {
  readonly #waiting: Job[] = []
  /** When the device began what it compiles; undefined while it compiles nothing. */
  #since: number | undefined
  #helpers = 0
  /** How many there may be, from when one is wanted. */
  #most: number | undefined
  #lost = false

  constructor(
    private readonly device: GPUDevice,
    private readonly another: () => Promise<GPUDevice>,
  ) {
    void device.lost.then(() => {
      this.#lost = true
      for (const job of this.#waiting.splice(0)) job.done()
    })
  }

  add(job: Job): void {
    if (this.#lost) {
      job.done()
      return
    }
    this.#waiting.push(job)
    if (this.#since === undefined) void this.#compile()
    else if (performance.now() - this.#since > COMPILING_MS) this.#callHelpers()
  }

  /** Takes out the job of the longest text: what is begun last is what the others wait for. */
  #take(): Job | undefined {
    const sizes = this.#waiting.map((job) => job.module.code.length)
    return this.#waiting.splice(sizes.indexOf(Math.max(...sizes)), 1)[0]
  }

  async #compile(): Promise<void> {
    for (let job = this.#take(); job; job = this.#take()) {
      this.#since = performance.now()
      const timer = setTimeout(() => this.#callHelpers(), COMPILING_MS)
      await launchNothing(this.device, job.pipeline, job.layout).catch(() => {})
      clearTimeout(timer)
      job.done()
    }
    this.#since = undefined
  }

  #callHelpers(): void {
    this.#most ??= hasCache() ? HELPERS : 0
    const wanted = Math.min(this.#most, this.#waiting.length)
    while (this.#helpers < wanted) void this.#help()
  }

  async #help(): Promise<void> {
    this.#helpers++
    const helper = await this.another().catch(() => undefined)
    if (helper) {
      await whileCompiling(helper, async () => {
        for (let job = this.#take(); job; job = this.#take()) {
          await compileOn(helper, job).catch(() => {})
          job.done()
        }
      })
      helper.destroy()
    }
    this.#helpers--
  }
}

/** Compiles a device's pipelines ahead; `another` opens a further device like it. */
function attach(device: GPUDevice, another: () => Promise<GPUDevice>): void {
  const modules = new WeakMap<GPUShaderModule, GPUShaderModuleDescriptor>()
  const groups = new WeakMap<GPUBindGroupLayout, GPUBindGroupLayoutDescriptor>()
  const layouts = new WeakMap<GPUPipelineLayout, GPUPipelineLayoutDescriptor>()
  const compilers = new Compilers(device, another)
  const { createShaderModule, createBindGroupLayout, createPipelineLayout, createComputePipelineAsync } =
    device
  const kept = <D, O extends WeakKey>(made: WeakMap<O, D>, make: (descriptor: D) => O) => {
    return (descriptor: D): O => {
      const object = make.call(device, descriptor)
      made.set(object, descriptor)
      return object
    }
  }
  device.createShaderModule = kept(modules, createShaderModule)
  device.createBindGroupLayout = kept(groups, createBindGroupLayout)
  device.createPipelineLayout = kept(layouts, createPipelineLayout)
  const compile = async (descriptor: GPUComputePipelineDescriptor): Promise<GPUComputePipeline> => {
    const pipeline = await createComputePipelineAsync.call(device, descriptor)
    const module = modules.get(descriptor.compute.module)
    const [group, ...others] =
      descriptor.layout === 'auto' ? [] : (layouts.get(descriptor.layout)?.bindGroupLayouts ?? [])
    const layout = group && others.length === 0 ? groups.get(group) : undefined
    if (module && layout)
      await new Promise<void>((done) => compilers.add({ pipeline, descriptor, module, layout, done }))
    return pipeline
  }
  device.createComputePipelineAsync = (descriptor) => whileCompiling(device, () => compile(descriptor))
}

/** Lets the device that an adapter of lavapipe will give compile ahead; `another` finds that adapter again. */
export function compileAhead(adapter: GPUAdapter, another: () => Promise<GPUAdapter>): void {
  const { requestDevice } = adapter
  adapter.requestDevice = async (descriptor) => {
    const device = await requestDevice.call(adapter, descriptor)
    attach(device, async () => (await another()).requestDevice(descriptor))
    return device
  }
}
