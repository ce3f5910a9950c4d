import type { Tensor } from '../autograd/tensor.ts'
import type { Sample } from '../data/dataset.ts'
import type { Schedule } from '../nn/optim/schedulers.ts'
import type { CheckpointStore } from './checkpoint.ts'
import type { TrainingMemory } from './memory.ts'
import type { EpochMetrics } from './metrics.ts'
import type { Precision } from './precision.ts'
import type { TrainingTask } from './tasks.ts'

/** What a progress bar shows. */
export interface Progress {
  readonly epoch: number
  readonly epochs: number
  readonly step: number
  readonly steps: number
  /** Latest loss read back; undefined before the first. */
  readonly loss: number | undefined
  readonly validationScore: number | undefined
  readonly imagesPerSecond: number
  readonly secondsLeft: number
}

/** How long training took to get going. */
export interface Startup {
  /** From the call of `train` until the first step was done on the GPU. */
  readonly seconds: number
  /** Kernels that were compiled for it. */
  readonly pipelines: number
}

/** What a network gives: one tensor, or one a stack. */
export type NetworkOutput = Tensor | readonly Tensor[]

/** `Output` is what the network's forward gives. */
export interface TrainOptions<Output extends NetworkOutput = Tensor> {
  readonly task: TrainingTask
  readonly train: readonly Sample[]
  readonly validation: readonly Sample[]
  readonly epochs: number
  readonly batchSize?: number
  readonly lr?: number
  readonly weightDecay?: number
  readonly seed?: number
  /** Part of the training samples that is used, 0 to 1; a smaller share lies inside a larger one. */
  readonly share?: number
  /** Epochs without a better validation score after which training ends. */
  readonly patience?: number
  /** Epochs without a better validation score after which the learning rate falls to a tenth. */
  readonly plateau?: number
  /** Learning rate of each epoch, such as cosineSchedule; by itself or with none, not beside `plateau`. */
  readonly schedule?: Schedule
  /** A scalar; default the soft Dice loss of a map. */
  readonly loss?: (output: Output, target: Tensor) => Tensor
  /** A score for each image of a batch, (N), of which more is better; default the DSC of a map at 0.5. */
  readonly score?: (output: Output, target: Tensor) => Tensor
  /**
   * 'mixed': the network runs in float16 with float32 sums, weights and updates, and a scaled loss. Needs an adapter
   * with `shader-f16`. Default 'float32'.
   */
  readonly precision?: Precision
  /** Where checkpoints and metrics go; without one nothing is saved and nothing can be resumed. */
  readonly store?: CheckpointStore
  /** Told before the first step what the run will hold on the GPU. */
  readonly onStart?: (memory: TrainingMemory) => void
  /** Told once, behind the first step. */
  readonly onFirstStep?: (startup: Startup) => void
  readonly onProgress?: (progress: Progress) => void
  readonly onEpoch?: (metrics: EpochMetrics) => void
  /** Ends training at the next step, with a checkpoint. */
  readonly signal?: AbortSignal
}

export interface TrainResult {
  readonly history: readonly EpochMetrics[]
  readonly bestEpoch: number
  /** Mean validation score of that epoch. */
  readonly bestScore: number
  /** True if the signal ended it; it can be resumed. */
  readonly interrupted: boolean
  /** What it was to hold on the GPU; undefined if there was nothing left to train, or nobody asked and the device has no memory limit. */
  readonly memory: TrainingMemory | undefined
}
