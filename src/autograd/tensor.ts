import { FoveaError, FreedTensorError, ShapeError } from '../gpu/errors.ts'
import type { Storage } from '../gpu/storage.ts'
import type { Device } from './device.ts'
import { bytesOf, type DType } from './dtype.ts'
import { fromHalves, toHalves } from './float16.ts'
import { shown } from './options.ts'
import type { Slot } from './slots.ts'
import type { Node } from './tape.ts'
import { backward } from './tape.ts'

export { BYTES_PER_ELEMENT, bytesOf, type DType, isFloat } from './dtype.ts'

export type Shape = readonly number[]
export type TypedArray = Float32Array | Int32Array | Uint32Array

const arrays = { float32: Float32Array, int32: Int32Array, uint32: Uint32Array } as const

/** Host values as they lie on the GPU: halves are rounded to the nearest. */
export const encode = (data: TypedArray, dtype: DType): TypedArray | Uint16Array =>
  dtype === 'float16' ? toHalves(data) : data

/** Product of the sizes; 1 for a scalar. */
export const elements = (shape: Shape): number => shape.reduce((n, d) => n * d, 1)

export const formatShape = (shape: Shape): string => `(${shape.join(', ')})`

export const sameShape = (a: Shape, b: Shape): boolean =>
  a === b || (a.length === b.length && a.every((d, i) => d === b[i]))

/** Rejects sizes that are no whole numbers ≥ 0. */
export function checkShape(op: string, shape: Shape): void {
  if (Array.isArray(shape) && shape.every((d) => Number.isInteger(d) && d >= 0)) return
  throw new ShapeError(op, `a shape is an array of whole numbers of at least 0, got ${shown(shape)}`)
}

/** Float32Array, Int32Array or Uint32Array to its dtype. */
export function dtypeOf(op: string, data: TypedArray): Exclude<DType, 'float16'> {
  if (data instanceof Float32Array) return 'float32'
  if (data instanceof Int32Array) return 'int32'
  if (data instanceof Uint32Array) return 'uint32'
  throw new ShapeError(
    op,
    `data must be a Float32Array, Int32Array or Uint32Array, got ${Object.prototype.toString.call(data)}`,
  )
}

/** Channels of a larger (N, C, H, W) array, made by ops that write into a `Slot` and by the gradient of `concat`. */
export interface Channels {
  /** Elements of the storage before image 0. */
  readonly offset: number
  /** Elements from one image to the next. */
  readonly stride: number
  /** The slot in which it lies, if it was written for a later `concat`. */
  readonly slot: Slot | undefined
}

/**
 * Where elements lie, for kernels that read or write channels of a larger array in place: element i of image n
 * at i + offset + n·gap, i counted as in a dense array. Both are multiples of 4; 0 for dense tensors.
 */
export interface Span {
  readonly storage: Storage
  readonly offset: number
  readonly gap: number
}

/**
 * A row-major array on the GPU. Immutable as far as ops go; `set` and optimisers write in place.
 *
 * Who frees it: the tape, for intermediates of a differentiated graph, when `backward` has used them; else
 * the `device.scope` in which it was made; else you, by `dispose()` or `using`.
 */
export class Tensor {
  readonly shape: Shape
  /** The op that made it, if a gradient can flow back through it. */
  node: Node | undefined
  /** Set by ops without a gradient, to explain a later `backward`. */
  noGradientBecause: string | undefined
  /** Set by modules: the name in the state dict. */
  name: string | undefined
  #grad: Tensor | undefined
  #kept = false
  #freed: string | undefined

  constructor(
    readonly device: Device,
    shape: Shape,
    readonly dtype: DType,
    private storageRef: Storage,
    readonly requiresGrad: boolean,
    private readonly onDispose: ((tensor: Tensor) => void) | undefined,
    private channelsOf?: Channels,
  ) {
    this.shape = Object.freeze([...shape])
  }

  /**
   * Gradient of the last `backward`, accumulated over calls until an optimiser's `zeroGrad`. Leaves only. Setting undefined
   * makes it zero where it lies: optimisers and compiled steps know it by its place.
   */
  get grad(): Tensor | undefined {
    return this.#grad
  }

