import { addInto } from '../autograd/accumulate.ts'
import type { CompiledStep, Device } from '../autograd/device.ts'
import { diceLoss } from '../autograd/ops/dice-loss.ts'
import { checkOptions } from '../autograd/options.ts'
import { Prng } from '../autograd/random.ts'
import type { Tensor } from '../autograd/tensor.ts'
import type { Sample, SampleData } from '../data/dataset.ts'
import { BatchLoader } from '../data/loader.ts'
import { shareOf, unitHash } from '../data/split.ts'
import { DataError, FoveaError, GpuOutOfMemoryError, TrainingError } from '../gpu/errors.ts'
import type { Module } from '../nn/module.ts'
import { Adam } from '../nn/optim/adam.ts'
import { GradScaler } from '../nn/optim/grad-scaler.ts'
import { ReduceLROnPlateau } from '../nn/optim/schedulers.ts'
import { batchesOf } from './batches.ts'
import { readCheckpoint, type TrainingState, writeCheckpoint } from './checkpoint.ts'
import { diceScore } from './losses.ts'
import { misfit, planTraining, type TrainingMemory, type TrainingPlan } from './memory.ts'
import type { EpochMetrics } from './metrics.ts'
import { checkPrecision, inPrecision } from './precision.ts'
import type { NetworkOutput, TrainOptions, TrainResult } from './training-options.ts'

export type { NetworkOutput, Progress, Startup, TrainOptions, TrainResult } from './training-options.ts'

const DEFAULT_LR = 1e-3

/** Every name of `TrainOptions`, for callers without a type checker. */
const REQUIRED = ['task', 'train', 'validation', 'epochs']
const OPTIONAL = Object.keys({
  ...{ batchSize: 0, lr: 0, weightDecay: 0, seed: 0, share: 0, patience: 0, plateau: 0, schedule: 0 },
  ...{ loss: 0, score: 0, precision: 0, store: 0, signal: 0 },
  ...{ onStart: 0, onFirstStep: 0, onProgress: 0, onEpoch: 0 },
} satisfies Record<Exclude<keyof TrainOptions, 'task' | 'train' | 'validation' | 'epochs'>, 0>)

/** Steps between two reads of the loss: a read waits for the GPU. */
const LOSS_EVERY = 8

/** A generator for one purpose at one place of a run: nothing needs to be remembered to resume. */
const generatorAt = (seed: number, ...place: (string | number)[]): Prng =>
  new Prng(Math.floor(unitHash(String(seed), place.join(':')) * 2 ** 32))

function shuffled<T>(items: readonly T[], prng: Prng): T[] {
  const result = [...items]
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(prng.uniform() * (i + 1))
    const held = result[i]!
    result[i] = result[j]!
    result[j] = held
  }
  return result
}

/** The network's output is a map, as `TrainOptions` has it where no other loss or score is given. */
const ofMap =
  (f: (map: Tensor, target: Tensor) => Tensor) =>
  (output: NetworkOutput, target: Tensor): Tensor =>
    f(output as Tensor, target)

/**
 * Trains a network, a segmentation network unless `loss` and `score` say otherwise: shuffled batches, one compiled
 * step (augmentation, forward, loss, backward, optimiser in one submission), validation after every epoch, the best
 * weights kept and loaded at the end.
 *
 * Everything random follows from `seed` and the place in the run, so a resumed run equals an uninterrupted
 * one bit for bit on the same adapter. Images are loaded two batches ahead of their use. Throws a TrainingError
 * when the loss is not finite, a ShapeError for an option that there is not, a DataError when there is nothing to train on,
 * a GpuOutOfMemoryError that says which batch would fit (before the first step where the device has a memory limit), and
 * what the device throws; checkpoints written before stay whole.
 */
export async function train<Output extends NetworkOutput = Tensor>(
  net: Module,
  device: Device,
  options: TrainOptions<Output>,
): Promise<TrainResult> {
  const run = new TrainingRun(net, device, options)
  try {
    return await run.all()
  } catch (error) {
    throw run.explain(error)
  } finally {
    await run.dispose()
  }
}

