import type { Pipeline } from './kernel.ts'
import type { Place, Storage } from './storage.ts'
import { packParams } from './wgsl.ts'

export type ParamValues = Readonly<Record<string, number>>

/** One kernel launch as ops ask for it. */
export interface Dispatch {
  readonly kind: 'dispatch'
  readonly op: string
  readonly pipeline: Pipeline
  readonly storages: readonly { readonly index: number; readonly storage: Storage }[]
  /** Uniform values; a function is asked anew at every replay of a captured step. */
  readonly params: ParamValues | (() => ParamValues)
  readonly workgroups: readonly [number, number, number]
  /** Floating-point operations, for profiles. */
  readonly flops: number
}

export interface Copy {
  readonly kind: 'copy'
  readonly op: string
  readonly from: Storage
  readonly to: Storage
  readonly fromOffset: number
  readonly toOffset: number
  readonly bytes: number
}

export interface Clear {
  readonly kind: 'clear'
  readonly op: string
  readonly target: Storage
  /** Parts of it that the step writes before it reads them: they need no zeros. */
  readonly spared: Storage[]
}

export type Command = Dispatch | Copy | Clear

/** A dispatch whose buffers are known. */
export interface BoundDispatch {
  readonly kind: 'dispatch'
  readonly op: string
  readonly pipeline: Pipeline
  readonly group: GPUBindGroup
  readonly workgroups: readonly [number, number, number]
  readonly flops: number
  /** Bytes of every tensor bound, each once: a lower bound of the traffic if all of them is touched. */
  readonly bytes: number
}

export interface BoundCopy {
  readonly kind: 'copy'
  readonly from: Place
  readonly to: Place
  readonly bytes: number
}

export interface BoundClear {
  readonly kind: 'clear'
  readonly place: Place
  readonly bytes: number
}

/**
 * Neighbouring dispatches of a step that is replayed. By the time of a replay the caches hold none of them, so that each
 * object looked into costs: what is handed to the driver lies in three arrays, made when it is first encoded.
 */
export interface BoundRun {
  readonly kind: 'run'
  readonly dispatches: readonly BoundDispatch[]
  flat:
    | {
        /** Undefined where it is that of the dispatch before. */
        readonly pipelines: readonly (GPUComputePipeline | undefined)[]
        readonly groups: readonly GPUBindGroup[]
        /** Workgroups, three numbers a dispatch. */
        readonly sizes: Uint16Array
      }
    | undefined
}

export type BoundCommand = BoundDispatch | BoundCopy | BoundClear | BoundRun

/** Lists of commands with what runs of dispatches hold in their place. */
export const singly = (lists: readonly (readonly BoundCommand[])[]) =>
  lists
    .flat()
    .flatMap((c): readonly Exclude<BoundCommand, BoundRun>[] => (c.kind === 'run' ? c.dispatches : [c]))

/** Commands with neighbouring dispatches put into runs. */
export function inRuns(commands: readonly BoundCommand[]): BoundCommand[] {
  const result: BoundCommand[] = []
  let run: BoundDispatch[] | undefined
  for (const c of commands) {
    if (c.kind !== 'dispatch') {
      run = undefined
      result.push(c)
      continue
    }
    if (!run) {
      run = []
      result.push({ kind: 'run', dispatches: run, flat: undefined })
    }
    run.push(c)
  }
  return result
}

/** Storages that a command touches. */
export function touched(command: Command): Storage[] {
  if (command.kind === 'dispatch') return command.storages.map((b) => b.storage)
  return command.kind === 'copy' ? [command.from, command.to] : [command.target]
}

/** Storages that a command may write. */
export function written(command: Command): Storage[] {
  if (command.kind === 'copy') return [command.to]
  if (command.kind === 'clear') return [command.target]
  const { bindings } = command.pipeline.entry
  return command.storages
    .filter(({ index }) => bindings.some((b) => b.index === index && b.access === 'read_write'))
    .map((b) => b.storage)
}

/** Pipelines of the launches among them that nobody compiled yet, each once. */
export const uncompiled = (commands: readonly Command[]): Pipeline[] => [
  ...new Set(commands.flatMap((c) => (c.kind === 'dispatch' && !c.pipeline.compiled ? [c.pipeline] : []))),
]

/** Slices begin at multiples of so many bytes; what lies between one and the next is padding. */
const ALIGN = 256

/** Whether something is left to clear. Parts that are spared don't overlap. */
export const clears = ({ target, spared }: Clear): boolean =>
  spared.reduce((sum, { boundBytes }) => sum + ALIGN * Math.ceil(boundBytes / ALIGN), 0) < target.boundBytes

/**
 * The clear, among what a step has recorded so far, that left zeros in a storage: it covers it, and nothing behind it
 * touches it.
 */
export function clearOf(storage: Storage, commands: readonly Command[]): Clear | undefined {
  const { root, offset } = storage
  const end = offset + storage.boundBytes
  const meets = (s: Storage) => s.root === root && s.offset < end && offset < s.offset + s.boundBytes
  const last = commands.findLast((c) => touched(c).some(meets))
  if (last?.kind !== 'clear' || last.spared.some(meets)) return undefined
  const { target } = last
  return target.offset <= offset && end <= target.offset + target.boundBytes ? last : undefined
}

/** Uniform slots: WebGPU wants bindings at multiples of 256 bytes. */
export const UNIFORM_SLOT = 256

export const usesParams = (d: Dispatch): boolean =>
  d.pipeline.entry.bindings.some((b) => b.access === 'uniform')

