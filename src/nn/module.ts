import { shown } from '../autograd/options.ts'
import { ParameterBlock } from '../autograd/parameters.ts'
import { recompute } from '../autograd/recompute.ts'
import { formatShape, sameShape, type Tensor } from '../autograd/tensor.ts'
import { FoveaError, WeightsMismatchError } from '../gpu/errors.ts'

/**
 * A network or a part of one: named parameters, running statistics and parts, a forward pass.
 * Names are joined by dots and equal PyTorch's state dict.
 */
export abstract class Module {
  /** True in training mode: batch norm uses and updates batch statistics, dropout drops. */
  training = true
  /**
   * Activation checkpointing: parts of the forward pass (`segment`) are not kept and run again in `backward`.
   * Takes less memory and about a third more time; the same bits. Looked at by the network that is called.
   */
  activationCheckpointing = false
  /** Fewest images that a batch may have in training. */
  readonly leastTrainingBatch: number = 1
  readonly #parts = new Map<string, Module>()
  readonly #parameters = new Map<string, Tensor>()
  readonly #buffers = new Map<string, Tensor>()

  /** The result for a batch; most networks take (N, C, H, W). */
  abstract forward(x: Tensor): Tensor | readonly Tensor[]

  /** Runs a part of the forward pass, from `inputs` to its results: recomputed with `activationCheckpointing`. */
  protected segment<A extends readonly Tensor[], R extends Tensor | readonly Tensor[]>(
    forward: (...inputs: A) => R,
    ...inputs: A
  ): R {
    return this.activationCheckpointing ? recompute(forward, ...inputs) : forward(...inputs)
  }

  protected part<M extends Module>(name: string, module: M): M {
    this.#parts.set(name, module)
    return module
  }

  protected addParameter(name: string, tensor: Tensor): Tensor {
    this.#parameters.set(name, tensor)
    return tensor
  }

  /** Running statistics and the like: saved, not trained. */
  protected addBuffer(name: string, tensor: Tensor): Tensor {
    this.#buffers.set(name, tensor)
    return tensor
  }

  *#named(own: (m: Module) => ReadonlyMap<string, Tensor>, prefix = ''): Generator<[string, Tensor]> {
    for (const [name, t] of own(this)) yield [prefix + name, t]
    for (const [name, part] of this.#parts) yield* part.#named(own, `${prefix}${name}.`)
  }

  /** Trainable tensors by name. */
  namedParameters(): [string, Tensor][] {
    return [...this.#named((m) => m.#parameters)]
  }

  /** Trainable tensors, in the order of their names' definition. */
  parameters(): Tensor[] {
    return this.namedParameters().map(([, t]) => t)
  }

  /** Running statistics by name. */
  namedBuffers(): [string, Tensor][] {
    return [...this.#named((m) => m.#buffers)]
  }

  /** Parameters (with their `grad`) and running statistics by name; the tensors themselves, not copies. */
  stateDict(): Record<string, Tensor> {
    return Object.fromEntries([...this.namedParameters(), ...this.namedBuffers()])
  }

  /**
   * Copies weights in by name. Every name must be there with its shape, and no other (PyTorch's
   * `num_batches_tracked` is passed over); `strict: false` takes what fits. Throws a WeightsMismatchError that
   * lists the names; nothing is changed then. Returns the names taken and skipped.
   */
  loadStateDict(
    tensors: Readonly<Record<string, Tensor>>,
    { strict = true } = {},
  ): { loaded: string[]; skipped: string[] } {
    const owner = this.constructor.name
    if (!tensors || typeof tensors !== 'object' || tensors instanceof Promise)
      throw new FoveaError(`${owner}: pass tensors by name, got ${shown(tensors)}`)
    const own = this.stateDict()
    const loaded: string[] = []
    const skipped: string[] = []
    for (const [name, t] of Object.entries(own)) {
      const from = tensors[name]
      if (!from) skipped.push(`${name}: missing`)
      else if (!sameShape(from.shape, t.shape))
        skipped.push(`${name}: ${formatShape(from.shape)} instead of ${formatShape(t.shape)}`)
      else if (from.dtype !== t.dtype) skipped.push(`${name}: ${from.dtype} instead of ${t.dtype}`)
      else if (from.device !== t.device) skipped.push(`${name}: on another device`)
      else {
        from.assertAlive('loadStateDict')
        loaded.push(name)
      }
    }
    for (const name of Object.keys(tensors)) {
      if (!(name in own) && !name.endsWith('num_batches_tracked'))
        skipped.push(`${name}: unknown to this network`)
    }
    if (strict && skipped.length > 0) {
      throw new WeightsMismatchError(owner, skipped)
    }
    for (const name of loaded) {
      const [from, to] = [tensors[name]!, own[name]!]
      if (from !== to) to.device.copy('loadStateDict', from.storage, to.storage, to.bytes)
    }
    return { loaded, skipped }
  }

  /** Sets training mode here and in all parts. */
  train(on = true): this {
    this.training = on
    for (const part of this.#parts.values()) part.train(on)
    return this
  }

  /** Sets evaluation mode here and in all parts. */
  eval(): this {
    return this.train(false)
  }

  /** Runs `fn` in evaluation mode; afterwards every part is in the mode that it was in. */
  evaluating<R>(fn: () => R): R {
    const modes = [...this.#modules()].map((m) => [m, m.training] as const)
    this.eval()
    try {
      return fn()
    } finally {
      for (const [module, training] of modes) module.training = training
    }
  }

  *#modules(): Generator<Module> {
    yield this
    for (const part of this.#parts.values()) yield* part.#modules()
  }

  /** Names the tensors and lays all parameters into one block and all statistics into another. Call it once, on the whole network. */
  protected pack(): void {
    const parameters = this.namedParameters()
    const buffers = this.namedBuffers()
    for (const [name, t] of [...parameters, ...buffers]) t.name = name
    const device = parameters[0]?.[1].device
    if (!device) throw new FoveaError(`${this.constructor.name} has no parameters`)
    new ParameterBlock(
      device,
      parameters.map(([, t]) => t),
    )
    if (buffers.length > 0)
      new ParameterBlock(
        device,
        buffers.map(([, t]) => t),
      )
  }

  /** Frees what this module holds beside parameters and buffers. */
  protected release(): void {}

  #releaseAll(): void {
    this.release()
    for (const part of this.#parts.values()) part.#releaseAll()
  }

  /** Frees parameters, gradients and statistics. */
  dispose(): void {
    this.#releaseAll()
    for (const t of Object.values(this.stateDict())) {
      t.grad?.dispose('its module was disposed')
      t.device.blockOf(t)?.release()
      t.dispose('its module was disposed')
    }
  }
}
