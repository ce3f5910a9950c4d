import type { Tensor } from './tensor.ts'

/** What a device knows of the function that `recompute` runs at the moment. */
export class Recomputation {
  #again = false
  #used: Set<Tensor> | undefined

  /** True while a forward pass runs again for its gradients: running statistics and the like stay where they are. */
  get again(): boolean {
    return this.#again
  }

  /** True while a forward pass runs that will run again for its gradients: without any, but to the same bits. */
  get watching(): boolean {
    return this.#used !== undefined
  }

  /** Told by every op that could be differentiated: the inputs that want a gradient. */
  uses(inputs: readonly Tensor[]): void {
    if (!this.#used) return
    for (const x of inputs) if (x.requiresGrad) this.#used.add(x)
  }

  /** Runs `fn` and notes the tensors from outside that want a gradient. `fn` must record none itself. */
  watch<R>(fn: () => R): { result: R; used: ReadonlySet<Tensor> } {
    const outer = this.#used
    const used = new Set<Tensor>()
    this.#used = used
    try {
      return { result: fn(), used }
    } finally {
      this.#used = outer
    }
  }

  /** Runs `fn` as a forward pass that ran before. */
  repeat<R>(fn: () => R): R {
    const before = this.#again
    this.#again = true
    try {
      return fn()
    } finally {
      this.#again = before
    }
  }
}
