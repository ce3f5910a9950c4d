import { FoveaError } from '../gpu/errors.ts'
import type { LaunchOptions } from '../gpu/gpu.ts'
import { Storage } from '../gpu/storage.ts'
import { castRule } from './cast.ts'
import type { Device } from './device.ts'
import { bytesOf, type DType, type FloatType, isFloat } from './dtype.ts'
import type { Slot } from './slots.ts'
import { type Cotangents, newNodeId } from './tape.ts'
import { deviceOf, elements, type Shape, sameShape, Tensor } from './tensor.ts'

/** A launch whose bindings may be tensors. */
/** … `half` follows from the tensors; where all are given as storages, the op says it. */
export interface OpLaunch extends Omit<LaunchOptions, 'bindings'> {
  readonly bindings: Readonly<Record<string, Tensor | Storage>>
  /**
   * Bindings whose kernel finds channels of a larger array by itself, by `span.offset` and `span.gap`. All other
   * tensors are bound dense.
   */
  readonly inPlace?: readonly string[]
}

/**
 * What a rule computes with. Tensors made by it that are neither returned nor saved are freed when the
 * rule ends.
 */
export class Run {
  readonly #made = new Set<Tensor>()
  readonly #saved = new Set<Tensor>()

  constructor(
    readonly device: Device,
    readonly op: string,
  ) {}

  /** A tensor with undefined contents (NaN in test mode): write every element. */
  empty(shape: Shape, dtype: DType = 'float32'): Tensor {
    const storage = this.device.allocate(bytesOf(elements(shape), dtype), this.op)
    return this.#own(this.device.wrap(shape, dtype, storage, false))
  }

  /** As `empty`, but in the slot if it has room for this shape: then write through its `span`. */
  emptyIn(slot: Slot | undefined, shape: Shape, dtype: DType = 'float32'): Tensor {
    const place = slot?.open(this.op, shape, dtype)
    if (!place) return this.empty(shape, dtype)
    const { storage, channels } = place
    return this.#own(this.device.wrap(shape, dtype, storage, false, undefined, channels))
  }

  /** `count` channels of x (N, C, H, W) from `first`, in place. H·W must be a multiple of 4. Write nothing into them. */
  channels(x: Tensor, first: number, count: number): Tensor {
    const [n, , h, w] = x.shape as [number, number, number, number]
    const { storage, offset, gap } = x.span
    const channels = { offset: offset + first * h * w, stride: gap + x.size / n, slot: undefined }
    const shape = [n, count, h, w]
    return this.#own(this.device.wrap(shape, x.dtype, storage.retain(), false, undefined, channels))
  }

  /** A tensor over the whole of a storage that others hold, too. */
  whole(storage: Storage, shape: Shape, dtype: DType): Tensor {
    return this.#own(this.device.wrap(shape, dtype, storage.retain(), false))
  }

  zeros(shape: Shape, dtype: DType = 'float32'): Tensor {
    const t = this.empty(shape, dtype)
    this.device.clear(this.op, t.storage)
    return t
  }

  /** Another shape for the same elements; shares memory. */
  view(x: Tensor, shape: Shape): Tensor {
    if (elements(shape) !== x.size)
      throw new FoveaError(`${this.op}: a view cannot change the number of elements`)
    if (sameShape(x.shape, shape)) return this.#own(x.alias(false))
    return this.#own(this.device.wrap(shape, x.dtype, x.storage.retain(), false))
  }

  copyOf(x: Tensor): Tensor {
    const y = this.empty(x.shape, x.dtype)
    this.device.copy(this.op, x.storage, y.storage, x.bytes)
    return y
  }

  /** Keeps a tensor made here for the backward rule. */
  save(t: Tensor): Tensor {
    this.#saved.add(t)
    return t
  }

  /** Launches a kernel; in its half form if the tensors bound to its `elem` arrays are of float16. */
  launch({ inPlace = [], ...options }: OpLaunch): void {
    const bindings: Record<string, Storage> = {}
    let half = options.half ?? false
    for (const [name, b] of Object.entries(options.bindings)) {
      if (b instanceof Tensor && b.dtype === 'float16') half = true
      if (b instanceof Storage) bindings[name] = b
      else bindings[name] = inPlace.includes(name) ? b.span.storage : b.storage
    }
    if (half) this.#checkHalf(options)
    this.device.launch(this.op, { ...options, bindings, half })
  }

