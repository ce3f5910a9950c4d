import { FoveaError, FreedTensorError } from './errors.ts'

/** A place on the GPU: bytes of a buffer. */
export interface Place {
  readonly buffer: GPUBuffer
  readonly offset: number
}

let nextId = 1

/**
 * Bytes on the GPU that tensors share by counting references. It has a place from the start (pool or
 * buffer of its own), or is virtual: named while a step is captured, placed when the step is planned.
 */
export class Storage {
  readonly id = nextId++
  #refs = 1
  #freed: string | undefined
  #place: Place | undefined
  /** How often it was written, on a root storage: what is derived from it is up to date while this stays. */
  version = 0
  /** What it holds, for reports of memory; undefined for everything else. */
  role: 'parameters' | 'gradients' | 'optimizer' | undefined

  constructor(
    /** Bytes asked for. */
    readonly bytes: number,
    /** The op that made it; named in leak reports and errors. */
    readonly op: string,
    place: Place | undefined,
    private readonly onFree: ((storage: Storage) => void) | undefined,
    private readonly parent?: { readonly storage: Storage; readonly offset: number },
  ) {
    this.#place = place
  }

  /** Bytes bound in a launch: whole vec4s. */
  get boundBytes(): number {
    return boundBytes(this.bytes)
  }

  /** The storage that owns the bytes: itself, or what it was sliced from. */
  get root(): Storage {
    return this.parent ? this.parent.storage.root : this
  }

  get refs(): number {
    return this.#refs
  }

  get freed(): boolean {
    return this.#freed !== undefined
  }

  /** True between capture and planning: it has no bytes yet. */
  get virtual(): boolean {
    return this.root.#place === undefined
  }

  /** Byte offset inside the root storage. */
  get offset(): number {
    return this.parent ? this.parent.storage.offset + this.parent.offset : 0
  }

  get place(): Place {
    this.assertAlive()
    return this.location()
  }

  /** Where it lies, or lay: a planned step binds storages that were freed while it was captured. */
  location(): Place {
    const root = this.root.#place
    if (!root)
      throw new FoveaError(`storage of ${this.op} has no place yet: its step is still being captured`)
    return this.parent ? { buffer: root.buffer, offset: root.offset + this.offset } : root
  }

  /** Gives a virtual storage its bytes. */
  assign(place: Place): void {
    this.#place = place
  }

  assertAlive(user?: string): void {
    if (this.#freed === undefined) return
    const by = user ? `${user}: ` : ''
    throw new FreedTensorError(
      `${by}a tensor made by ${this.op} was used after it was freed (${this.#freed})`,
      {
        op: user,
      },
    )
  }

  /** One more holder. */
  retain(): this {
    this.assertAlive()
    this.#refs++
    return this
  }

  /** One holder less; the last one frees it. `why` is told to whoever uses it afterwards. */
  release(why: string): void {
    if (this.#freed !== undefined) return
    if (--this.#refs > 0) return
    this.retire(why)
    this.parent?.storage.release(why)
  }

  /** Frees it whatever its holders. */
  retire(why: string): void {
    if (this.#freed !== undefined) return
    this.#freed = why
    this.onFree?.(this)
  }

  /** A part of it that shares its bytes. `offset` in bytes, a multiple of 256 (WebGPU's binding alignment). */
  slice(offset: number, bytes: number): Storage {
    if (offset % 256 !== 0)
      throw new FoveaError(`a slice must begin at a multiple of 256 bytes, got ${offset}`)
    if (offset + bytes > Math.max(16, this.bytes)) {
      throw new FoveaError(`slice of ${bytes} bytes at ${offset} leaves a storage of ${this.bytes} bytes`)
    }
    return new Storage(bytes, this.op, undefined, undefined, { storage: this.retain(), offset })
  }
}

/** WebGPU cannot bind size 0, and vec4 bindings want multiples of 16. */
export const boundBytes = (bytes: number): number => Math.max(16, Math.ceil(bytes / 16) * 16)
