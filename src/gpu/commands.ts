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

export type BoundCommand = BoundDispatch | BoundCopy | BoundClear

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
    // Every argument is converted on its way to the driver.
    if (workgroups[2] > 1) pass.dispatchWorkgroups(workgroups[0], workgroups[1], workgroups[2])
    else if (workgroups[1] > 1) pass.dispatchWorkgroups(workgroups[0], workgroups[1])
    else pass.dispatchWorkgroups(workgroups[0])
  }

  /** Ends the open compute pass. */
  end(): void {
    this.#pass?.end()
    this.#pass = undefined
    this.#pipeline = undefined
  }
}
