import {
  type BoundCommand,
  bind,
  type Command,
  Encoding,
  singly,
  touched,
  UNIFORM_SLOT,
  uncompiled,
  usesParams,
  writeParams,
} from './commands.ts'
import { DeviceLostError, FoveaError, GpuValidationError, ShaderError } from './errors.ts'
import { BufferUsage } from './flags.ts'
import type { Profiler } from './profiler.ts'
import type { Place } from './storage.ts'

/** Commands recorded before they are submitted on their own. */
const FLUSH_AT = 256
/** Submissions that may be under way before `ready()` waits. */
const RUN_AHEAD = 2
/** Submissions that may be under way at all: past this a loop that never awaits is stopped by an error. */
const MAX_UNDER_WAY = 4096

interface Recorded {
  readonly command: Command
  readonly places: readonly Place[]
}

const dispatchesOf = (lists: readonly (readonly BoundCommand[])[]) =>
  singly(lists).filter((c) => c.kind === 'dispatch')

/** Records commands, submits them together, and turns what the GPU reports into typed errors. */
export class Stream {
  #pending: Recorded[] = []
  /** Commands taken from there so far. */
  #taken = 0
  #afterSubmission: (() => void)[] = []
  #uniforms: GPUBuffer | undefined
  #uniformData = new DataView(new ArrayBuffer(0))
  /** Lists that the GPU has taken without an error: they want no error scope again. What it refuses all the same, it says without one. */
  readonly #accepted = new WeakSet<readonly BoundCommand[]>()
  readonly #checks = new Set<Promise<void>>()
  readonly #underWay: Promise<void>[] = []
  #failure: Error | undefined
  #lost: DeviceLostError | undefined
  #profiler: Profiler | undefined
  /** With the wall clock, submissions wait for each other here. */
  #chain: Promise<void> = Promise.resolve()
  submissions = 0
  dispatches = 0