class TrainingRun<Output extends NetworkOutput> {
  readonly #samples: readonly Sample[]
  readonly #optimizer: Adam
  /** Where the precision is mixed. */
  readonly #scaler: GradScaler | undefined
  readonly #plateau: ReduceLROnPlateau
  readonly #step: CompiledStep<readonly Tensor[], Tensor>
  readonly #score: CompiledStep<readonly Tensor[], Tensor>
  #loader: BatchLoader | undefined
  /** Samples of the first batch, on which memory is planned. */
  #first: readonly SampleData[] | undefined
  #memory: TrainingMemory | undefined
  /** Sum of the epoch's losses, on the GPU. */
  readonly #lossSum: Tensor
  readonly #seed: number
  readonly #batchSize: number
  #state: TrainingState = { epoch: 0, step: 0, seconds: 0, best: 0, bestEpoch: 0, history: [], plateau: {} }
  #latestLoss: number | undefined
  #lossError: Error | undefined
  #started = performance.now()
  #done = 0
  readonly #pipelinesBefore: number
  #firstStepReported = false

  constructor(
    private readonly net: Module,
    private readonly device: Device,
    private readonly options: TrainOptions<Output>,
  ) {
    const {
      train,
      validation,
      share = 1,
      seed = 42,
      batchSize = 8,
      lr = DEFAULT_LR,
      weightDecay = 0,
      precision = 'float32',
    } = options
    checkOptions('train', options, REQUIRED, OPTIONAL)
    if (train.length === 0)
      throw new DataError('train: there are no training images; check the folder and the split')
    if (validation.length === 0)
      throw new DataError('train: there are no validation images; give the split a larger share')
    checkPrecision('train', device, precision)
    this.#pipelinesBefore = device.counters.pipelines
    this.#seed = seed
    this.#batchSize = batchSize
    this.#samples = share < 1 ? shareOf(train, share, seed) : train
    this.#optimizer = new Adam(net.parameters(), { lr, weightDecay })
    this.#scaler = precision === 'mixed' ? new GradScaler(device) : undefined
    this.#plateau = new ReduceLROnPlateau(this.#optimizer, {
      mode: 'max',
      patience: options.plateau ?? Number.POSITIVE_INFINITY,
      // A share of a score below 0 would point the wrong way.
      thresholdMode: options.score ? 'abs' : 'rel',
    })
    this.#lossSum = device.parameter(new Float32Array(1), [1], { requiresGrad: false, name: 'loss sum' })
    this.#step = device.compile(this.#train)
    this.#score = device.compile(this.#evaluate)
  }

  readonly #train = (...args: readonly Tensor[]): Tensor => {
    const { task, loss = ofMap(diceLoss), precision = 'float32' } = this.options
    const { input, target } = this.device.noGrad(() => task.prepare(args, true))
    this.#optimizer.zeroGrad()
    const value = inPrecision(this.device, precision, () => loss(this.net.forward(input) as Output, target))
    if (this.#scaler) {
      this.#scaler.backward(value)
      this.#optimizer.step({ scaler: this.#scaler })
      this.#scaler.update()
    } else {
      value.backward()
      this.#optimizer.step()
    }
    addInto(this.#lossSum, value)
    return value
  }

  readonly #evaluate = (...args: readonly Tensor[]): Tensor =>
    this.device.noGrad(() => {
      const { task, score = ofMap(diceScore), precision = 'float32' } = this.options
      const { input, target } = task.prepare(args, false)
      return score(
        inPrecision(this.device, precision, () => this.net.forward(input) as Output),
        target,
      )
    })

  async all(): Promise<TrainResult> {
    await this.#resume()
    this.#loader = new BatchLoader(this.#schedule())
    const { epochs, patience = Number.POSITIVE_INFINITY, store } = this.options
    let interrupted = false
    while (this.#state.epoch < epochs && this.#state.epoch - this.#state.bestEpoch < patience) {
      interrupted = await this.#epoch()
      if (interrupted) break
    }
    await this.#save()
    if (!interrupted && store) {
      const best = await store.read('best')
      if (best) await readCheckpoint(this.device, best, store.nameOf?.('best') ?? 'best weights', this.net)
    }
    this.net.eval()
    const { history, bestEpoch, best } = this.#state
    return { history, bestEpoch, bestScore: best, interrupted, memory: this.#memory }
  }

  /** The training batches of an epoch, in its order. */
  #batches(epoch: number): Sample[][] {
    const order = shuffled(this.#samples, generatorAt(this.#seed, 'order', epoch))
    return batchesOf(order, this.#batchSize, this.net.leastTrainingBatch)
  }

  /** All batches from where the state stands, in the order in which they are used: of training, of validation, … */
  *#schedule(): Generator<readonly Sample[]> {
    const { epochs, validation } = this.options
    let { epoch, step } = this.#state
    for (; epoch < epochs; epoch++, step = 0) {
      yield* this.#batches(epoch).slice(step)
      yield* batchesOf(validation, this.#batchSize)
    }
  }

  async #load(): Promise<readonly SampleData[]> {
    const samples = await this.#loader!.next()
    if (!samples) throw new FoveaError('train: the schedule of batches ended before the run')
    return samples
  }

  #plan(samples: readonly SampleData[]): TrainingPlan {
    const { net, device, options } = this
    const { task, validation, store } = options
    const counts = { training: this.#samples.length, validation: validation.length }
    const steps = { step: this.#train, score: this.#evaluate }
    return { net, device, task, samples, ...counts, ...steps, saves: store !== undefined }
  }

  /** Before the first step: says what memory the run takes, or that it doesn't fit. */
  #start(samples: readonly SampleData[]): void {
    this.#first = samples
    const { onStart } = this.options
    const { memoryLimit } = this.device
    if (!onStart && memoryLimit === Number.POSITIVE_INFINITY) return
    const memory = planTraining(this.#plan(samples), this.#batchSize)
    if (memory.peak > memoryLimit) throw misfit(this.#plan(samples), this.#batchSize)
    this.#memory = memory
    onStart?.(memory)
  }

  /** Adds to an error for lack of memory which batch would fit. */
  explain(error: unknown): unknown {
    if (!(error instanceof GpuOutOfMemoryError) || error.op === 'train') return error
    if (!this.#first || this.device.lost) return error
    this.#release()
    return misfit(this.#plan(this.#first), this.#batchSize, error)
  }

  async #resume(): Promise<void> {
    const { store } = this.options
    const bytes = await store?.read('last')
    if (!bytes || !store) return
    const read = await readCheckpoint(
      this.device,
      bytes,
      store.nameOf?.('last') ?? 'checkpoint',
      this.net,
      this.#optimizer,
      this.#lossSum,
      this.#scaler,
    )
    if (!read) throw new DataError('train: the checkpoint holds weights only; it cannot be resumed')
    this.#state = read
    this.#plateau.restore(read.plateau)
    await store.keepMetrics(read.history.length)
  }

  /** One epoch from where the state stands. True if the signal ended it. */
  async #epoch(): Promise<boolean> {
    const { task, signal } = this.options
    const { epoch } = this.#state
    const { schedule, lr = DEFAULT_LR } = this.options
    if (schedule) this.#optimizer.lr = schedule(epoch, lr)
    const batches = this.#batches(epoch)
    this.net.train()
    const start = performance.now() - this.#state.seconds * 1000
    const waited = this.#loader!.waitedMs
    for (; this.#state.step < batches.length; this.#state.step++) {
      if (signal?.aborted) {
        this.#state.seconds = (performance.now() - start) / 1000
        return true
      }
      const { step } = this.#state
      const samples = await this.#load()
      if (!this.#first) this.#start(samples)
      const args = task.feed(this.device, samples, generatorAt(this.#seed, 'step', epoch, step), true)
      await this.#step.prepare(...args)
      const loss = this.#step(...args)
      for (const t of args) t.dispose()
      if (step % LOSS_EVERY === 0) this.#watch(loss)
      loss.dispose()
      await this.#reportFirstStep()
      await this.device.ready()
      if (this.#lossError) throw this.#lossError
      this.#done += samples.length
      this.#report(batches.length)
    }
    const trainLoss = (await this.#lossSum.item()) / batches.length
    // What the GPU had to say may have gone to the reading of an earlier loss.
    if (this.#lossError) throw this.#lossError
    if (!Number.isFinite(trainLoss)) throw this.#notFinite(trainLoss)
    const seconds = (performance.now() - start) / 1000
    const waitSeconds = (this.#loader!.waitedMs - waited) / 1000
    const validationScore = await this.#validate()
    await this.#endEpoch({
      epoch: epoch + 1,
      trainLoss,
      validationScore,
      lr: this.#optimizer.lr,
      seconds,
      imagesPerSecond: this.#samples.length / seconds,
      waitSeconds,
    })
    return false
  }

  /** Reads a loss without waiting for it; a bad one ends training at the next step. */
  #watch(loss: Tensor): void {
    loss.item().then(
      (value) => {
        this.#latestLoss = value
        if (!Number.isFinite(value)) this.#lossError ??= this.#notFinite(value)
      },
      (error: Error) => {
        this.#lossError ??= error
      },
    )
  }

  #notFinite(value: number): TrainingError {
    const { epoch, step } = this.#state
    return new TrainingError(
      `the loss became ${value} in epoch ${epoch + 1}, near step ${step + 1}: training cannot go on. Earlier checkpoints are whole. ` +
        'Lower the learning rate, clip gradients, or look for images or masks with values that are not finite',
    )
  }

  /** Mean score over the validation images, each by itself. */
  async #validate(): Promise<number> {
    const { task, validation } = this.options
    this.net.eval()
    const scores: number[] = []
    for (let done = 0; done < validation.length; done += this.#batchSize) {
      const args = task.feed(this.device, await this.#load(), generatorAt(this.#seed, 'validation'), false)
      await this.#score.prepare(...args)
      const score = this.#score(...args)
      for (const t of args) t.dispose()
      scores.push(...(await score.data()))
      score.dispose()
    }
    this.net.train()
    return scores.reduce((s, v) => s + v, 0) / scores.length
  }

  async #endEpoch(metrics: EpochMetrics): Promise<void> {
    const { store, onEpoch } = this.options
    this.#lossSum.set(new Float32Array(1))
    this.#plateau.step(metrics.validationScore)
    const state = this.#state
    state.history = [...state.history, metrics]
    state.epoch++
    state.step = 0
    state.seconds = 0
    if (state.bestEpoch === 0 || metrics.validationScore > state.best) {
      state.best = metrics.validationScore
      state.bestEpoch = state.epoch
      await store?.write('best', await writeCheckpoint(this.net))
    }
    await this.#save()
    await store?.addMetrics(metrics)
    onEpoch?.(metrics)
  }

  async #save(): Promise<void> {
    const { store } = this.options
    if (!store) return
    // An error of the GPU must surface before anything is written.
    await this.device.idle()
    this.#state.plateau = this.#plateau.state()
    await store.write(
      'last',
      await writeCheckpoint(this.net, this.#optimizer, this.#lossSum, this.#state, this.#scaler),
    )
  }

  async #reportFirstStep(): Promise<void> {
    const { onFirstStep } = this.options
    if (this.#firstStepReported || !onFirstStep) return
    this.#firstStepReported = true
    await this.device.idle()
    onFirstStep({
      seconds: (performance.now() - this.#started) / 1000,
      pipelines: this.device.counters.pipelines - this.#pipelinesBefore,
    })
  }

  #report(steps: number): void {
    const { onProgress, epochs } = this.options
    if (!onProgress) return
    const elapsed = (performance.now() - this.#started) / 1000
    const { epoch, step, history } = this.#state
    const imagesPerSecond = this.#done / elapsed
    const imagesLeft = (epochs - epoch) * this.#samples.length - (step + 1) * this.#batchSize
    onProgress({
      epoch: epoch + 1,
      epochs,
      step: step + 1,
      steps,
      loss: this.#latestLoss,
      validationScore: history.at(-1)?.validationScore,
      imagesPerSecond,
      secondsLeft: Math.max(0, imagesLeft / imagesPerSecond),
    })
  }

  /** Gives up what the steps hold. */
  #release(): void {
    this.#step.dispose()
    this.#score.dispose()
    this.device.trim()
  }

  async dispose(): Promise<void> {
    await this.#loader?.close()
    if (this.device.lost) return
    this.#release()
    this.#optimizer.dispose()
    this.#scaler?.dispose()
    this.#lossSum.dispose()
  }
}
