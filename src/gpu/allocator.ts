import { formatBytes } from './bytes.ts'
import { FoveaError, GpuOutOfMemoryError } from './errors.ts'
import { BufferUsage } from './flags.ts'
import { boundBytes, type Place, Storage } from './storage.ts'

/** What the GPU holds for us, in bytes and counts. */
export interface MemoryReport {
  /** Bytes of all buffers that exist, pooled ones included. */
  readonly bytesHeld: number
  /** Bytes inside live tensors. */
  readonly bytesInUse: number
  /** Most bytes that were held at once. */
  readonly peakBytes: number
  /** Live storages (tensors may share one). */
  readonly storages: number
  /** Buffers created since the device was opened. */
  readonly buffersCreated: number
  /** Live storages by the op that made them. */
  readonly byOp: Readonly<Record<string, number>>
  /** Tensors that were garbage-collected without being freed, by the op that made them. */
  readonly leaks: Readonly<Record<string, number>>
}

/** Bytes behind every tensor in test mode that no kernel may touch. */
export const GUARD_BYTES = 256

const STORAGE_USAGE = BufferUsage.STORAGE | BufferUsage.COPY_SRC | BufferUsage.COPY_DST

/** Rounds up to an eighth of a power of two: at most 12.5 % is wasted and recycled buffers fit often. */
function sizeClass(bytes: number): number {
  if (bytes <= 1024) return Math.ceil(bytes / 256) * 256
  const step = 2 ** (Math.floor(Math.log2(bytes)) - 3)
  return Math.ceil(bytes / step) * step
}

/** Creates, pools and counts storage buffers. The pool never exceeds what is in use, or 256 MB. */
export class Allocator {
  readonly #pool = new Map<number, GPUBuffer[]>()
  readonly #sizes = new Map<GPUBuffer, number>()
  readonly #live = new Map<Storage, GPUBuffer>()
  readonly leaks: Record<string, number> = {}
  #held = 0
  #pooled = 0
  #inUse = 0
  #peak = 0
  #created = 0

  constructor(
    private readonly device: GPUDevice,
    /** Bytes: of one binding, of one buffer, of all buffers together. */
    private readonly limits: { readonly binding: number; readonly buffer: number; readonly total: number },
    private readonly guardBytes: number,
    /** Commands that were recorded and not submitted may need a buffer that is given up. */
    private readonly stream: { whenSubmitted(job: () => void): void; flush(): void },
    private readonly onError: (pending: Promise<Error | undefined>) => void,
  ) {}

  report(): MemoryReport {
    const byOp: Record<string, number> = {}
    for (const s of this.#live.keys()) byOp[s.op] = (byOp[s.op] ?? 0) + 1
    return {
      bytesHeld: this.#held,
      bytesInUse: this.#inUse,
      peakBytes: this.#peak,
      storages: this.#live.size,
      buffersCreated: this.#created,
      byOp,
      leaks: { ...this.leaks },
    }
  }

  /** Live storages with the buffers under them. */
  entries(): IterableIterator<[Storage, GPUBuffer]> {
    return this.#live.entries()
  }

  /** Throws if no buffer of this adapter can hold `bytes`. */
  assertFits(bytes: number, op: string): void {
    if (boundBytes(bytes) + this.guardBytes <= this.limits.buffer) return
    throw new GpuOutOfMemoryError(
      `${op}: a tensor of ${formatBytes(bytes)} is needed, a buffer of this adapter holds at most ${formatBytes(this.limits.buffer)}; use a smaller batch or image`,
      { op },
    )
  }

  /** Throws if a launch cannot bind a storage. A larger one exists to be read, written and bound in parts. */
  assertBindable(storage: Storage, op: string): void {
    const guard = storage.root === storage ? this.guardBytes : 0
    if (storage.boundBytes + guard <= this.limits.binding) return
    throw new GpuOutOfMemoryError(
      `${op}: a tensor of ${formatBytes(storage.bytes)} is needed, this adapter binds at most ${formatBytes(this.limits.binding)}; use a smaller batch or image`,
      { op },
    )
  }

  /** Bytes from the pool, contents undefined. */
  allocate(bytes: number, op: string): Storage {
    this.assertFits(bytes, op)
    const size = sizeClass(boundBytes(bytes) + this.guardBytes)
    const pooled = this.#pool.get(size)?.pop()
    if (pooled) this.#pooled -= size
    return this.#adopt(pooled ?? this.create(size, op), bytes, op, (buffer) => this.#recycle(buffer))
  }

  /** A buffer of its own, zeroed (WebGPU zeroes new buffers): parameters, moments, inputs of captured steps. */
  allocatePersistent(bytes: number, op: string): Storage {
    this.assertFits(bytes, op)
    const buffer = this.create(Math.ceil((boundBytes(bytes) + this.guardBytes) / 256) * 256, op)
    return this.#adopt(buffer, bytes, op, (b) => this.destroy(b))
  }

  #adopt(buffer: GPUBuffer, bytes: number, op: string, giveBack: (buffer: GPUBuffer) => void): Storage {
    const place: Place = { buffer, offset: 0 }
    const storage = new Storage(bytes, op, place, (s) => {
      this.#live.delete(s)
      this.#inUse -= bytes
      giveBack(buffer)
    })
    this.#live.set(storage, buffer)
    this.#inUse += bytes
    return storage
  }

  #recycle(buffer: GPUBuffer): void {
    const size = this.#sizes.get(buffer)
    if (size === undefined) return
    const list = this.#pool.get(size) ?? []
    this.#pool.set(size, list)
    list.push(buffer)
    this.#pooled += size
    if (this.#pooled > Math.max(256 * 2 ** 20, this.#inUse)) this.trim()
  }

  /** A new buffer; its errors arrive as typed errors at the next wait for the GPU. */
  create(size: number, op: string, usage: number = STORAGE_USAGE): GPUBuffer {
    if (this.#held + size > this.limits.total) this.trim()
    if (this.#held + size > this.limits.total) {
      throw new GpuOutOfMemoryError(
        `${op}: ${formatBytes(size)} are wanted beside ${formatBytes(this.#held)} that are held, the memory limit is ${formatBytes(this.limits.total)}; use a smaller batch, image or network`,
        { op, room: this.limits.total },
      )
    }
    this.device.pushErrorScope('validation')
    this.device.pushErrorScope('out-of-memory')
    const buffer = this.device.createBuffer({ size, usage, label: op })
    const held = this.#held
    this.onError(
      Promise.all([this.device.popErrorScope(), this.device.popErrorScope()]).then(([memory, validation]) => {
        if (memory) {
          return new GpuOutOfMemoryError(
            `${op}: no room on the GPU for ${formatBytes(size)}, ${formatBytes(held)} are held; use a smaller batch or image. ${memory.message}`,
            { op, room: held },
          )
        }
        return validation ? new FoveaError(`${op}: createBuffer: ${validation.message}`, { op }) : undefined
      }),
    )
    this.#sizes.set(buffer, size)
    this.#created++
    this.#held += size
    this.#peak = Math.max(this.#peak, this.#held)
    return buffer
  }

  destroy(buffer: GPUBuffer): void {
    const size = this.#sizes.get(buffer)
    if (size === undefined) return
    this.#sizes.delete(buffer)
    this.#held -= size
    this.stream.whenSubmitted(() => buffer.destroy())
  }

  /** Gives pooled buffers back to the driver. */
  trim(): void {
    for (const list of this.#pool.values()) for (const buffer of list) this.destroy(buffer)
    this.#pool.clear()
    this.#pooled = 0
    this.stream.flush()
  }
}