  /** Halves may lie in `elem` arrays alone, and beside them nothing else may. */
  #checkHalf({ kernel, entry, bindings }: OpLaunch): void {
    for (const { name, elem } of kernel.entry(entry).bindings) {
      const t = bindings[name]
      if (!(t instanceof Tensor) || elem === (t.dtype === 'float16')) continue
      const wants = elem ? 'float16 like the others' : 'float32'
      throw new FoveaError(
        `${this.op}: '${name}' of kernels/${kernel.name}.wgsl is ${t.dtype}, it must be ${wants}; cast it before`,
        { op: this.op },
      )
    }
  }

  #own(t: Tensor): Tensor {
    this.#made.add(t)
    return t
  }

  /** Frees what was made and is not among `results`. Returns what was saved. */
  finish(results: readonly Tensor[]): Tensor[] {
    const keep = new Set(results)
    for (const t of this.#made) if (!keep.has(t) && !this.#saved.has(t)) t.dispose('a temporary of its op')
    return [...this.#saved]
  }
}

/** One differentiable operation. */
export interface OpRule<A> {
  /** As the public function is called; appears in errors, profiles and leak reports. */
  readonly name: string
  /** Checks shapes (throws a ShapeError), launches kernels, returns the results. */
  forward(run: Run, inputs: readonly Tensor[], attrs: A): Tensor | readonly Tensor[]
  /**
   * Gradients of the inputs, in their order; undefined where none is needed (`needs[i]` is false) or where
   * the rule added it into `sink(i)`. A gradient of a broadcast shape is summed back by the tape.
   */
  backward?(run: Run, at: Cotangents<A>): readonly (Tensor | undefined)[]
  /** For ops without a gradient: why. Required if there is no `backward`. */
  readonly nonDifferentiable?: string
  /** What may come in half precision. Left out: nothing; the tape casts float16 inputs to float32 first. */
  readonly half?: HalfRule
}

/** How an op meets tensors of float16. Results and gradients take the type that the rule gives them. */
export interface HalfRule {
  /** The inputs that may be float16: all in one type, so that float32 among them makes all of them float32. */
  readonly inputs: readonly number[] | 'all'
  /** Worth computing in half precision: inside `device.autocast` those inputs are cast to float16. */
  readonly lower?: boolean
}

/** One application of an op, as `device.trace` lists it. */
export interface Applied {
  readonly op: string
  readonly inputs: readonly Tensor[]
  readonly outputs: readonly Tensor[]
  readonly attrs: unknown
}

/** Ops by name and whether a gradient flows through them. */
export const registeredOps = new Map<
  string,
  { readonly differentiable: boolean; readonly because: string | undefined }
>()

/**
 * Turns a rule into a function of inputs and attributes that records itself on the tape.
 * Throws a FoveaError at definition if the rule has neither `backward` nor `nonDifferentiable`.
 */
export function defineOp<A>(rule: OpRule<A>): (inputs: readonly Tensor[], attrs: A) => Tensor[] {
  if (!rule.backward && !rule.nonDifferentiable) {
    throw new FoveaError(
      `${rule.name}: give the op a backward rule, or say in nonDifferentiable why it has none`,
    )
  }
  registeredOps.set(rule.name, {
    differentiable: rule.backward !== undefined,
    because: rule.nonDifferentiable,
  })
  return (given, attrs) => {
    const device = deviceOf(rule.name, given)
    for (const x of given) x.assertAlive(rule.name)
    const inputs = rule === castRule ? given : inOneType(device, rule, given)
    // Casts that no gradient flows through live as long as the op needs them.
    const casts = inputs.filter((x, i) => x !== given[i] && !x.node)
    const run = new Run(device, rule.name)
    let made: readonly Tensor[]
    try {
      const result = rule.forward(run, inputs, attrs)
      made = result instanceof Tensor ? [result] : result
    } catch (error) {
      run.finish([])
      throw error
    }
    const saved = [...run.finish(made), ...casts]
    const wanted = inputs.some((x) => x.requiresGrad)
    if (wanted && rule.backward) device.recomputation.uses(inputs)
    if (!wanted || !device.gradEnabled || !rule.backward) {
      for (const t of saved) t.dispose('a temporary of its op')
      const because =
        wanted && !rule.backward ? `${rule.name} has no gradient (${rule.nonDifferentiable})` : undefined
      const inherited = because ?? inputs.find((x) => x.noGradientBecause)?.noGradientBecause
      for (const y of made) {
        y.noGradientBecause = inherited
        device.enterScope(y)
      }
      device.onApply?.({ op: rule.name, inputs, outputs: made, attrs })
      return [...made]
    }
    return record(rule, inputs, made, saved, attrs)
  }
}

/** Puts results of a rule on the tape. They take the place of the tensors in `made`. */
export function record<A>(
  rule: OpRule<A>,
  inputs: readonly Tensor[],
  made: readonly Tensor[],
  saved: readonly Tensor[],
  attrs: A,
): Tensor[] {
  const { device } = inputs[0]!
  const outputs = made.map((t) => device.regrade(t))
  const node = { id: newNodeId(), rule, inputs: [...inputs], outputs, saved, attrs }
  for (const y of outputs) {
    // Integer results (indices, labels) are constants of the graph.
    if (y.requiresGrad) y.node = node
    device.enterScope(y)
  }
  return outputs
}

/** Applies an op that has one result. */
export function defineUnaryResult<A>(rule: OpRule<A>): (inputs: readonly Tensor[], attrs: A) => Tensor {
  const apply = defineOp(rule)
  return (inputs, attrs) => apply(inputs, attrs)[0]!
}

const applyCast = defineUnaryResult(castRule)

/** x in another float type, with its gradient; x itself if it has that type. */
export const castTo = (x: Tensor, dtype: FloatType): Tensor =>
  x.dtype === dtype ? x : applyCast([x], { dtype })

/** The inputs in the float types that the rule takes: in one place for all ops, as PyTorch's autocast has it. */
// biome-ignore lint/suspicious/noExplicitAny: attributes differ by op
function inOneType(device: Device, { half }: OpRule<any>, inputs: readonly Tensor[]): readonly Tensor[] {
  const lower = half?.lower === true && device.autocasting
  if (!lower && inputs.every((x) => x.dtype !== 'float16')) return inputs
  const may = (i: number) => half !== undefined && (half.inputs === 'all' || half.inputs.includes(i))
  const halves = lower || inputs.every((x, i) => !may(i) || x.dtype !== 'float32')
  return inputs.map((x, i) => {
    const wanted = halves && may(i) ? 'float16' : 'float32'
    return isFloat(x.dtype) ? castTo(x, wanted) : x
  })
}
