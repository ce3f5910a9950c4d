import type { Device } from '../autograd/device.ts'
import { generatorOf } from '../autograd/random.ts'
import type { Tensor } from '../autograd/tensor.ts'
import { CheckpointError } from '../gpu/errors.ts'
import { tunerOf } from '../gpu/tuner.ts'
import type { TunerTable } from '../gpu/tuner-table.ts'
import type { Module } from '../nn/module.ts'
import type { GradScaler } from '../nn/optim/grad-scaler.ts'
import type { Optimizer } from '../nn/optim/optimizer.ts'
import { parseSafetensors } from '../nn/safetensors.ts'
import { safetensorsFrom, type TensorRecord, tensorsFromSafetensors } from '../nn/state.ts'
import type { EpochMetrics } from './metrics.ts'

/** Where a run keeps its files. `src/node/run-folder.ts` keeps them on disk. */
export interface CheckpointStore {
  /** Bytes of 'last' (everything to resume) or 'best' (weights); undefined if there are none yet. */
  read(name: 'last' | 'best'): Promise<Uint8Array | undefined>
  /** Writes whole or not at all. */
  write(name: 'last' | 'best', bytes: Uint8Array): Promise<void>
  /** What errors call a file: its path. */
  nameOf?(name: 'last' | 'best'): string
  addMetrics(metrics: EpochMetrics): Promise<void>
  /** Drops metrics of epochs that the checkpoint does not know. */
  keepMetrics(epochs: number): Promise<void>
}

/** Where training stands, besides tensors. */
export interface TrainingState {
  /** Whole epochs done, and steps done in the next one. */
  epoch: number
  step: number
  /** Seconds spent in the epoch that is under way. */
  seconds: number
  best: number
  bestEpoch: number
  history: readonly EpochMetrics[]
  plateau: Record<string, number>
}

const prefixed = (prefix: string, tensors: Readonly<TensorRecord>): TensorRecord =>
  Object.fromEntries(Object.entries(tensors).map(([name, t]) => [`${prefix}${name}`, t]))

/**
 * A checkpoint as one safetensors file: weights under their own names, moments under `optimizer.`, the sum of
 * the epoch's losses and the loss scale under `loss.`, the state and the kernels that were chosen as JSON in the
 * metadata. Without an optimiser: weights alone, which PyTorch reads as they are.
 */
export async function writeCheckpoint(
  net: Module,
  optimizer?: Optimizer,
  lossSum?: Tensor,
  state?: TrainingState,
  scaler?: GradScaler,
): Promise<Uint8Array> {
  const weights = net.stateDict()
  if (!optimizer || !lossSum || !state) return safetensorsFrom(weights)
  const { tensors, step, lr } = optimizer.stateDict()
  const random = generatorOf(optimizer.device).state()
  const choices = tunerOf(optimizer.device).export()
  const metadata = { fovea: JSON.stringify({ state, optimizer: { step, lr }, random, choices }) }
  const scale: TensorRecord = scaler ? { 'loss.scale': scaler.state() } : {}
  return safetensorsFrom(
    { ...weights, ...prefixed('optimizer.', tensors), 'loss.sum': lossSum, ...scale },
    metadata,
  )
}

/**
 * Loads a checkpoint into a network and, if given, an optimiser. Returns the training state, or undefined for
 * a file of weights alone. Throws a CheckpointError if it is damaged or belongs to another network.
 */
export async function readCheckpoint(
  device: Device,
  bytes: Uint8Array,
  file: string,
  net: Module,
  optimizer?: Optimizer,
  lossSum?: Tensor,
  scaler?: GradScaler,
): Promise<TrainingState | undefined> {
  const { metadata } = parseSafetensors(bytes, file)
  const tensors = tensorsFromSafetensors(device, bytes, file)
  try {
    const weights = Object.fromEntries(
      Object.entries(tensors).filter(([name]) => !/^(optimizer|loss)\./.test(name)),
    )
    net.loadStateDict(weights)
    if (!optimizer || !lossSum || !metadata.fovea) return undefined
    const saved = parseState(metadata.fovea, file)
    const moments = Object.fromEntries(
      Object.entries(tensors)
        .filter(([name]) => name.startsWith('optimizer.'))
        .map(([name, t]) => [name.slice('optimizer.'.length), t]),
    )
    optimizer.loadStateDict({ ...saved.optimizer, tensors: moments })
    const sum = tensors['loss.sum']
    if (!sum) throw new CheckpointError(`${file}: it lacks loss.sum; it is damaged`)
    device.copy('checkpoint', sum.storage, lossSum.storage, lossSum.bytes)
    // A run in float32 that goes on in mixed precision begins with a fresh scale.
    if (tensors['loss.scale']) scaler?.restore(tensors['loss.scale'])
    generatorOf(device).restore(saved.random)
    // Other kernels would give other last bits.
    if (saved.choices?.choices) tunerOf(device).import(saved.choices)
    return saved.state
  } finally {
    for (const t of Object.values(tensors)) t.dispose()
  }
}

interface Saved {
  state: TrainingState
  optimizer: { step: number; lr: number }
  random: ReturnType<ReturnType<typeof generatorOf>['state']>
  /** Kernels that the run's work was done with. */
  choices?: TunerTable
}

/** Metrics of an epoch under the name that they have today. */
function today(metrics: EpochMetrics & { readonly validationDice?: number }): EpochMetrics {
  const { validationDice, ...rest } = metrics
  return validationDice === undefined ? rest : { ...rest, validationScore: validationDice }
}

function parseState(text: string, file: string): Saved {
  try {
    const saved = JSON.parse(text) as Saved
    const { history } = saved.state
    if (Array.isArray(history) && Number.isInteger(saved.optimizer.step))
      return { ...saved, state: { ...saved.state, history: history.map(today) } }
  } catch {
    // Reported below.
  }
  throw new CheckpointError(
    `${file}: its training state cannot be read; it is damaged or was written by another version`,
  )
}
