import type { Allocator } from './allocator.ts'
import {
  type BoundCommand,
  bind,
  type Command,
  clears,
  type Dispatch,
  inRuns,
  touched,
  UNIFORM_SLOT,
  uncompiled,
  usesParams,
  writeParams,
  written,
} from './commands.ts'
import { FoveaError } from './errors.ts'
import { BufferUsage } from './flags.ts'
import { liveBytes, type Sharing, shareBuffers } from './memory-plan.ts'
import type { Storage } from './storage.ts'
import type { Stream } from './stream.ts'

/** What a step records while it is captured: nothing runs. */
export class Capture {
  readonly commands: Command[] = []
  /** Work of the host that has its place in the step: it runs at every replay, in order, before the submission. */
  readonly host: (() => void)[] = []
  readonly virtuals = new Set<Storage>()
  /** Virtual storages with a buffer of their own: constants made inside the step, with their data until they are placed. */
  readonly constants = new Map<Storage, Uint8Array>()
  /** Constants of a dry run: they have their bytes at once, so that they can be read. */
  readonly uploads: Storage[] = []
  /** Virtual storages with a buffer of their own: what the caller writes before a run, and reads after it. */
  readonly inputs = new Set<Storage>()
  readonly outputs = new Set<Storage>()

  /** `dry`: launches are not even recorded. */
  constructor(readonly dry = false) {}
  /** Compiles its pipelines side by side on the driver's threads. Rejects with a ShaderError. */
  async compile(): Promise<void> {
    await Promise.all(uncompiled(this.commands).map((p) => p.compile()))
  }

  /** True for virtual storages that share with nobody. */
  own(s: Storage): boolean {
    return this.inputs.has(s) || this.outputs.has(s) || this.constants.has(s)
  }

  /** Ends the use of its intermediates by anything but the step itself. */
  retire(): void {
    for (const s of this.virtuals) {
      if (!this.own(s)) s.retire('it belongs to a captured step: return it from the step to read it')
    }
  }

  /** Gives up a step that will not run. */
  abandon(): void {
    for (const s of this.virtuals) s.retire('its step was captured and not run')
    for (const s of this.uploads) s.release('its step was captured and not run')
    this.commands.length = 0
  }
}

/** Bytes on the GPU that a captured step works with. They are known before a buffer is made. */
export interface StepMemory {
  /** Weights and running statistics that it touches. */
  readonly parameters: number
  readonly gradients: number
  /** Moments of optimisers. */
  readonly optimizer: number
  /** The step's own copies of its arguments. */
  readonly inputs: number
  readonly results: number
  readonly uniforms: number
  /** Whatever else it touches: constants, tensors from outside. */
  readonly others: number
  readonly intermediates: {
    /** If none shared a buffer. */
    readonly unshared: number
    /** The most that are alive at one command: no plan can take fewer. */
    readonly live: number
    /** Of the buffers that they share. */
    readonly planned: number
  }
  /** Of the buffers that are made for the step: all but what was there before it. */
  readonly fresh: number
  /** What the device holds with these buffers, everything else on it included. */
  readonly peak: number
}

interface Interval {
  readonly storage: Storage
  readonly bytes: number
  readonly first: number
  last: number
}

/** Which buffers a captured step will take. */
export interface Plan {
  readonly memory: StepMemory
  readonly intervals: readonly Interval[]
  readonly sharing: Sharing
  /** Launches with uniforms, those whose values change first. */
  readonly withParams: readonly Dispatch[]
}

/** Bytes of a buffer of its own for a storage. */
export const ownBytes = (bound: number, guardBytes: number): number =>
  Math.ceil((bound + guardBytes) / 256) * 256

/** Buffers that the intermediates of all programs of a device share: programs never overlap in time. */
export class Scratch {
  readonly buffers: { readonly buffer: GPUBuffer; readonly size: number; users: number }[] = []
  constructor(readonly allocator: Allocator) {}