  set grad(value: Tensor | undefined) {
    if (value) this.#grad = value
    else if (this.#grad && !this.#grad.freed) this.device.clear('zero gradient', this.#grad.storage)
  }

  /** Number of elements. */
  get size(): number {
    return elements(this.shape)
  }

  get rank(): number {
    return this.shape.length
  }

  /** Bytes on the GPU. */
  get bytes(): number {
    return bytesOf(this.size, this.dtype)
  }

  /** False for results of differentiated ops; gradients are kept for leaves only. */
  isLeaf = true

  /** True after the tape, a scope or `dispose` freed it. */
  get freed(): boolean {
    return this.#freed !== undefined || this.storageRef.freed
  }

  /** True if `keep` was called. */
  get kept(): boolean {
    return this.#kept
  }

  /**
   * The bytes behind it, dense, for ops. Throws if freed. Channels of a larger array are copied into bytes of their
   * own first, so that an op that knows nothing of them is right.
   */
  get storage(): Storage {
    this.assertAlive('tensor')
    if (this.channelsOf) {
      this.storageRef = this.device.gather(this, this.storageRef, this.channelsOf)
      this.channelsOf = undefined
    }
    return this.storageRef
  }

  /** Where its elements lie, for ops that handle channels of a larger array. Throws if freed. */
  get span(): Span {
    this.assertAlive('tensor')
    const storage = this.storageRef
    if (!this.channelsOf) return { storage, offset: 0, gap: 0 }
    const { offset, stride } = this.channelsOf
    return { storage, offset, gap: stride - this.size / this.shape[0]! }
  }

  /** Set while it is channels of a larger array. */
  get channels(): Channels | undefined {
    return this.channelsOf
  }

  /** True if no other tensor shares its memory: it may be overwritten. */
  get exclusive(): boolean {
    return this.storageRef.refs === 1 && this.storageRef.root.refs === 1
  }

  /** Moves a parameter into a shared block of parameters. */
  rehome(storage: Storage): void {
    const old = this.storageRef
    this.storageRef = storage
    old.release('it moved into a block of parameters')
  }

  assertAlive(user: string): void {
    if (this.#freed !== undefined) {
      throw new FreedTensorError(
        `${user}: the tensor ${formatShape(this.shape)} made by ${this.storageRef.op} was freed (${this.#freed}); ` +
          'call keep() on it before, or read it earlier',
        { op: user },
      )
    }
    this.storageRef.assertAlive(user)
  }

  /** Keeps an intermediate past `backward` and past the end of its scope; you free it then. */
  keep(): this {
    this.assertAlive('keep')
    this.#kept = true
    this.device.leaveScopes(this)
    return this
  }

  /**
   * The values, copied to the host; those of float16 as a Float32Array. Waits for the GPU. Throws what the GPU
   * had to say against the work before.
   */
  async data(): Promise<TypedArray & { readonly length: number }> {
    this.assertAlive('data')
    const bytes = await this.device.read(this.storage, this.bytes)
    return this.dtype === 'float16' ? fromHalves(new Uint16Array(bytes)) : new arrays[this.dtype](bytes)
  }

  /** The one value of a tensor with one element. */
  async item(): Promise<number> {
    if (this.size !== 1)
      throw new ShapeError('item', `needs one element, the tensor is ${formatShape(this.shape)}`)
    return (await this.data())[0]!
  }

  /**
   * Overwrites the values: a batch into the input of a compiled step, weights into a parameter. A tensor of
   * float16 takes a Float32Array, whose values are rounded.
   */
  set(data: TypedArray): void {
    this.assertAlive('set')
    const wanted = this.dtype === 'float16' ? 'float32' : this.dtype
    if (dtypeOf('set', data) !== wanted || data.length !== this.size) {
      throw new ShapeError(
        'set',
        `the tensor holds ${this.size} values of ${this.dtype} ${formatShape(this.shape)}, got ${data.length} of ${dtypeOf('set', data)}`,
      )
    }
    this.device.write(this.storage, encode(data, this.dtype))
  }

  /**
   * Gradients of this tensor with respect to every leaf that wants one, added to the leaves' `grad`.
   * Intermediates of the graph are freed on the way. `upstream` defaults to 1 for a single element.
   */
  backward(upstream?: Tensor): void {
    backward(this, upstream)
  }

  /** The same values, without history. Shares memory. */
  detach(): Tensor {
    this.assertAlive('detach')
    return this.alias(false)
  }

  /** Another tensor over the same elements. For ops. */
  alias(requiresGrad: boolean): Tensor {
    const { shape, dtype, storageRef, channelsOf } = this
    return this.device.wrap(shape, dtype, storageRef.retain(), requiresGrad, undefined, channelsOf)
  }

  /** Frees its memory (shared memory once the last holder is freed). Freeing twice is harmless. */
  dispose(why = 'by dispose()'): void {
    if (this.#freed !== undefined) return
    this.#freed = why
    this.onDispose?.(this)
    this.storageRef.release(why)
  }

  [Symbol.dispose](): void {
    this.dispose('at the end of its using block')
  }

  toString(): string {
    return `Tensor${formatShape(this.shape)} ${this.dtype}${this.name ? ` '${this.name}'` : ''}`
  }
}

/** Refuses what is no tensor, for callers without a type checker. */
export function checkTensor(op: string, name: string, value: unknown): void {
  if (!(value instanceof Tensor))
    throw new ShapeError(op, `${name} must be a tensor, got ${shown(value)}; device.tensor makes one`)
}

/** The device that all of `tensors` live on. */
export function deviceOf(op: string, tensors: readonly Tensor[]): Device {
  tensors.forEach((t, i) => {
    checkTensor(op, `input ${i + 1}`, t)
  })
  const device = tensors[0]?.device
  if (!device) throw new FoveaError(`${op}: needs at least one tensor`, { op })
  for (const t of tensors) {
    if (t.device !== device) throw new FoveaError(`${op}: its tensors live on different devices`, { op })
  }
  return device
}
