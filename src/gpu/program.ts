import type { Allocator } from './allocator.ts'
import {
  type BoundCommand,
  bind,
  type Command,
  type Dispatch,
  touched,
  UNIFORM_SLOT,
  usesParams,
  writeParams,
  written,
} from './commands.ts'
import { FoveaError } from './errors.ts'
import { BufferUsage } from './flags.ts'
import type { Storage } from './storage.ts'
import type { Stream } from './stream.ts'

/** What a step records while it is captured: nothing runs. */
export class Capture {
  readonly commands: Command[] = []
  /** Work of the host that has its place in the step: it runs at every replay, in order, before the submission. */
  readonly host: (() => void)[] = []
  readonly virtuals = new Set<Storage>()
  /** Storages with a place that live as long as the program: constants made inside the step. */
  readonly constants: Storage[] = []
}

interface Interval {
  readonly storage: Storage
  first: number
  last: number
}

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

/** When each virtual storage is first and last touched, in commands. */
function lifetimes(capture: Capture): Interval[] {
  const intervals = new Map<Storage, Interval>()
  capture.commands.forEach((command, i) => {
    for (const s of touched(command)) {
      const root = s.root
      if (!capture.virtuals.has(root)) continue
      const known = intervals.get(root)
      if (known) known.last = i
      else intervals.set(root, { storage: root, first: i, last: i })
    }
  })
  return [...intervals.values()]
}

/**
 * A captured step: commands bound to buffers once, submitted as one submission at every run.
 * Intermediates share buffers by lifetime: the largest first, each into the first buffer that is free
 * from its first to its last command.
 */
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
  /** Bytes of the intermediates if none were shared, and as planned. */
  readonly intermediateBytes: { readonly unshared: number; readonly planned: number }

  constructor(
    device: GPUDevice,
    private readonly stream: Stream,
    private readonly scratch: Scratch,
    private readonly capture: Capture,
    /** Storages that the caller reads after a run: they share with nobody. */
    outputs: ReadonlySet<Storage>,
    guardBytes: number,
  ) {
    const { allocator } = scratch
    this.#outputs = [...outputs].filter((s) => capture.virtuals.has(s))
    const intervals = lifetimes(capture).filter((i) => !outputs.has(i.storage))
    this.intermediateBytes = this.#plan(intervals, guardBytes)
    for (const s of this.#outputs) {
      const size = Math.ceil((s.boundBytes + guardBytes) / 256) * 256
      s.assign({ buffer: allocator.create(size, s.op), offset: 0 })
    }
    const withParams = capture.commands.filter((c): c is Dispatch => c.kind === 'dispatch' && usesParams(c))
    // Dynamic slots lie first, so that a replay writes one range.
    const ordered = [
      ...withParams.filter((d) => typeof d.params === 'function'),
      ...withParams.filter((d) => typeof d.params !== 'function'),
    ]
    const slots = new Map(ordered.map((d, slot) => [d, slot] as const))
    if (ordered.length > 0) {
      const bytes = ordered.length * UNIFORM_SLOT
      this.#uniforms = allocator.create(bytes, 'uniforms', BufferUsage.UNIFORM | BufferUsage.COPY_DST)
      const view = new DataView(new ArrayBuffer(bytes))
      for (const [d, slot] of slots) if (typeof d.params !== 'function') writeParams(d, view, slot)
      stream.write({ buffer: this.#uniforms, offset: 0 }, view)
    }
    this.#dynamic = ordered
      .filter((d) => typeof d.params === 'function')
      .map((dispatch, slot) => ({ dispatch, slot }))
    this.#dynamicData = new DataView(new ArrayBuffer(this.#dynamic.length * UNIFORM_SLOT))
    device.pushErrorScope('validation')
    this.#commands = capture.commands.map((c) => {
      const places = touched(c).map((s) => s.location())
      return bind(
        device,
        c,
        places,
        this.#uniforms,
        c.kind === 'dispatch' ? (slots.get(c) ?? 0) : 0,
        guardBytes,
      )
    })
    stream.watch(
      device.popErrorScope().then((e) => (e ? new FoveaError(`capture of a step: ${e.message}`) : undefined)),
    )
    const externals = new Set<Storage>()
    for (const c of capture.commands) {
      for (const s of written(c)) if (!capture.virtuals.has(s.root)) this.#written.add(s.root)
      for (const s of touched(c)) if (!capture.virtuals.has(s.root)) externals.add(s.root)
    }
    this.#externals = [...externals]
    for (const s of capture.virtuals)
      if (!outputs.has(s)) s.retire('it belongs to a captured step: return it from the step to read it')
    // Only the bound form is needed from here on.
    capture.commands.length = 0
  }

  get dispatches(): number {
    return this.#commands.reduce((n, c) => n + (c.kind === 'dispatch' ? 1 : 0), 0)
  }

  #plan(intervals: Interval[], guardBytes: number): { unshared: number; planned: number } {
    const { buffers, allocator } = this.scratch
    const taken = new Map<(typeof buffers)[number], Interval[]>()
    let unshared = 0
    intervals.sort((a, b) => b.storage.bytes - a.storage.bytes || a.first - b.first)
    for (const interval of intervals) {
      const need = Math.ceil((interval.storage.boundBytes + guardBytes) / 256) * 256
      unshared += need
      let best: (typeof buffers)[number] | undefined
      for (const candidate of buffers) {
        if (candidate.size < need || (best && best.size <= candidate.size)) continue
        const others = taken.get(candidate) ?? []
        if (others.every((o) => o.last < interval.first || interval.last < o.first)) best = candidate
      }
      if (!best) {
        best = { buffer: allocator.create(need, interval.storage.op), size: need, users: 0 }
        buffers.push(best)
      }
      const list = taken.get(best)
      if (list) list.push(interval)
      else taken.set(best, [interval])
      interval.storage.assign({ buffer: best.buffer, offset: 0 })
    }
    let planned = 0
    for (const b of taken.keys()) {
      b.users++
      planned += b.size
      this.#used.add(b)
    }
    return { unshared, planned }
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
    this.stream.submit([...first, ...this.#commands])
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
    for (const s of this.capture.constants) s.release('its compiled step was disposed')
    if (this.#uniforms) this.scratch.allocator.destroy(this.#uniforms)
  }
}
