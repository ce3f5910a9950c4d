import type { Device } from '../src/autograd/device.ts'
import type { Tensor } from '../src/autograd/tensor.ts'
import type { Dataset, Sample } from '../src/data/dataset.ts'
import { BatchLoader } from '../src/data/loader.ts'
import { openDataset } from '../src/node/folders.ts'
import { stackSamples } from '../src/pipelines/tasks.ts'
import { median } from './measure.ts'
import { buildNetwork, type NetworkCase } from './networks.ts'
import { QueueIdle } from './queue-idle.ts'

/** Training steps with images from one source. */
export interface InputRow {
  readonly source: 'on the GPU' | 'files, decoded each time' | 'files, decoded once'
  /** Median of a step, from one to the next. */
  readonly ms: number
  /** What the loop waited for images in a step, and at most in one. */
  readonly waitMs: number
  readonly longestWaitMs: number
  /** What it waited in the first three steps together, which fill the GPU's queue and take no time of their own. */
  readonly fillingMs: number
  /**
   * Milliseconds from the end of a step to the start of the next by the GPU's clock: the median, since a host without a
   * free core may be late for anything, and the most. undefined without `timestamp-query`.
   */
  readonly idleMs: number | undefined
  readonly longestIdleMs: number | undefined
}

export interface InputReport {
  readonly folder: string
  readonly images: number
  readonly batch: number
  readonly side: number
  /** Reading, decoding, resizing and normalising one image with its mask, nothing else running. */
  readonly decodeMs: number
  /** The network, such as 'unet8'. */
  readonly network: string
  readonly channels: number
  readonly rows: readonly InputRow[]
}

/** Steps before the queue is full: the loop runs two ahead of the GPU. */
const FILLING = 3

const mean = (values: readonly number[]): number => values.reduce((sum, v) => sum + v, 0) / values.length

/** Batches of whole size, over and over. */
function* endless(samples: readonly Sample[], batch: number): Generator<readonly Sample[]> {
  for (let i = 0; ; i += batch)
    yield Array.from({ length: batch }, (_, k) => samples[(i + k) % samples.length]!)
}

async function decodeTime({ samples }: Dataset): Promise<number> {
  const some = samples.slice(0, 16)
  for (const s of some.slice(0, 2)) await s.load()
  const start = performance.now()
  await Promise.all(some.map((s) => s.load()))
  return (performance.now() - start) / some.length
}

interface StepArguments {
  readonly x: Tensor
  readonly y: Tensor
  release(): void
}

/**
 * Times a network's training step with a batch that lies on the GPU already, and as `train` feeds it: files of a folder
 * through the loader, decoded at every use (a first epoch) and kept in memory (every later one). Steps are timed from
 * one to the next, in a loop that runs ahead of the GPU as `train` does; waits by the loader's own clock.
 */
export async function benchInput(
  device: Device,
  folder: string,
  size: NetworkCase,
  steps = 8,
): Promise<InputReport> {
  const { batch, side } = size
  const channels = size.inChannels === 1 ? 1 : 3
  const open = (cacheBytes: number) => openDataset(folder, { size: side, channels, cacheBytes })
  const [cold, warm] = [await open(0), await open(2 ** 32)]
  const decodeMs = await decodeTime(cold)
  const network = buildNetwork(device, size)
  network.phase('training step')
  const step = network.steps['training step']
  const rows: InputRow[] = []
  /** `next` makes the arguments of a step; `waited` tells the milliseconds that it waited so far. */
  const timed = async (
    source: InputRow['source'],
    next: () => Promise<StepArguments>,
    waited: () => number,
  ) => {
    const times: number[] = []
    const waits: number[] = []
    const queue = new QueueIdle(device, FILLING + steps)
    let start = performance.now()
    let before = waited()
    for (let i = 0; i < FILLING + steps; i++) {
      const { x, y, release } = await next()
      queue.mark()
      step(x, y)
      queue.mark()
      release()
      await device.ready()
      const [now, all] = [performance.now(), waited()]
      times.push(now - start)
      waits.push(all - before)
      start = now
      before = all
    }
    await device.idle()
    const steady = waits.slice(FILLING)
    const ms = median(times.slice(FILLING))
    const fillingMs = waits.slice(0, FILLING).reduce((sum, w) => sum + w, 0)
    // The i-th is the time between the steps i and i + 1.
    const idle = (await queue.read())?.slice(FILLING - 1)
    rows.push({
      source,
      ms,
      waitMs: mean(steady),
      longestWaitMs: Math.max(...steady),
      fillingMs,
      idleMs: idle && median(idle),
      longestIdleMs: idle && Math.max(...idle),
    })
  }
  const fed = async (source: InputRow['source'], { samples }: Dataset) => {
    const loader = new BatchLoader(endless(samples, batch))
    const next = async (): Promise<StepArguments> => {
      const { x, y } = stackSamples(device, (await loader.next())!)
      const release = () => {
        for (const t of [x, y]) t.dispose()
      }
      return { x, y, release }
    }
    await timed(source, next, () => loader.waitedMs)
    await loader.close()
  }
  const there = stackSamples(device, await Promise.all(warm.samples.slice(0, batch).map((s) => s.load())))
  const resident: StepArguments = { ...there, release: () => undefined }
  await step.prepare(there.x, there.y)
  for (let i = 0; i < 2; i++) step(there.x, there.y)
  await device.idle()
  await timed(
    'on the GPU',
    async () => resident,
    () => 0,
  )
  await fed('files, decoded each time', cold)
  for (const s of warm.samples) await s.load()
  await fed('files, decoded once', warm)
  for (const t of [there.x, there.y]) t.dispose()
  network.dispose()
  const images = cold.samples.length
  return { folder, images, network: network.title, channels: size.inChannels, batch, side, decodeMs, rows }
}
