import { FoveaError } from '../gpu/errors.ts'
import type { TrainingMemory } from '../pipelines/memory.ts'
import type { EpochMetrics } from '../pipelines/metrics.ts'
import type { Progress, Startup } from '../pipelines/training.ts'

/** Shows one network's training. */
export interface TrainingDisplay {
  /** What training is going to hold on the GPU. */
  start(memory: TrainingMemory): void
  firstStep(s: Startup): void
  progress(p: Progress): void
  epoch(m: EpochMetrics): void
  end(): void
}

/** Who runs a run: hears of its progress, and may stop it. */
export interface RunHost {
  /** A line for the user, with its end. */
  note(text: string): void
  /** `score` names what the validation gives. */
  display(title: string, epochs: number, score: string): Promise<TrainingDisplay>
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal
}

/** A run was stopped; the message says how to go on. */
export class Interrupted extends FoveaError {
  override name = 'Interrupted'
}