  release(used: Iterable<{ users: number }>): void {
    for (const b of used) b.users--
    for (let i = this.buffers.length - 1; i >= 0; i--) {
      if (this.buffers[i]!.users > 0) continue
      this.allocator.destroy(this.buffers[i]!.buffer)
      this.buffers.splice(i, 1)
    }
  }
}

/** When each intermediate is first and last touched, in commands. */
function lifetimes(capture: Capture, guardBytes: number): Interval[] {
  const intervals = new Map<Storage, Interval>()
  capture.commands.forEach((command, i) => {
    for (const s of touched(command)) {
      const storage = s.root
      if (!capture.virtuals.has(storage) || capture.own(storage)) continue
      const known = intervals.get(storage)
      if (known) known.last = i
      else
        intervals.set(storage, {
          storage,
          bytes: ownBytes(storage.boundBytes, guardBytes),
          first: i,
          last: i,
        })
    }
  })
  return [...intervals.values()]
}

/** Storages from outside that a captured step touches. */
function externalsOf({ commands, virtuals }: Capture): Storage[] {
  const externals = new Set<Storage>()
  for (const c of commands) for (const s of touched(c)) if (!virtuals.has(s.root)) externals.add(s.root)
  return [...externals]
}

const total = (values: Iterable<number>): number => [...values].reduce((sum, v) => sum + v, 0)

/**
 * Plans the buffers of a captured step beside those that other steps share (`existing`) and all else that is `held`,
 * both in bytes. Makes none.
 */
export function planStep(
  capture: Capture,
  existing: readonly number[],
  held: number,
  guardBytes: number,
): Plan {
  const intervals = lifetimes(capture, guardBytes)
  const sharing = shareBuffers(intervals, existing)
  const dispatches = capture.commands.filter((c): c is Dispatch => c.kind === 'dispatch' && usesParams(c))
  const changing = (d: Dispatch) => typeof d.params === 'function'
  const withParams = [...dispatches.filter(changing), ...dispatches.filter((d) => !changing(d))]
  const own = (storages: Iterable<Storage>) =>
    total([...storages].map((s) => ownBytes(s.boundBytes, guardBytes)))
  const externals = externalsOf(capture)
  const outside = (role?: Storage['role']) =>
    total(externals.filter((s) => s.role === role).map((s) => s.bytes))
  const inputs = own(capture.inputs)
  const results = own(capture.outputs)
  const constants = own(capture.constants.keys())
  const uniforms = withParams.length * UNIFORM_SLOT
  const fresh = inputs + results + constants + uniforms + total(sharing.sizes.slice(existing.length))
  const memory: StepMemory = {
    parameters: outside('parameters'),
    gradients: outside('gradients'),
    optimizer: outside('optimizer'),
    inputs,
    results,
    uniforms,
    others: outside() + constants,
    intermediates: {
      unshared: total(intervals.map((i) => i.bytes)),
      live: liveBytes(intervals),
      planned: total([...new Set(sharing.places)].map((b) => sharing.sizes[b]!)),
    },
    fresh,
    peak: held + fresh,
  }
  return { memory, intervals, sharing, withParams }
}

/** A captured step: commands bound to buffers once, submitted as one submission at every run. */
export class Program {
  readonly #commands: readonly BoundCommand[]
  readonly #dynamic: readonly { readonly dispatch: Dispatch; readonly slot: number }[]
  readonly #dynamicData: DataView
  readonly #uniforms: GPUBuffer | undefined
  readonly #externals: readonly Storage[]
  readonly #used = new Set<{ users: number }>()
  readonly #outputs: readonly Storage[]
  /** What outlives the step and is written by it. */
  readonly #written = new Set<Storage>()
  #disposed = false
  readonly memory: StepMemory
  readonly dispatches: number