  constructor(
    private readonly device: GPUDevice,
    private readonly name: string,
    private readonly guardBytes: number,
  ) {
    device.lost.then((info) => {
      this.#lost = new DeviceLostError(
        `${name}: the GPU device was lost (${info.reason}${info.message ? `: ${info.message}` : ''}). ` +
          'Nothing computed since the last read-back is valid; open a new device and go on from the last checkpoint',
      )
    })
    device.addEventListener('uncapturederror', ({ error }) => {
      this.#failure ??= new GpuValidationError(`${name}: ${error.message}`)
    })
  }

  /** True once the device is gone. */
  get lost(): boolean {
    return this.#lost !== undefined
  }

  /** Marks the device as gone without waiting for the driver to say so. */
  declareLost(reason: string): void {
    this.#lost ??= new DeviceLostError(`${this.name}: ${reason}`)
  }

  /** Throws if the device is lost. */
  assertUsable(): void {
    if (this.#lost) throw this.#lost
  }

  /** Takes an error that arrives later; it is thrown at the next wait for the GPU. */
  watch(pending: Promise<Error | undefined>): void {
    const check: Promise<void> = pending
      .then(
        (error) => {
          // A kernel that does not compile makes every launch of it invalid: the compile error is the cause.
          if (error && (!this.#failure || error instanceof ShaderError)) this.#failure = error
        },
        // A rejected scope means the device went away; `device.lost` tells why.
        () => undefined,
      )
      .finally(() => this.#checks.delete(check))
    this.#checks.add(check)
  }

  record(command: Command): void {
    this.assertUsable()
    const storages = touched(command)
    for (const s of storages) s.assertAlive(command.op)
    this.#pending.push({ command, places: storages.map((s) => s.place) })
    if (this.#pending.length >= FLUSH_AT) this.flush()
  }

  /** Runs `job` when everything recorded so far is submitted: now, if nothing waits. */
  whenSubmitted(job: () => void): void {
    if (this.#pending.length > 0 && !this.#lost) this.#afterSubmission.push(job)
    else this.#chained(job)
  }

  /** With the wall clock behind the submissions that wait, else now. */
  #chained(job: () => void): void {
    if (this.#profiler?.clock === 'wall') this.#chain = this.#chain.then(job)
    else job()
  }

  /** Submits what was recorded, as one submission. Compiles here, which blocks, what nobody compiled. */
  flush(): void {
    if (this.#pending.length > 0) this.submit([])
  }

  /**
   * Submits what was recorded until now as soon as its kernels are compiled, side by side: at once, if all are. What is recorded
   * meanwhile has a submission of its own. Where a kernel cannot be compiled nothing is submitted, as nothing would run; the next
   * wait throws the ShaderError.
   */
  async flushCompiled(): Promise<void> {
    while (this.#underWay.length >= MAX_UNDER_WAY) await this.#underWay[0]
    const open = uncompiled(this.#pending.map((r) => r.command))
    if (open.length === 0) return this.flush()
    this.assertUsable()
    const end = this.#taken + this.#pending.length
    const broken = await Promise.all(open.map((p) => p.compile())).then(
      () => undefined,
      (error: Error) => error,
    )
    const count = end - this.#taken
    if (count <= 0) return
    if (!broken) return this.submit([], count)
    this.assertUsable()
    this.#failure ??= broken
    this.#take(count)
    this.#ran()
  }

  /**
   * Submits what was recorded (the first `count` commands of it) and, behind it in the same submission, lists of commands whose
   * buffers are bound already: the replay of a captured step.
   */
  submit(lists: readonly (readonly BoundCommand[])[], count = this.#pending.length): void {
    this.assertUsable()
    if (this.#underWay.length >= MAX_UNDER_WAY) {
      throw new FoveaError(
        `${MAX_UNDER_WAY} submissions wait for the GPU: await device.ready() (or a tensor's data()) in the loop`,
      )
    }
    if (count === 0 && lists.every((list) => this.#accepted.has(list))) this.#submitBound(lists)
    else {
      const { bound, write } = this.#bindPending(count)
      const all = [bound, ...lists]
      this.#submitBound(all, write)
      this.#popValidation(all)
    }
    this.#ran()
  }

  /** Runs what waited for everything recorded, if nothing of that is left. */
  #ran(): void {
    if (this.#pending.length > 0) return
    const jobs = this.#afterSubmission
    this.#afterSubmission = []
    for (const job of jobs) this.#chained(job)
  }

  /** The first `count` commands of what was recorded, which waits no longer. */
  #take(count: number): Recorded[] {
    this.#taken += count
    return this.#pending.splice(0, count)
  }

  /** Binds the first `count` commands that were recorded, in an error scope, which stays open. `write` brings their uniforms to the GPU. */
  #bindPending(count: number): { bound: BoundCommand[]; write: () => void } {
    const recorded = this.#take(count)
    const bytes = count * UNIFORM_SLOT
    if (this.#uniformData.byteLength < bytes) {
      this.#uniformData = new DataView(new ArrayBuffer(Math.max(bytes, 64 * UNIFORM_SLOT)))
      this.#uniforms = this.device.createBuffer({
        label: 'uniforms',
        size: this.#uniformData.byteLength,
        usage: BufferUsage.UNIFORM | BufferUsage.COPY_DST,
      })
    }
    let slot = 0
    const slots = recorded.map(({ command }) => {
      if (command.kind !== 'dispatch' || !usesParams(command)) return 0
      writeParams(command, this.#uniformData, slot)
      return slot++
    })
    // Behind what may throw, so that no scope is left open.
    this.device.pushErrorScope('validation')
    const bound = recorded.map(({ command, places }, i) =>
      bind(this.device, command, places, this.#uniforms, slots[i]!, this.guardBytes),
    )
    const uniforms = this.#uniforms
    const data = this.#uniformData.buffer.slice(0, slot * UNIFORM_SLOT)
    const write = () => {
      if (uniforms && slot > 0) this.device.queue.writeBuffer(uniforms, 0, data)
    }
    return { bound, write }
  }

  #submitBound(lists: readonly (readonly BoundCommand[])[], before?: () => void): void {
    this.submissions++
    const profiler = this.#profiler
    if (profiler) profiler.submissions++
    if (profiler?.clock === 'wall') {
      // The next call of a step writes where its arguments lie into the same copies.
      const commands = singly(lists).map((c) => ({ ...c }))
      this.#chain = this.#chain.then(() => {
        before?.()
        return profiler.runOneByOne(commands, (one) => this.#encode(one))
      })
      return
    }
    before?.()
    const timing = profiler?.timestamps(dispatchesOf(lists))
    this.device.queue.submit([this.#encode(lists, timing)])
    if (timing) this.#chain = Promise.all([this.#chain, timing.collect()]).then(() => undefined)
    const settle = () => {
      const i = this.#underWay.indexOf(done)
      if (i >= 0) this.#underWay.splice(i, 1)
    }
    const done = this.device.queue.onSubmittedWorkDone().then(settle, settle)
    this.#underWay.push(done)
  }

  #encode(
    lists: readonly (readonly BoundCommand[])[],
    timing?: ReturnType<Profiler['timestamps']>,
  ): GPUCommandBuffer {
    const encoder = this.device.createCommandEncoder()
    const encoding = new Encoding(encoder, timing?.timer)
    for (const list of lists) encoding.add(list)
    encoding.end()
    this.dispatches += encoding.dispatches
    timing?.resolve(encoder)
    return encoder.finish()
  }

  #popValidation(lists: readonly (readonly BoundCommand[])[]): void {
    this.watch(
      this.device.popErrorScope().then((error) => {
        if (!error) {
          // Not while a profile is taken: by the clock on the wall nothing has run yet.
          if (!this.#profiler) for (const list of lists) this.#accepted.add(list)
          return undefined
        }
        const ops = [...new Set(dispatchesOf(lists).map((d) => d.op))].sort((a, b) => b.length - a.length)
        const op = ops.find((name) => error.message.includes(`op ${name}"`)) ?? ops.join(', ')
        return new GpuValidationError(`${op}: the GPU refused the command: ${error.message}`, { op })
      }),
    )
  }

  /** Writes host data; ordered after everything recorded before it and before everything after. */
  write(place: Place, data: ArrayBufferView): void {
    this.assertUsable()
    this.flush()
    this.writeAhead(place, data)
  }

  /** Writes host data that nothing recorded and unsubmitted touches. */
  writeAhead(place: Place, data: ArrayBufferView): void {
    if (data.byteLength === 0) return
    if (this.#profiler?.clock === 'wall') {
      const copy = new Uint8Array(data.byteLength)
      copy.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
      this.#chain = this.#chain.then(() => this.device.queue.writeBuffer(place.buffer, place.offset, copy))
      return
    }
    this.device.queue.writeBuffer(place.buffer, place.offset, data.buffer, data.byteOffset, data.byteLength)
  }

  /** Waits until at most two submissions are under way: call it once a step in a loop that reads nothing back. */
  async ready(): Promise<void> {
    await this.flushCompiled()
    await this.#chain
    while (this.#underWay.length > RUN_AHEAD) await this.#underWay[0]
    this.#rethrow()
  }

  /** Waits for everything submitted; throws what the GPU had to say against any of it. */
  async idle(): Promise<void> {
    await this.flushCompiled()
    await this.#chain
    await Promise.all(this.#underWay)
    await this.settled()
  }

  /** Waits for the answers of all error scopes and throws the first error among them. */
  async settled(): Promise<void> {
    while (this.#checks.size > 0) await Promise.all(this.#checks)
    this.#rethrow()
  }

  #rethrow(): void {
    this.assertUsable()
    const failure = this.#failure
    this.#failure = undefined
    if (failure) throw failure
  }

  /** Waits for submissions that a wall-clock profile holds back. */
  chained(): Promise<void> {
    return this.#chain
  }

  async startProfile(): Promise<Profiler> {
    // What pages load when they profile.
    const { Profiler } = await import('./profiler.ts')
    this.flush()
    const clock = this.device.features.has('timestamp-query') ? 'timestamps' : 'wall'
    this.#profiler = new Profiler(this.device, clock)
    return this.#profiler
  }

  async stopProfile(): Promise<void> {
    await this.idle()
    this.#profiler = undefined
  }
}
