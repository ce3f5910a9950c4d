import { formatBytes } from '../gpu/bytes.ts'
import { GpuOutOfMemoryError } from '../gpu/errors.ts'
import type { StepMemory } from '../gpu/program.ts'

/** What a training run holds on the GPU. */
export interface TrainingMemory {
  /** Its step on a whole batch. */
  readonly step: StepMemory
  /** Most bytes that the device is going to hold during the run: steps, smaller last batches, validation, reading back. */
  readonly peak: number
}

/** The largest number below `batch` that fits, by bisection; 0 if not even one does. */
export function largestFitting(batch: number, fits: (size: number) => boolean): number {
  let [low, high] = [0, batch]
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if (fits(middle)) low = middle
    else high = middle
  }
  return low
}

export interface Misfit {
  readonly batch: number
  /** Height and width of an image. */
  readonly size: readonly number[]
  /** Bytes that the run needs; undefined where a single tensor is larger than the adapter binds. */
  readonly needed: number | undefined
  /** Bytes that there are. */
  readonly room: number
  /** True if a driver refused: what it refused once it may grant another time. */
  readonly refused: boolean
  /** Largest batch that fits, and with activation checkpointing. */
  readonly fitting: number
  readonly sparing: number
  readonly cause: unknown
}

/** The sentence that says which batch would do. */
export function doesNotFit({ batch, size, needed, room, refused, fitting, sparing, cause }: Misfit): GpuOutOfMemoryError {
  const what = `train: a batch of ${batch} at ${size.join('×')}`
  const why =
    needed === undefined
      ? `${what} needs a larger tensor than this adapter binds`
      : `${what} needs ${formatBytes(needed)}, ${refused ? `the GPU refused more than ${formatBytes(room)}` : `the limit is ${formatBytes(room)}`}`
  const verb = refused ? 'should fit' : 'fits'
  const advice =
    fitting === 0 && sparing === 0
      ? 'not even one image fits: use smaller images or fewer features'
      : [
          ...(fitting > 0 ? [`a batch of ${fitting} ${verb}`] : []),
          ...(sparing > fitting ? [`${fitting > 0 ? 'one' : 'a batch'} of ${sparing} ${verb} with activation checkpointing`] : []),
        ].join(', ')
  return new GpuOutOfMemoryError(`${why}; ${advice}`, { op: 'train', room, cause })
}
