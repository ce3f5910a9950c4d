import fillSource from '../../kernels/fill.wgsl'
import { Allocator, GUARD_BYTES, type MemoryReport } from './allocator.ts'
import { formatBytes } from './bytes.ts'
import { type Command, clearOf, type Dispatch, type ParamValues, written } from './commands.ts'
import { AdapterError, FoveaError, GpuOutOfMemoryError, GpuValidationError } from './errors.ts'
import { BufferUsage, MAP_MODE_READ } from './flags.ts'
import { type Kernel, kernel, PipelineCache } from './kernel.ts'
import { formatProfile, type Profile } from './profile.ts'
import { Capture, type Plan, Program, planStep, Scratch, type StepMemory } from './program.ts'
import { Storage } from './storage.ts'
import { Stream } from './stream.ts'

/** What is known about the adapter under a device. */
export interface AdapterDescription {
  /** For people: vendor, architecture, description. */
  readonly name: string
  /** A driver that runs on the CPU (lavapipe, SwiftShader, WARP): kernels take other forms there. */
  readonly cpu: boolean
  readonly features: readonly string[]
  readonly subgroups: boolean
  /** A CPU driver whose subgroups have eight lanes or more, as lavapipe's; SwiftShader's have four. */
  readonly lanes: boolean
  readonly f16: boolean
  readonly maxInvocations: number
  readonly maxWorkgroupStorage: number
  readonly maxBindingBytes: number
}

export interface LaunchOptions {
  readonly kernel: Kernel
  readonly entry: string
  /** Storages by the names that the WGSL gives its bindings. */
  readonly bindings: Readonly<Record<string, Storage>>
  /** Uniform values; a function is asked again at every replay of a captured step. */
  readonly params?: ParamValues | (() => ParamValues)
  readonly overrides?: Readonly<Record<string, number>>
  /**
   * Either invocations wanted (rounded up to whole workgroups; a number is spread over x and y, and fewer take several elements
   * each where the kernel includes parts/turns.wgsl) …
   */
  readonly threads?: number | readonly [number, number?, number?]
  /** … or workgroups. */
  readonly workgroups?: readonly [number, number?, number?]
  /** The kernel's half form: its `elem` arrays hold float16. */
  readonly half?: boolean
  /** Floating-point operations, for profiles. */
  readonly flops?: number
}

/** Test aids. `guard` fills fresh tensors with NaN and lays words behind each that no kernel may touch. */
export interface DebugOptions {
  readonly guard?: boolean
}

const fill = kernel('fill', fillSource)
/** NaN as a float and as two halves. */
const NAN_BITS = 0x7fde7fde
const GUARD_BITS = 0xfeedface
/** WebGPU's limit of workgroups in one dimension. */
const MAX_WORKGROUPS = 65_535

/**
 * Elements of an invocation of a kernel that includes parts/turns.wgsl, on CPU drivers: up to 64 where four workgroups are left for
 * each core, of which Node 20 does not tell the number.
 */
const turnsOf = (elements: number): number =>
  Math.max(1, Math.min(64, Math.floor(elements / (256 * (globalThis.navigator?.hardwareConcurrency ?? 8)))))

/** What an adapter is called, for people. */
export const nameOf = ({ vendor, architecture, device, description }: GPUAdapterInfo): string =>
  [vendor, architecture, device, description].filter(Boolean).join(' ')

/** True for a driver that runs on the CPU. */
export const runsOnCpu = (info: GPUAdapterInfo): boolean =>
  /llvmpipe|lavapipe|swiftshader|software|warp|basic render/i.test(nameOf(info)) ||
  info.isFallbackAdapter === true

function describe(adapter: GPUAdapter, device: GPUDevice): AdapterDescription {
  const { info, limits } = adapter
  const text = nameOf(info)
  const cpu = runsOnCpu(info)
  const subgroups = device.features.has('subgroups' as GPUFeatureName)
  return {
    name: text || 'unnamed adapter',
    cpu,
    features: [...device.features].sort(),
    subgroups,
    lanes: cpu && subgroups && (info.subgroupMinSize ?? 0) >= 8,
    f16: device.features.has('shader-f16'),
    maxInvocations: limits.maxComputeInvocationsPerWorkgroup,
    maxWorkgroupStorage: limits.maxComputeWorkgroupStorageSize,
    maxBindingBytes: Math.min(device.limits.maxStorageBufferBindingSize, device.limits.maxBufferSize),
  }
}

