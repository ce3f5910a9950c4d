import type { Device } from '../../autograd/device.ts'
import { checkRates } from '../../autograd/options.ts'
import { BYTES_PER_ELEMENT, type Tensor } from '../../autograd/tensor.ts'
import { CheckpointError } from '../../gpu/errors.ts'
import type { Kernel } from '../../gpu/kernel.ts'
import type { Storage } from '../../gpu/storage.ts'
import type { GradScaler } from './grad-scaler.ts'
import { groupParameters, type ParameterGroup } from './groups.ts'

/** What an optimiser remembers, to be saved with the weights. */
export interface OptimizerState {
  /** Steps taken. */
  readonly step: number
  readonly lr: number
  /** Moments by `parameter name or index` + `.` + moment name; with loss scaling also `progress`. */
  readonly tensors: Readonly<Record<string, Tensor>>
}

export interface StepOptions {
  /** Divides the gradients by its scale, and leaves everything as it is where they are not finite. */
  readonly scaler?: GradScaler
}

/** Floats of what the GPU knows of an optimiser's steps: kernels/grad_scaler.wgsl. */
const PROGRESS = 5

interface Moments {
  readonly group: ParameterGroup
  readonly storages: ReadonlyMap<string, Storage>
}

/** What all optimisers share: groups of parameters, moments beside them, one launch a group. */
export abstract class Optimizer {
  #lr = 0
  readonly device: Device
  protected steps = 0
  readonly #moments: readonly Moments[]
  /** With loss scaling only the GPU knows how many steps were taken. */
  readonly #progress: Storage
  #scaled = false

  constructor(
    private readonly name: string,
    readonly params: readonly Tensor[],
    lr: number,
    /** With the entry points `update` and `update_scaled`. */
    private readonly kernel: Kernel,
    momentNames: readonly string[],
  ) {
    const { device, groups } = groupParameters(name, params)
    this.device = device
    this.lr = lr
    this.#progress = device.allocatePersistent(PROGRESS * BYTES_PER_ELEMENT, `${name} progress`)
    this.#moments = groups.map((group) => ({
      group,
      storages: new Map(
        momentNames.map(
          (m) =>
            [
              m,
              device.allocatePersistent(group.length * BYTES_PER_ELEMENT, `${name} ${m}`, 'optimizer'),
            ] as const,
        ),
      ),
    }))
  }

  /** Learning rate, at least 0; schedulers change it, also between replays of a compiled step. */
  get lr(): number {
    return this.#lr
  }

  set lr(value: number) {
    checkRates(this.name, { lr: value })
    this.#lr = value
  }

  /** Uniforms of the step that `steps` counts already. */
  protected abstract uniforms(): Readonly<Record<string, number>>

  /** Sets every gradient to zero: one clear a block. */
  zeroGrad(): void {
    for (const { group } of this.#moments) this.device.clear('zeroGrad', group.grads())
  }

  /** 1 − β of first and second moment; 0 for optimisers without bias correction. */
  protected fresh(): readonly [number, number] {
    return [0, 0]
  }

  /** The parameters and gradients that one launch serves each. */
  get groups(): readonly ParameterGroup[] {
    return this.#moments.map(({ group }) => group)
  }

  /** Updates the parameters from their gradients: one launch a block. */
  step({ scaler }: StepOptions = {}): void {
    this.device.perform(() => {
      this.steps++
    })
    if (scaler) this.#scaled = true
    scaler?.decide(this.groups, this.#progress, this.fresh())
    for (const { group, storages } of this.#moments) {
      const m = storages.get('m')
      const v = storages.get('v')
      const bindings: Record<string, Storage> = { weight: group.data, grad: group.grads() }
      if (m) bindings.m = m
      if (v) bindings.v = v
      if (scaler) bindings.progress = this.#progress
      const count = Math.ceil(group.length / 4)
      this.device.launch(`${this.name} step`, {
        kernel: this.kernel,
        entry: scaler ? 'update_scaled' : 'update',
        bindings,
        params: () => ({ count, lr: this.lr, ...this.uniforms() }),
        threads: count,
      })
    }
  }

  /** Steps, learning rate and moments. The tensors share memory with the optimiser: read them before the next step. */
  stateDict(): OptimizerState {
    const tensors: Record<string, Tensor> = {}
    for (const { group, storages } of this.#moments) {
      for (const p of group.parameters) {
        for (const [moment, storage] of storages) {
          tensors[`${this.#nameOf(p)}.${moment}`] = this.device.wrap(
            p.shape,
            'float32',
            storage.slice(group.offsetOf(p), p.bytes),
            false,
            false,
          )
        }
      }
    }
    if (this.#scaled)
      tensors.progress = this.device.wrap([PROGRESS], 'float32', this.#progress.retain(), false, false)
    return { step: this.steps, lr: this.lr, tensors }
  }

  /** Restores what `stateDict` gave. Throws a CheckpointError that names what is missing or of another shape. */
  loadStateDict(state: OptimizerState): void {
    const { progress, ...mine } = this.stateDict().tensors
    progress?.dispose()
    for (const [name, to] of Object.entries(mine)) {
      const from = state.tensors[name]
      if (!from)
        throw new CheckpointError(
          `${this.name}: the state has no '${name}'; it belongs to another network or optimiser`,
        )
      if (from.size !== to.size) {
        throw new CheckpointError(
          `${this.name}: '${name}' is (${from.shape.join(', ')}) in the state, (${to.shape.join(', ')}) here`,
        )
      }
      this.device.copy(`${this.name} state`, from.storage, to.storage, to.bytes)
    }
    for (const t of Object.values(mine)) t.dispose()
    if (state.tensors.progress) {
      this.#scaled = true
      const { storage, bytes } = state.tensors.progress
      this.device.copy(`${this.name} state`, storage, this.#progress, bytes)
    } else {
      const [done1, done2] = this.fresh().map((f) => 1 - (1 - f) ** state.step) as [number, number]
      this.device.write(this.#progress, Float32Array.of(1, 0, done1, done2, state.step))
    }
    this.steps = state.step
    this.lr = state.lr
  }

  #nameOf(p: Tensor): string {
    return p.name ?? String(this.params.indexOf(p))
  }

  /** Frees the moments. */
  dispose(): void {
    for (const { storages } of this.#moments)
      for (const s of storages.values()) s.release('its optimiser was disposed')
    this.#progress.release('its optimiser was disposed')
  }
}