/** Writes a dispatch's uniforms into its slot. */
export function writeParams(d: Dispatch, view: DataView, slot: number): void {
  const values = typeof d.params === 'function' ? d.params() : d.params
  packParams(d.op, d.pipeline.kernel.meta.params, values, view, slot * UNIFORM_SLOT)
}

/** Binds a command to its buffers. `extra` bytes past a storage's end are bound too (guard bands in test mode). */
export function bind(
  device: GPUDevice,
  command: Command,
  places: readonly Place[],
  uniforms: GPUBuffer | undefined,
  slot: number,
  extra: number,
): BoundCommand {
  if (command.kind === 'clear') return { kind: 'clear', place: places[0]!, bytes: command.target.boundBytes }
  if (command.kind === 'copy') {
    const [from, to] = [places[0]!, places[1]!]
    return {
      kind: 'copy',
      from: { buffer: from.buffer, offset: from.offset + command.fromOffset },
      to: { buffer: to.buffer, offset: to.offset + command.toOffset },
      bytes: command.bytes,
    }
  }
  const { pipeline } = command
  // The tensors' own bytes, not those of the buffers they share; a tensor bound under two names counts once.
  const bytes = [...new Set(command.storages.map((b) => b.storage))].reduce((sum, s) => sum + s.bytes, 0)
  const entries: GPUBindGroupEntry[] = command.storages.map(({ index, storage }, i) => {
    const { buffer, offset } = places[i]!
    const size = storage.boundBytes + (storage.root === storage ? extra : 0)
    return { binding: index, resource: { buffer, offset, size } }
  })
  for (const b of pipeline.entry.bindings) {
    if (b.access !== 'uniform') continue
    // The whole slot: kernels share layouts, and wgpu holds a dispatch to the size that the one before it wants.
    const resource = { buffer: uniforms!, offset: slot * UNIFORM_SLOT, size: UNIFORM_SLOT }
    entries.push({ binding: b.index, resource })
  }
  const group = device.createBindGroup({ label: `op ${command.op}`, layout: pipeline.layout.bind, entries })
  return {
    kind: 'dispatch',
    op: command.op,
    pipeline,
    group,
    workgroups: command.workgroups,
    flops: command.flops,
    bytes,
  }
}

/** Every argument is converted on its way to the driver. */
function dispatch(pass: GPUComputePassEncoder, x: number, y: number, z: number): void {
  if (z > 1) pass.dispatchWorkgroups(x, y, z)
  else if (y > 1) pass.dispatchWorkgroups(x, y)
  else pass.dispatchWorkgroups(x)
}

const flatten = (dispatches: readonly BoundDispatch[]): NonNullable<BoundRun['flat']> => ({
  pipelines: dispatches.map(({ pipeline }, i) =>
    pipeline === dispatches[i - 1]?.pipeline ? undefined : pipeline.gpu,
  ),
  groups: dispatches.map(({ group }) => group),
  sizes: Uint16Array.from(dispatches.flatMap(({ workgroups }) => workgroups)),
})

/** Where `encode` stands: dispatches of several lists share a compute pass, too. */
export class Encoding {
  #pass: GPUComputePassEncoder | undefined
  #pipeline: Pipeline | undefined
  dispatches = 0

  constructor(
    private readonly encoder: GPUCommandEncoder,
    /** Each dispatch gets a pass of its own with these timestamps. */
    private readonly timer?: () => GPUComputePassTimestampWrites | undefined,
  ) {}

  /** Encodes commands; neighbouring dispatches share a compute pass unless each is to be timed by itself. */
  add(commands: readonly BoundCommand[]): void {
    for (const command of commands) {
      if (command.kind === 'dispatch') this.#dispatch(command)
      else if (command.kind === 'run') this.#run(command)
      else if (command.kind === 'copy') {
        this.end()
        const { from, to, bytes } = command
        this.encoder.copyBufferToBuffer(from.buffer, from.offset, to.buffer, to.offset, bytes)
      } else {
        this.end()
        this.encoder.clearBuffer(command.place.buffer, command.place.offset, command.bytes)
      }
    }
  }

  #dispatch({ pipeline, group, workgroups }: BoundDispatch): void {
    if (this.timer) {
      this.end()
      const timestampWrites = this.timer()
      this.#pass = this.encoder.beginComputePass(timestampWrites ? { timestampWrites } : {})
    }
    this.#pass ??= this.encoder.beginComputePass()
    const pass = this.#pass
    if (this.#pipeline !== pipeline) {
      this.#pipeline = pipeline
      pass.setPipeline(pipeline.gpu)
    }
    pass.setBindGroup(0, group)
    this.dispatches++
    dispatch(pass, ...workgroups)
  }

  #run(run: BoundRun): void {
    if (this.timer) {
      for (const d of run.dispatches) this.#dispatch(d)
      return
    }
    run.flat ??= flatten(run.dispatches)
    const { pipelines, groups, sizes } = run.flat
    this.#pass ??= this.encoder.beginComputePass()
    this.#pipeline = undefined
    const pass = this.#pass
    for (let i = 0; i < groups.length; i++) {
      const pipeline = pipelines[i]
      if (pipeline) pass.setPipeline(pipeline)
      pass.setBindGroup(0, groups[i]!)
      dispatch(pass, sizes[3 * i]!, sizes[3 * i + 1]!, sizes[3 * i + 2]!)
    }
    this.dispatches += groups.length
  }

  /** Ends the open compute pass. */
  end(): void {
    this.#pass?.end()
    this.#pass = undefined
    this.#pipeline = undefined
  }
}