/** One GPU device: memory, kernels, command stream, captured steps. Knows nothing of tensors. */
export class Gpu {
  readonly adapter: AdapterDescription
  /** WebGPU's own device, for interop. */
  readonly native: GPUDevice
  protected readonly stream: Stream
  protected readonly allocator: Allocator
  readonly #pipelines: PipelineCache
  readonly #scratch: Scratch
  readonly #staging: { buffer: GPUBuffer; size: number }[] = []
  readonly #guard: number
  /** Gives a launch in the form that this adapter runs faster, set by `openDevice` (deal.ts); undefined where there is none. */
  deal: ((launch: Dispatch) => Dispatch) | undefined
  #capture: Capture | undefined
  #destroyed = false

  constructor(
    adapter: GPUAdapter,
    device: GPUDevice,
    debug: DebugOptions = {},
    /** Most bytes that buffers may take together. */
    readonly memoryLimit = Number.POSITIVE_INFINITY,
  ) {
    this.native = device
    this.adapter = describe(adapter, device)
    this.#guard = debug.guard ? GUARD_BYTES : 0
    this.stream = new Stream(device, this.adapter.name, this.#guard)
    const watch = (pending: Promise<Error | undefined>) => this.stream.watch(pending)
    this.allocator = new Allocator(
      device,
      {
        binding: device.limits.maxStorageBufferBindingSize,
        buffer: device.limits.maxBufferSize,
        total: memoryLimit,
      },
      this.#guard,
      this.stream,
      watch,
    )
    this.#pipelines = new PipelineCache(device, watch)
    this.#scratch = new Scratch(this.allocator)
  }

  /** Counts since the device was opened. */
  get counters(): { submissions: number; dispatches: number; pipelines: number; buffersCreated: number } {
    const { submissions, dispatches } = this.stream
    return {
      submissions,
      dispatches,
      pipelines: this.#pipelines.count,
      buffersCreated: this.allocator.report().buffersCreated,
    }
  }

  /** True once the device was lost or destroyed. */
  get lost(): boolean {
    return this.stream.lost
  }

  /** True while a step is being captured. */
  get capturing(): boolean {
    return this.#capture !== undefined
  }

  /** Bytes held, in use and at peak; live tensors by op; leaks by op. */
  memory(): MemoryReport {
    return this.allocator.report()
  }

  /** Counts a tensor that was garbage-collected while it still held memory. */
  protected countLeak(op: string): void {
    this.allocator.leaks[op] = (this.allocator.leaks[op] ?? 0) + 1
  }

  /** Fresh bytes, contents undefined. Inside a captured step they are virtual until the step is planned. */
  allocate(bytes: number, op: string): Storage {
    this.stream.assertUsable()
    let storage: Storage
    if (this.#capture) {
      if (!this.#capture.dry) this.allocator.assertFits(bytes, op)
      storage = new Storage(bytes, op, undefined, undefined)
      this.#capture.virtuals.add(storage)
    } else storage = this.allocator.allocate(bytes, op)
    if (this.#guard > 0) this.#mark(storage)
    return storage
  }

  /** Zeroed bytes with a buffer of their own that outlive captured steps. `role`: what reports of memory count them as. */
  allocatePersistent(bytes: number, op: string, role?: Storage['role']): Storage {
    this.stream.assertUsable()
    const storage = this.allocator.allocatePersistent(bytes, op)
    storage.role = role
    if (this.#guard > 0) this.#markNow(storage, 0)
    return storage
  }

  /** Poisons a fresh storage and lays its guard. */
  #mark(storage: Storage): void {
    const count = storage.boundBytes / 4
    const guard = this.#guard / 4
    if (storage.boundBytes + this.#guard > this.adapter.maxBindingBytes) {
      // Too large to bind: only its guard is laid.
      if (!storage.virtual)
        this.stream.write(
          { ...storage.place, offset: storage.boundBytes },
          new Uint32Array(guard).fill(GUARD_BITS),
        )
      return
    }
    this.launch('poison', {
      kernel: fill,
      entry: 'fill',
      bindings: { y: storage },
      params: { count, guard, bits: NAN_BITS, guard_bits: GUARD_BITS },
      threads: count + guard,
    })
  }

  #markNow(storage: Storage, bits: number): void {
    const words = new Uint32Array((storage.boundBytes + this.#guard) / 4).fill(bits)
    words.fill(GUARD_BITS, storage.boundBytes / 4)
    this.stream.write(storage.place, words)
  }

  /** Throws an AdapterError if the adapter has no half-precision arithmetic. */
  assertHalf(op: string): void {
    if (this.adapter.f16) return
    throw new AdapterError(
      `${op}: half precision needs shader-f16, which ${this.adapter.name} doesn't offer; use precision 'float32'`,
    )
  }

  /** Records a kernel launch for `op`. Bindings are matched to the WGSL by name. */
  launch(op: string, options: LaunchOptions): void {
    if (this.#capture?.dry) return
    const { kernel, entry, bindings, overrides = {} } = options
    if (options.half) this.assertHalf(op)
    const pipeline = this.#pipelines.get(options.half ? kernel.half : kernel, entry, overrides)
    const { takesTurns } = kernel
    const { threads } = options
    const turns = takesTurns && this.adapter.cpu && typeof threads === 'number' ? turnsOf(threads) : 1
    const workgroups = this.#workgroups(op, options, pipeline.workgroupSize, turns)
    if (workgroups.includes(0)) return
    const storages = []
    for (const b of pipeline.entry.bindings) {
      if (b.access === 'uniform') continue
      const storage = bindings[b.name]
      if (!storage) throw new FoveaError(`${op}: ${pipeline.label} needs a binding '${b.name}'`, { op })
      this.allocator.assertBindable(storage, op)
      storages.push({ index: b.index, storage })
    }
    const { params = {} } = options
    const current = (): ParamValues => {
      const values = typeof params === 'function' ? params() : params
      if (!takesTurns) return values
      if ('turns' in values) throw new FoveaError(`${op}: 'turns' is set by the launch`, { op })
      return { ...values, turns }
    }
    const launch: Dispatch = {
      kind: 'dispatch',
      op,
      pipeline,
      storages,
      // Outside of captured steps values are those of now, not of the submission.
      params: typeof params === 'function' && this.#capture ? current : current(),
      workgroups,
      flops: options.flops ?? 0,
    }
    this.#record(this.deal?.(launch) ?? launch)
  }

  #workgroups(
    op: string,
    { threads, workgroups }: LaunchOptions,
    size: readonly [number, number, number],
    turns: number,
  ): [number, number, number] {
    let groups: [number, number, number]
    if (typeof threads === 'number') {
      const count = Math.ceil(threads / (size[0] * turns))
      // A long line of workgroups is folded into rows; kernels unfold it by num_workgroups.x.
      const rows = Math.ceil(count / MAX_WORKGROUPS)
      groups = [rows <= 1 ? count : Math.ceil(count / rows), rows, 1]
      if (count === 0) groups = [0, 1, 1]
    } else if (threads) {
      const [x, y = 1, z = 1] = threads
      groups = [Math.ceil(x / size[0]), Math.ceil(y / size[1]), Math.ceil(z / size[2])]
    } else if (workgroups) {
      groups = [workgroups[0], workgroups[1] ?? 1, workgroups[2] ?? 1]
    } else throw new FoveaError(`${op}: a launch needs threads or workgroups`, { op })
    if (Math.max(...groups) > MAX_WORKGROUPS) {
      throw new GpuValidationError(
        `${op}: ${groups.join('×')} workgroups exceed WebGPU's ${MAX_WORKGROUPS} a dimension; use a smaller batch or image`,
        { op },
      )
    }
    return groups
  }

  /** Records a copy of bytes from one storage to another, in whole words. Offsets are multiples of 4. */
  copy(op: string, from: Storage, to: Storage, bytes: number, fromOffset = 0, toOffset = 0): void {
    const words = Math.ceil(bytes / 4) * 4
    if (bytes > 0) this.#record({ kind: 'copy', op, from, to, fromOffset, toOffset, bytes: words })
  }

  /** Records setting a storage to zero. */
  clear(op: string, target: Storage): void {
    this.#record({ kind: 'clear', op, target, spared: [] })
  }

  /**
   * True if a storage holds zeros because the step that is being captured has cleared it, or what it lies in, and nothing
   * touched it since. Who asks writes all of it next, without reading it: a clear of such parts alone is left out.
   */
  spareClear(storage: Storage): boolean {
    const clear = this.#capture && clearOf(storage, this.#capture.commands)
    clear?.spared.push(storage)
    return clear !== undefined
  }

  #record(command: Command): void {
    this.stream.assertUsable()
    if (this.#capture) {
      this.#capture.commands.push(command)
      return
    }
    for (const { root } of written(command)) root.version++
    this.stream.record(command)
  }

  /** True if what was captured so far of a step writes one of `storages`. */
  captureWrites(storages: readonly Storage[]): boolean {
    const roots = new Set(storages.map((s) => s.root))
    return this.#capture?.commands.some((c) => written(c).some((s) => roots.has(s.root))) ?? false
  }

  /** Runs host work now, or, inside a captured step, at every replay before the step's submission. */
  perform(job: () => void): void {
    if (this.#capture) this.#capture.host.push(job)
    else job()
  }

  /** Bytes with host data in them. Inside a captured step they are a constant of the step. */
  upload(data: ArrayBufferView, op: string): Storage {
    this.stream.assertUsable()
    const capture = this.#capture
    if (capture && !capture.dry) {
      const storage = this.#captureOwn(data.byteLength, op)
      const { buffer, byteOffset, byteLength } = data
      capture.constants.set(storage, new Uint8Array(buffer, byteOffset, byteLength).slice())
      return storage
    }
    const storage = capture
      ? this.allocatePersistent(data.byteLength, op)
      : this.allocate(data.byteLength, op)
    capture?.uploads.push(storage.retain())
    this.stream.write(storage.place, data)
    return storage
  }

  /** Overwrites a storage with host data. */
  write(storage: Storage, data: ArrayBufferView): void {
    if (this.#capture)
      throw new FoveaError('write: data cannot be written inside a captured step; pass it as an argument')
    storage.assertAlive('write')
    storage.root.version++
    this.stream.write(storage.place, data)
  }

  /** Copies a storage to the host. Waits for the GPU; throws what the GPU had to say against the work before. */
  async read(storage: Storage, bytes: number): Promise<ArrayBuffer> {
    if (this.#capture) {
      throw new FoveaError(
        'data(): a captured step cannot wait for the GPU; return the tensor from it and read it there',
      )
    }
    storage.assertAlive('data()')
    this.stream.assertUsable()
    if (bytes === 0) {
      await this.idle()
      return new ArrayBuffer(0)
    }
    const size = Math.ceil(bytes / 4) * 4
    const staging = this.#takeStaging(size)
    const to = new Storage(size, 'read-back', { buffer: staging.buffer, offset: 0 }, undefined)
    this.stream.record({
      kind: 'copy',
      op: 'data()',
      from: storage,
      to,
      fromOffset: 0,
      toOffset: 0,
      bytes: size,
    })
    await this.stream.flushCompiled()
    try {
      await this.stream.chained()
      await staging.buffer.mapAsync(MAP_MODE_READ, 0, size)
    } catch (cause) {
      // The device was lost, or the submission was invalid: the reason is in the scopes. A page hears of a loss only some
      // time behind the mapping that it aborts.
      const patience = (cause as Error).name === 'AbortError' ? 1000 : 0
      await Promise.race([this.native.lost, new Promise((r) => setTimeout(r, patience))])
      await this.stream.settled()
      throw new GpuValidationError(`data(): the read-back failed: ${String(cause)}`, { cause })
    }
    try {
      await this.stream.settled()
      return staging.buffer.getMappedRange(0, size).slice(0, bytes)
    } finally {
      if (staging.buffer.mapState === 'mapped') staging.buffer.unmap()
      this.#staging.push(staging)
    }
  }

  #takeStaging(size: number): { buffer: GPUBuffer; size: number } {
    const i = this.#staging.findIndex((s) => s.size >= size && s.size <= 4 * Math.max(size, 4096))
    if (i >= 0) return this.#staging.splice(i, 1)[0]!
    while (this.#staging.length > 8) this.allocator.destroy(this.#staging.shift()!.buffer)
    const rounded = 2 ** Math.ceil(Math.log2(Math.max(size, 256)))
    const usage = BufferUsage.MAP_READ | BufferUsage.COPY_DST
    return { buffer: this.allocator.create(rounded, 'read-back', usage), size: rounded }
  }

  /** Captures what `fn` records instead of running it. `outputs` picks the storages that stay readable. */
  protected captureStep<T>(
    fn: () => T,
    outputs: (result: T) => Iterable<Storage>,
  ): { result: T; capture: Capture } {
    if (this.#capture) throw new FoveaError('compile: a captured step cannot be captured inside another')
    this.stream.flush()
    const capture = new Capture()
    this.#capture = capture
    try {
      const result = fn()
      for (const { root } of outputs(result)) {
        if (capture.virtuals.has(root) && !capture.own(root)) capture.outputs.add(root)
      }
      return { result, capture }
    } catch (error) {
      capture.abandon()
      throw error
    } finally {
      this.#capture = undefined
    }
  }

  /** Bytes that the captured step is given at each run. */
  protected captureInput(bytes: number, op: string): Storage {
    const storage = this.#captureOwn(bytes, op)
    this.#capture!.inputs.add(storage)
    return storage
  }

  /** A virtual storage that is to have a buffer of its own. */
  #captureOwn(bytes: number, op: string): Storage {
    this.allocator.assertFits(bytes, op)
    const storage = new Storage(bytes, op, undefined, undefined)
    this.#capture!.virtuals.add(storage)
    return storage
  }

  /** The buffers that captured steps will take, each beside those before it; makes none. */
  protected planSteps(captures: readonly Capture[]): Plan[] {
    let existing: readonly number[] = this.#scratch.buffers.map((b) => b.size)
    let held = this.memory().bytesHeld
    return captures.map((capture) => {
      const plan = planStep(capture, existing, held, this.#guard)
      existing = plan.sharing.sizes
      held += plan.memory.fresh
      return plan
    })
  }

  /** Gives a captured step its buffers. Throws a GpuOutOfMemoryError if they would pass the memory limit; none is made then. */
  protected place(capture: Capture): Program {
    let plan = this.planSteps([capture])[0]!
    if (plan.memory.peak > this.memoryLimit) {
      this.trim()
      plan = this.planSteps([capture])[0]!
    }
    this.#assertRoom(plan.memory)
    const held = [...capture.inputs, ...capture.constants.keys()].map((s) => {
      const own = this.allocatePersistent(s.bytes, s.op)
      s.assign(own.place)
      const data = capture.constants.get(s)
      if (data) this.stream.write(own.place, data)
      return own
    })
    const program = new Program(this.native, this.stream, this.#scratch, capture, plan, held, this.#guard)
    // Their data are on the GPU now; `Capture.own` was asked for the last time.
    capture.constants.clear()
    return program
  }

  #assertRoom({ peak, intermediates }: StepMemory): void {
    if (peak <= this.memoryLimit) return
    throw new GpuOutOfMemoryError(
      `compile: the step needs ${formatBytes(peak)}, ${formatBytes(intermediates.planned)} of it for intermediates; the memory limit is ${formatBytes(this.memoryLimit)}. ` +
        'Use a smaller batch or image, or activation checkpointing',
      { op: 'compile', room: this.memoryLimit },
    )
  }

  /** Gives the buffers of freed tensors, which are kept to be used again, back to the driver. */
  trim(): void {
    this.allocator.trim()
  }

  /** Runs `fn` as if captured, and records nothing. Constants made in it live until `release`. */
  protected dryRun<T>(fn: () => T): { result: T; release(): void } {
    if (this.#capture) throw new FoveaError('trace: it cannot run inside a captured step')
    const capture = new Capture(true)
    this.#capture = capture
    try {
      return { result: fn(), release: () => capture.abandon() }
    } catch (error) {
      capture.abandon()
      throw error
    } finally {
      this.#capture = undefined
    }
  }

  /** Submits what was recorded, and compiles what is not compiled yet, which blocks. Reading back and waiting submit without that. */
  flush(): void {
    this.stream.flush()
  }

  /** Waits until at most two submissions are under way: bounds how far a loop runs ahead of the GPU. */
  ready(): Promise<void> {
    return this.stream.ready()
  }

  /** Waits until the GPU has done everything and throws the first error it reported. */
  idle(): Promise<void> {
    return this.stream.idle()
  }

  /**
   * Runs `fn` and times every kernel it launches, by timestamp queries or, without them, one kernel at a time. `fn` runs once
   * the profiler is loaded: await one profile before the next. Prints the table to the console, unless `print` is false, and returns it as data.
   */
  async profile(fn: () => unknown, { print = true }: { readonly print?: boolean } = {}): Promise<Profile> {
    const profiler = await this.stream.startProfile()
    try {
      await fn()
    } finally {
      await this.stream.stopProfile()
    }
    const profile = profiler.report(this.adapter.name, this.memory().bytesHeld)
    if (print) console.log(formatProfile(profile))
    return profile
  }

  /** In test mode: throws if any kernel wrote past the end of a live tensor. */
  async checkGuards(): Promise<void> {
    if (this.#guard === 0) throw new FoveaError('checkGuards: open the device with debug: { guard: true }')
    for (const [storage, buffer] of this.allocator.entries()) {
      const guard = new Storage(this.#guard, storage.op, { buffer, offset: storage.boundBytes }, undefined)
      const words = new Uint32Array(await this.read(guard, this.#guard))
      const at = words.findIndex((w) => w !== GUARD_BITS)
      if (at >= 0) {
        throw new GpuValidationError(
          `${storage.op}: a kernel wrote past the end of its tensor of ${storage.bytes} bytes, ${4 * at} bytes behind it`,
          { op: storage.op },
        )
      }
    }
  }

  /** Frees the device and everything on it. Using it afterwards throws. */
  destroy(): void {
    if (this.#destroyed) return
    this.#destroyed = true
    this.stream.declareLost('the device was destroyed by device.destroy()')
    this.native.destroy()
  }

  [Symbol.dispose](): void {
    this.destroy()
  }
}

/** Limits worth asking for: buffers as large as the adapter has, and all bindings and workgroup sizes it offers. */
const WANTED_LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'maxComputeWorkgroupSizeY',
  'maxStorageBuffersPerShaderStage',
] as const

const WANTED_FEATURES = ['shader-f16', 'subgroups', 'timestamp-query'] as const

/** Opens WebGPU's device with what helps and is there, of `WANTED_FEATURES` and others. Throws an AdapterError if the driver refuses. */
export async function requestDevice(adapter: GPUAdapter, others: readonly string[] = []): Promise<GPUDevice> {
  const requiredFeatures = [...WANTED_FEATURES, ...others].filter((f) =>
    adapter.features.has(f as GPUFeatureName),
  ) as GPUFeatureName[]
  const requiredLimits: Record<string, number> = {}
  for (const name of WANTED_LIMITS) {
    const value = adapter.limits[name]
    if (value !== undefined) requiredLimits[name] = value
  }
  try {
    return await adapter.requestDevice({ requiredFeatures, requiredLimits })
  } catch (cause) {
    const info = adapter.info
    throw new AdapterError(
      `the adapter ${info.vendor} ${info.architecture} ${info.description} refused to open: ${String(cause)}`,
      { cause },
    )
  }
}