  constructor(
    device: GPUDevice,
    private readonly stream: Stream,
    private readonly scratch: Scratch,
    private readonly capture: Capture,
    plan: Plan,
    /** What holds the bytes of the capture's inputs and constants. */
    private readonly held: readonly Storage[],
    guardBytes: number,
  ) {
    const { allocator } = scratch
    const { withParams } = plan
    this.memory = plan.memory
    this.#outputs = [...capture.outputs]
    this.#take(plan)
    for (const s of this.#outputs) {
      s.assign({ buffer: allocator.create(ownBytes(s.boundBytes, guardBytes), s.op), offset: 0 })
    }
    const slots = new Map(withParams.map((d, slot) => [d, slot] as const))
    if (withParams.length > 0) {
      const bytes = withParams.length * UNIFORM_SLOT
      this.#uniforms = allocator.create(bytes, 'uniforms', BufferUsage.UNIFORM | BufferUsage.COPY_DST)
      const view = new DataView(new ArrayBuffer(bytes))
      for (const [d, slot] of slots) if (typeof d.params !== 'function') writeParams(d, view, slot)
      stream.write({ buffer: this.#uniforms, offset: 0 }, view)
    }
    // Their slots lie first, so that a replay writes one range.
    this.#dynamic = withParams
      .filter((d) => typeof d.params === 'function')
      .map((dispatch, slot) => ({ dispatch, slot }))
    this.#dynamicData = new DataView(new ArrayBuffer(this.#dynamic.length * UNIFORM_SLOT))
    const placed = capture.commands
      .filter((c) => c.kind !== 'clear' || clears(c))
      .map((c) => ({ c, places: touched(c).map((s) => s.location()) }))
    device.pushErrorScope('validation')
    const commands = placed.map(({ c, places }) =>
      bind(device, c, places, this.#uniforms, c.kind === 'dispatch' ? (slots.get(c) ?? 0) : 0, guardBytes),
    )
    this.#commands = inRuns(commands)
    this.dispatches = commands.filter((c) => c.kind === 'dispatch').length
    stream.watch(
      device.popErrorScope().then((e) => (e ? new FoveaError(`capture of a step: ${e.message}`) : undefined)),
    )
    for (const s of capture.commands.flatMap(written))
      if (!capture.virtuals.has(s.root)) this.#written.add(s.root)
    this.#externals = externalsOf(capture)
    capture.retire()
    // Only the bound form is needed from here on.
    capture.commands.length = 0
  }

  /** Takes the buffers of the plan and makes those that are not there yet. */
  #take({ intervals, sharing }: Plan): void {
    const { buffers, allocator } = this.scratch
    for (let at = buffers.length; at < sharing.sizes.length; at++) {
      const size = sharing.sizes[at]!
      const { op } = intervals[sharing.places.indexOf(at)]!.storage
      buffers.push({ buffer: allocator.create(size, op), size, users: 0 })
    }
    intervals.forEach(({ storage }, i) => {
      storage.assign({ buffer: buffers[sharing.places[i]!]!.buffer, offset: 0 })
    })
    for (const at of new Set(sharing.places)) {
      buffers[at]!.users++
      this.#used.add(buffers[at]!)
    }
  }

  /** Runs the step once: host work, one write of what changes, one submission. `first` is done before it. */
  run(first: readonly BoundCommand[]): void {
    if (this.#disposed) throw new FoveaError('this compiled step was disposed')
    for (const s of this.#externals) s.assertAlive('compiled step')
    for (const job of this.capture.host) job()
    for (const { dispatch, slot } of this.#dynamic) writeParams(dispatch, this.#dynamicData, slot)
    const uniforms = this.#uniforms
    const data = this.#dynamicData
    if (uniforms && data.byteLength > 0) this.stream.writeAhead({ buffer: uniforms, offset: 0 }, data)
    this.stream.submit(first.length > 0 ? [first, this.#commands] : [this.#commands])
    for (const s of this.#written) s.version++
  }

  dispose(): void {
    if (this.#disposed) return
    this.#disposed = true
    this.scratch.release(this.#used)
    for (const s of this.#outputs) {
      const { buffer } = s.location()
      s.retire('its compiled step was disposed')
      this.scratch.allocator.destroy(buffer)
    }
    for (const s of this.held) s.release('its compiled step was disposed')
    for (const s of this.capture.virtuals) s.retire('its compiled step was disposed')
    if (this.#uniforms) this.scratch.allocator.destroy(this.#uniforms)
  }
}
