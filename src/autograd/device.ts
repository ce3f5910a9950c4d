import { FoveaError, GradientError, ShapeError } from '../gpu/errors.ts'
import { type DebugOptions, Gpu, type LaunchOptions } from '../gpu/gpu.ts'
import type { Capture, Program, StepMemory } from '../gpu/program.ts'
import type { Place, Storage } from '../gpu/storage.ts'
import { measureOpen } from '../gpu/tune.ts'
import { tunerOf } from '../gpu/tuner.ts'
import type { MatrixPlans } from './conv2d/variant.ts'
import { DTYPES } from './dtype.ts'
import { copyBox } from './move.ts'
import type { Applied } from './op.ts'
import { shown } from './options.ts'
import type { ParameterBlock } from './parameters.ts'
import { Recomputation } from './recomputation.ts'
import { stridesOf } from './shape.ts'
import { type ArgumentPattern, fits, patternOf } from './step-arguments.ts'
import {
  bytesOf,
  type Channels,
  checkShape,
  type DType,
  dtypeOf,
  elements,
  encode,
  formatShape,
  isFloat,
  type Shape,
  Tensor,
  type TypedArray,
} from './tensor.ts'

export interface TensorOptions {
  /** Leaf whose gradient `backward` computes. Float tensors only. */
  readonly requiresGrad?: boolean
  /** 'float16' rounds float data to half precision; needs an adapter with `shader-f16`. */
  readonly dtype?: DType
}

/** The tensors of a tree, in order. */
export function tensorsIn(tree: unknown): Tensor[] {
  if (tree instanceof Tensor) return [tree]
  if (Array.isArray(tree)) return tree.flatMap(tensorsIn)
  if (tree && typeof tree === 'object') return Object.values(tree).flatMap(tensorsIn)
  return []
}

/** Numbers given one by one; of anything else Float32Array.from would make NaN. */
function fromNumbers(data: number | readonly number[]): Float32Array {
  const all = Array.isArray(data) ? data : [data]
  if (all.every((v) => typeof v === 'number')) return Float32Array.from(all)
  throw new ShapeError('tensor', `data must be numbers, got ${shown(data)}`)
}

function mapTensors(tree: unknown, f: (t: Tensor) => Tensor): unknown {
  if (tree instanceof Tensor) return f(tree)
  if (Array.isArray(tree)) return tree.map((t) => mapTensors(t, f))
  if (tree && typeof tree === 'object') {
    return Object.fromEntries(Object.entries(tree).map(([k, v]) => [k, mapTensors(v, f)]))
  }
  return tree
}

/** A step captured by `device.compile`. Call it like the function; `dispose` frees what it holds. */
export interface CompiledStep<A extends readonly unknown[], R> {
  (...args: A): R
  /** Kernel launches and memory, of each captured set of shapes. */
  readonly captures: readonly { readonly dispatches: number; readonly memory: StepMemory }[]
  /** What it will hold on the GPU for these arguments. Captures it, if that was not done; makes no buffer, runs nothing. */
  plan(...args: A): StepMemory
  /**
   * Makes everything ready for these arguments, so that the first call takes no longer than the others: the
   * step is captured, its buffers are made, its kernels compile side by side while the program goes on.
   * Runs nothing. Rejects with a ShaderError where a kernel does not compile.
   */
  prepare(...args: A): Promise<void>
  dispose(): void
}

/** What a function gave that must have done its work when it returns. */
function synchronous<R>(name: string, result: R): R {
  if (!(result instanceof Promise)) return result
  throw new FoveaError(`${name}: the function must not be async: what it awaits would run outside`)
}

/** A function and the arguments that it is to be called with. */
// biome-ignore lint/suspicious/noExplicitAny: each has arguments of its own
export type PlannedUse = readonly [fn: (...args: any[]) => unknown, args: readonly unknown[]]

/** A step for one set of shapes: captured, and from its first run on with buffers. */
interface Captured {
  readonly pattern: ArgumentPattern
  readonly capture: Capture
  readonly inputs: readonly Tensor[]
  readonly result: unknown
  program: Program | undefined
  /** Settled when its kernels are compiled, if that was asked for before the first call. */
  prepared: Promise<void> | undefined
  /** Copies of the arguments into the inputs; made with the buffers, their sources change with each call. */
  copies: { kind: 'copy'; from: Place; to: Place; bytes: number }[]
}

