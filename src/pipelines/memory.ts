import type { Device, PlannedUse } from '../autograd/device.ts'
import { Prng } from '../autograd/random.ts'
import type { Tensor } from '../autograd/tensor.ts'
import type { SampleData } from '../data/dataset.ts'
import { formatBytes } from '../gpu/bytes.ts'
import { GpuOutOfMemoryError } from '../gpu/errors.ts'
import type { StepMemory } from '../gpu/program.ts'
import type { Module } from '../nn/module.ts'
import { batchesOf } from './batches.ts'
import type { TrainingTask } from './tasks.ts'

/** What a training run holds on the GPU. */
export interface TrainingMemory {
  /** Its step on a whole batch. */
  readonly step: StepMemory
  /** Most bytes that the device is going to hold during the run: steps, smaller last batches, validation, reading back. */
  readonly peak: number
}

/** What decides how much memory a training run takes. */
export interface TrainingPlan {
  readonly device: Device
  readonly net: Module
  readonly task: TrainingTask
  /** Some loaded samples; they stand for all. */
  readonly samples: readonly SampleData[]
  /** Numbers of images. */
  readonly training: number
  readonly validation: number
  readonly step: (...args: readonly Tensor[]) => unknown
  readonly score: (...args: readonly Tensor[]) => unknown
  /** True if checkpoints are written. */
  readonly saves: boolean
}

/** Every step of the run with arguments of its shapes: whole batches and the smaller last one, validation likewise. */
function* uses({ device, net, task, samples, ...plan }: TrainingPlan, batch: number): Generator<PlannedUse> {
  for (const [fn, count, training] of [
    [plan.step, plan.training, true],
    [plan.score, plan.validation, false],
  ] as const) {
    const images = Array.from({ length: count }, (_, i) => i)
    const batches = batchesOf(images, batch, training ? net.leastTrainingBatch : 1)
    for (const size of new Set(batches.map((b) => b.length))) {
      const some = Array.from({ length: size }, (_, i) => samples[i % samples.length]!)
      const args = task.feed(device, some, new Prng(0), training)
      net.train(training)
      // Freed one after the other, as in the run, so that the pool grows as it will.
      try {
        yield [fn, args]
      } finally {
        for (const t of args) t.dispose()
      }
    }
  }
}

/** Bytes for reading weights back, and for loading the best ones at the end. */
function checkpointBytes(net: Module): number {
  const sizes = Object.values(net.stateDict()).map((t) => t.bytes)
  const staging = 2 * 2 ** Math.ceil(Math.log2(Math.max(256, ...sizes)))
  // Pooled buffers are at most an eighth larger than what is asked for.
  return staging + 1.125 * sizes.reduce((sum, s) => sum + Math.max(256, s), 0)
}

/**
 * What a run with batches of `batch` images will hold on the GPU. Its steps are captured; nothing runs. Throws a
 * GpuOutOfMemoryError if one of its tensors is larger than the adapter binds.
 */
export function planTraining(plan: TrainingPlan, batch: number): TrainingMemory {
  const { device, net } = plan
  const mode = net.training
  let steps: StepMemory[]
  try {
    steps = device.planAll(uses(plan, batch))
  } finally {
    net.train(mode)
  }
  const fresh = steps.reduce((sum, s) => sum + s.fresh, 0)
  const peak = device.memory().bytesHeld + fresh + (plan.saves ? checkpointBytes(net) : 0)
  return { step: steps[0]!, peak }
}

/**
 * The error of a run that does not fit: it says which batch would, found by planning others. The room is the
 * device's memory limit, or what was held when the driver refused more (`cause`), whichever is less.
 */
export function misfit(plan: TrainingPlan, batch: number, cause?: GpuOutOfMemoryError): GpuOutOfMemoryError {
  const { device, net, samples } = plan
  const room = Math.min(device.memoryLimit, cause?.room ?? Number.POSITIVE_INFINITY)
  const refused = room < device.memoryLimit
  /** What a run with such batches holds, or why that cannot even be planned. */
  const peakOf = (size: number): number | GpuOutOfMemoryError => {
    device.trim()
    try {
      return planTraining(plan, size).peak
    } catch (error) {
      if (error instanceof GpuOutOfMemoryError) return error
      throw error
    }
  }
  const fits = (size: number): boolean => {
    if (size < net.leastTrainingBatch) return false
    const peak = peakOf(size)
    return typeof peak === 'number' && peak <= room
  }
  const needed = peakOf(batch)
  const fitting = largestFitting(batch, fits)
  const before = net.activationCheckpointing
  let sparing = 0
  if (!before) {
    net.activationCheckpointing = true
    sparing = fits(batch) ? batch : largestFitting(batch, fits)
    net.activationCheckpointing = before
  }
  device.trim()
  const { height, width } = samples[0]!
  return doesNotFit({ batch, size: [height, width], needed, room, refused, fitting, sparing, cause })
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

interface Misfit {
  readonly batch: number
  /** Height and width of an image. */
  readonly size: readonly number[]
  /** Bytes that the run needs; or, where it cannot be planned, what is too large: a tensor for the adapter, the images for the room. */
  readonly needed: number | GpuOutOfMemoryError
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
function doesNotFit({
  batch,
  size,
  needed,
  room,
  refused,
  fitting,
  sparing,
  cause,
}: Misfit): GpuOutOfMemoryError {
  const what = `train: a batch of ${batch} at ${size.join('×')}`
  const unbindable = needed instanceof GpuOutOfMemoryError && needed.room === undefined
  const amount = typeof needed === 'number' ? formatBytes(needed) : 'more than there is'
  const why = unbindable
    ? `${what} needs a larger tensor than this adapter binds`
    : `${what} needs ${amount}, ${refused ? `the GPU refused more than ${formatBytes(room)}` : `the limit is ${formatBytes(room)}`}`
  const verb = refused ? 'should fit' : 'fits'
  const advice =
    fitting === 0 && sparing === 0
      ? 'not even one image fits: use smaller images or fewer features'
      : [
          ...(fitting > 0 ? [`a batch of ${fitting} ${verb}`] : []),
          ...(sparing > fitting
            ? [`${fitting > 0 ? 'one' : 'a batch'} of ${sparing} ${verb} with activation checkpointing`]
            : []),
        ].join(', ')
  return new GpuOutOfMemoryError(`${why}; ${advice}`, { op: 'train', room, cause })
}