/** A GPU device with tensors, scopes and a tape on it. Open it with `openDevice`. */
export class Device extends Gpu {
  /** Where `recompute` stands on this device. */
  readonly recomputation = new Recomputation()
  #gradEnabled = true
  #autocasting = false
  /** Plans by subgroup matrices, by the type of tensors, if the device was opened with them and its adapter has them. */
  matrices: { readonly float32?: MatrixPlans; readonly float16?: MatrixPlans } | undefined
  /** Told of each op while `trace` runs. */
  onApply: ((applied: Applied) => void) | undefined
  readonly #scopes: Set<Tensor>[] = []
  readonly #blocks = new WeakMap<Tensor, ParameterBlock>()
  readonly #collected: FinalizationRegistry<{ readonly storage: Storage; readonly op: string }>

  constructor(adapter: GPUAdapter, device: GPUDevice, debug: DebugOptions = {}, memoryLimit?: number) {
    super(adapter, device, debug, memoryLimit)
    this.#collected = new FinalizationRegistry(({ storage, op }) => {
      if (storage.freed) return
      this.countLeak(op)
      if (!this.lost) storage.release('it was garbage-collected')
    })
  }

  /** False inside `noGrad`. */
  get gradEnabled(): boolean {
    return this.#gradEnabled
  }

  /** True inside `autocast`. */
  get autocasting(): boolean {
    return this.#autocasting
  }

  /**
   * A tensor with host data. `data` may also be a number array (float32). Throws a ShapeError if the count
   * of values does not fit the shape. Inside a compiled step it is a constant of the step.
   */
  tensor(data: TypedArray | readonly number[] | number, shape?: Shape, options: TensorOptions = {}): Tensor {
    const values = ArrayBuffer.isView(data) ? data : fromNumbers(data)
    const found = dtypeOf('tensor', values)
    const dtype = options.dtype ?? found
    if (dtype !== found && !(isFloat(dtype) && isFloat(found)))
      throw new ShapeError('tensor', `a ${values.constructor.name} makes ${found}, dtype asks for ${dtype}`)
    const dims = shape ?? (typeof data === 'number' ? [] : [values.length])
    checkShape('tensor', dims)
    if (elements(dims) !== values.length) {
      throw new ShapeError(
        'tensor',
        `shape ${formatShape(dims)} wants ${elements(dims)} values, got ${values.length}`,
      )
    }
    this.#checkType('tensor', dtype, options)
    const t = this.wrap(
      dims,
      dtype,
      this.upload(encode(values, dtype), 'tensor'),
      options.requiresGrad ?? false,
    )
    this.enterScope(t)
    return t
  }

  /** Leaves hold float32, also where they are computed with in half precision: their updates are too small for it. */
  #checkType(op: string, dtype: DType, { requiresGrad }: TensorOptions): void {
    if (dtype === 'float16') this.assertHalf(op)
    if (!DTYPES.includes(dtype))
      throw new ShapeError(op, `dtype is one of ${DTYPES.join(', ')}, got ${shown(dtype)}`)
    if (!requiresGrad || dtype === 'float32') return
    const advice = dtype === 'float16' ? '; make it float32 and cast it' : ''
    throw new GradientError(`${op}: only float32 tensors can want a gradient, this one is ${dtype}${advice}`)
  }

  zeros(shape: Shape, options: TensorOptions = {}): Tensor {
    checkShape('zeros', shape)
    const dtype = options.dtype ?? 'float32'
    this.#checkType('zeros', dtype, options)
    const t = this.wrap(
      shape,
      dtype,
      this.allocate(bytesOf(elements(shape), dtype), 'zeros'),
      options.requiresGrad ?? false,
    )
    this.clear('zeros', t.storage)
    this.enterScope(t)
    return t
  }

  /** A tensor with one value everywhere, of float32 unless options say float16. */
  full(shape: Shape, value: number, options: TensorOptions = {}): Tensor {
    checkShape('full', shape)
    return this.tensor(new Float32Array(elements(shape)).fill(fromNumbers(value)[0]!), shape, options)
  }

  ones(shape: Shape, options: TensorOptions = {}): Tensor {
    return this.full(shape, 1, options)
  }

  /**
   * A tensor over existing bytes: for ops and optimisers. Takes over one reference to the storage.
   * `tracked: false` for views of longer-lived storages: nobody need free them.
   */
  wrap(
    shape: Shape,
    dtype: DType,
    storage: Storage,
    requiresGrad: boolean,
    tracked = !this.capturing,
    channels?: Channels,
  ): Tensor {
    const onDispose = (gone: Tensor) => {
      this.#collected.unregister(gone)
      for (const scope of this.#scopes) scope.delete(gone)
    }
    const t = new Tensor(this, shape, dtype, storage, requiresGrad, onDispose, channels)
    if (tracked) this.#collected.register(t, { storage, op: storage.op }, t)
    return t
  }

  /** Copies a tensor that is channels of a larger array into bytes of its own and gives these. For `Tensor`. */
  gather(t: Tensor, from: Storage, { offset, stride }: Channels): Storage {
    const op = 'gather channels'
    const bytes = t.bytes / t.shape[0]!
    const to = this.allocate(t.bytes, from.op)
    const dense = stridesOf(t.shape)
    if (from.bytes <= this.adapter.maxBindingBytes) {
      // One launch: a copy an image costs more time of the host, and each row of copies ends a compute pass.
      const run = { op, launch: (options: LaunchOptions) => this.launch(op, options) }
      const channels = { storage: from, offset, strides: [stride, ...dense.slice(1)] }
      copyBox(run, t.shape, channels, { storage: to, offset: 0, strides: dense, dtype: t.dtype })
    } else {
      const width = t.bytes / t.size
      for (let n = 0; n < t.shape[0]!; n++)
        this.copy(op, from, to, bytes, (offset + n * stride) * width, n * bytes)
    }
    if (this.#collected.unregister(t)) this.#collected.register(t, { storage: to, op: to.op }, t)
    from.release('its channels were copied')
    return to
  }

  /** The tensor as a result that wants a gradient (if it is of floats). For `defineOp`. */
  regrade(t: Tensor): Tensor {
    if (!isFloat(t.dtype)) return t
    const y = t.alias(true)
    y.isLeaf = false
    t.dispose('it became a result')
    return y
  }

  /** Leaf with a zeroed buffer of its own that no scope frees: parameters, running statistics, moments. */
  parameter(
    data: Float32Array,
    shape: Shape,
    options: TensorOptions & { readonly name?: string } = {},
  ): Tensor {
    checkShape('parameter', shape)
    if (elements(shape) !== data.length) {
      throw new ShapeError(
        'parameter',
        `shape ${formatShape(shape)} wants ${elements(shape)} values, got ${data.length}`,
      )
    }
    const storage = this.allocatePersistent(data.byteLength, options.name ?? 'parameter', 'parameters')
    const t = this.wrap(shape, 'float32', storage, options.requiresGrad ?? true, false)
    t.name = options.name
    this.write(storage, data)
    return t
  }

  /** Ties a parameter to the block in which it and its gradient lie. */
  joinBlock(t: Tensor, block: ParameterBlock): void {
    this.#blocks.set(t, block)
  }

  blockOf(t: Tensor): ParameterBlock | undefined {
    return this.#blocks.get(t)
  }

  /** The gradient tensor of a leaf, made (zero) on first use. */
  gradOf(leaf: Tensor): Tensor {
    if (leaf.grad && !leaf.grad.freed) return leaf.grad
    const block = this.#blocks.get(leaf)
    const storage = block
      ? block.gradOf(leaf)
      : this.allocatePersistent(leaf.bytes, `gradient of ${leaf.name ?? 'a leaf'}`, 'gradients')
    leaf.grad = this.wrap(leaf.shape, 'float32', storage, false, false)
    return leaf.grad
  }

  /** Runs `fn` with gradients recorded, also inside `noGrad`. */
  withGrad<R>(fn: () => R): R {
    const before = this.#gradEnabled
    this.#gradEnabled = true
    try {
      return fn()
    } finally {
      this.#gradEnabled = before
    }
  }

  /** True while `trace` runs. */
  get tracing(): boolean {
    return this.onApply !== undefined
  }

  /** Runs `fn` without recording gradients. */
  noGrad<R>(fn: () => R): R {
    const before = this.#gradEnabled
    this.#gradEnabled = false
    try {
      return synchronous('noGrad', fn())
    } finally {
      this.#gradEnabled = before
    }
  }

  /**
   * Runs `fn` in mixed precision: convolutions cast their input to float16, what follows them stays in it, and
   * ops that want more digits (losses, sigmoid, softmax, sums …) cast back by themselves. Sums, statistics,
   * weights and their gradients are float32 throughout. `backward` may be called outside. Scale the loss with a
   * GradScaler when training. `enabled: false` switches it off for a part inside. Throws an AdapterError where the
   * adapter lacks `shader-f16`.
   */
  autocast<R>(fn: () => R, { enabled = true }: { readonly enabled?: boolean } = {}): R {
    if (enabled) this.assertHalf('autocast')
    const before = this.#autocasting
    this.#autocasting = enabled
    try {
      return synchronous('autocast', fn())
    } finally {
      this.#autocasting = before
    }
  }

  /**
   * Runs `fn` and frees the tensors made in it, except those it returns (in any nesting), those on the tape
   * of a graph that is still to be differentiated, and those that called `keep`.
   */
  scope<R>(fn: () => R): R {
    const mine = new Set<Tensor>()
    this.#scopes.push(mine)
    let result: R
    try {
      result = fn()
      if (result instanceof Promise)
        throw new FoveaError('scope: the function must not be async; await outside of it')
    } catch (error) {
      this.#closeScope(mine, new Set())
      throw error
    }
    this.#closeScope(mine, new Set(tensorsIn(result)))
    return result
  }

  #closeScope(mine: Set<Tensor>, returned: ReadonlySet<Tensor>): void {
    this.#scopes.splice(this.#scopes.indexOf(mine), 1)
    const parent = this.#scopes.at(-1)
    for (const t of [...mine]) {
      if (returned.has(t) || t.node) parent?.add(t)
      else t.dispose('at the end of its scope')
    }
  }

  /** Puts a fresh tensor under the innermost scope. For `defineOp`. */
  enterScope(t: Tensor): void {
    this.#scopes.at(-1)?.add(t)
  }

  leaveScopes(t: Tensor): void {
    for (const scope of this.#scopes) scope.delete(t)
  }

  /**
   * Captures `fn` at its first call with these shapes and replays it afterwards: one submission a call, no
   * new buffer, bind group or pipeline. `fn` must be synchronous and do all its work on tensors of this
   * device; its tensor arguments are copied in at each call; other arguments are part of the key.
   * Results stay valid until the next call.
   */
  compile<A extends readonly unknown[], R>(fn: (...args: A) => R): CompiledStep<A, R> {
    const entries: Captured[] = []
    const entryOf = (args: A): Captured => {
      for (const a of args)
        if (a instanceof Tensor && a.device !== this)
          throw new FoveaError(`compiled step: its argument ${a} lives on another device`)
      const known = entries.find(({ pattern }) => fits(pattern, args))
      if (known) return known
      const entry = this.#capture(fn, args)
      entries.push(entry)
      return entry
    }
    const call = (...args: A): R => {
      const entry = entryOf(args)
      entry.program ??= this.#placeStep(entry)
      let i = 0
      for (const a of args) if (a instanceof Tensor && a.bytes > 0) entry.copies[i++]!.from = a.storage.place
      entry.program.run(entry.copies)
      return mapTensors(entry.result, (t) =>
        this.wrap(t.shape, t.dtype, t.storage.retain(), false, false),
      ) as R
    }
    return Object.defineProperties(call, {
      captures: {
        get: () =>
          entries.flatMap(({ program }) =>
            program ? [{ dispatches: program.dispatches, memory: program.memory }] : [],
          ),
      },
      plan: {
        value: (...args: A) => {
          const { program, capture } = entryOf(args)
          return program?.memory ?? this.planSteps([capture])[0]!.memory
        },
      },
      prepare: {
        value: async (...args: A) => {
          let entry = entryOf(args)
          const tuner = tunerOf(this)
          if (!entry.program && tuner.mode === 'measure' && tuner.open.length > 0) {
            await measureOpen(this)
            // Captured anew with what was found, unless it was called meanwhile.
            if (!entry.program && entries.includes(entry)) {
              this.#giveUp(entry)
              entries.splice(entries.indexOf(entry), 1)
            }
            entry = entryOf(args)
          }
          if (!entry.program) {
            entry.prepared = entry.capture.compile()
            // Awaited below, if the buffers can be had.
            entry.prepared.catch(() => undefined)
            entry.program = this.#placeStep(entry)
          }
          try {
            await entry.prepared
          } catch (error) {
            this.stream.assertUsable()
            throw error
          }
        },
      },
      dispose: {
        value: () => {
          for (const entry of entries) this.#giveUp(entry)
          entries.length = 0
        },
      },
    }) as CompiledStep<A, R>
  }

  /**
   * Runs `fn` on an input of this shape without doing its work: shapes are checked, nothing reaches the GPU, no
   * gradient is recorded. Lists the ops that were applied, in order. Constants made in `fn` can be read until
   * `release` is called; all else in the list has no values.
   */
  trace<R>(
    shape: Shape,
    fn: (x: Tensor) => R,
  ): { input: Tensor; result: R; applied: Applied[]; release(): void } {
    const applied: Applied[] = []
    const outside = this.#scopes.splice(0)
    // As in a scope: what a network makes in its forward pass and means to hold on to, it keeps.
    const made = new Set<Tensor>()
    this.#scopes.push(made)
    this.onApply = (a) => applied.push(a)
    try {
      const { result: ran, release } = this.dryRun(() => {
        const bytes = bytesOf(elements(shape), 'float32')
        const input = this.wrap(shape, 'float32', this.allocate(bytes, 'input of a trace'), false)
        return { input, result: this.noGrad(() => fn(input)) }
      })
      const releaseAll = () => {
        for (const t of made) t.dispose('its trace was released')
        release()
      }
      return { ...ran, applied, release: releaseAll }
    } catch (error) {
      for (const t of made) t.dispose('its trace failed')
      throw error
    } finally {
      this.onApply = undefined
      this.#scopes.splice(0, this.#scopes.length, ...outside)
    }
  }

  /**
   * What `fn` as a compiled step would hold on the GPU for these arguments. It is captured and forgotten: nothing
   * runs, and no buffer is made for it (gradients of parameters are, if there are none yet).
   */
  plan<A extends readonly unknown[]>(fn: (...args: A) => unknown, ...args: A): StepMemory {
    return this.planAll([[fn, args]])[0]!
  }

  /** What several functions would hold as compiled steps, each beside those before it, with which it shares intermediates. */
  planAll(steps: Iterable<PlannedUse>): StepMemory[] {
    const captured: Captured[] = []
    try {
      for (const [fn, args] of steps) captured.push(this.#capture(fn, [...args]))
      return this.planSteps(captured.map((c) => c.capture)).map((p) => p.memory)
    } finally {
      for (const entry of captured) this.#giveUp(entry)
    }
  }

  #placeStep(entry: Captured): Program {
    const program = this.place(entry.capture)
    entry.copies = entry.inputs
      .filter((t) => t.bytes > 0)
      .map((t) => ({ kind: 'copy', from: t.storage.place, to: t.storage.place, bytes: t.bytes }))
    return program
  }

  #giveUp({ program, capture, inputs }: Captured): void {
    if (program) program.dispose()
    else capture.abandon()
    for (const t of inputs) {
      t.grad?.dispose('its compiled step was disposed')
      t.dispose('its compiled step was disposed')
    }
  }

  #capture<A extends readonly unknown[], R>(fn: (...args: A) => R, args: A): Captured {
    const inputs: Tensor[] = []
    const outside = this.#scopes.splice(0)
    try {
      const { result, capture } = this.captureStep(
        () => {
          const given = args.map((a) => {
            if (!(a instanceof Tensor)) return a
            const storage = this.captureInput(a.bytes, 'argument of a compiled step')
            inputs.push(this.wrap(a.shape, a.dtype, storage, a.requiresGrad))
            return inputs.at(-1)
          }) as unknown as A
          const made = fn(...given)
          if (made instanceof Promise)
            throw new FoveaError('compile: the function must not be async: a captured step cannot wait')
          // Results are read as dense arrays: gathered here, while commands are still recorded.
          for (const t of tensorsIn(made)) void t.storage
          return made
        },
        (made) => tensorsIn(made).map((t) => t.storage),
      )
      return {
        pattern: patternOf(args),
        capture,
        inputs,
        result,
        program: undefined,
        prepared: undefined,
        copies: [],
      }
    } catch (error) {
      for (const t of inputs) t.dispose('its compiled step failed')
      throw error
    } finally {
      this.#scopes.push(...outside)
    }
  }
}
