import type { Device } from '../src/autograd/device.ts'

/** Milliseconds of one call. */
export interface Timing {
  readonly median: number
  readonly min: number
  readonly runs: number
}

/** The middle of an odd number of values, else the mean of the two in the middle. */
export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b)
  return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2
}

/** Part of the usual time that a measurement takes. */
let share = 1

/** From now on measurements take about a twentieth of their time, or all of it: `bench --quick`. */
export function measureQuickly(quick: boolean): void {
  share = quick ? 0.05 : 1
}

/** What a measurement may spend that usually takes so many milliseconds. */
export const budget = (ms: number): number => share * ms

/** Runs at least: five, fewer of a call that takes seconds, or quickly. */
const enough = (firstMs: number): number => (firstMs > 5000 || share < 1 ? 2 : firstMs > 1000 ? 3 : 5)

/**
 * Milliseconds that a batch of calls takes at least. The end of a batch is noticed up to three milliseconds late
 * (src/node/pace.ts), so that shorter batches would measure how often the driver is asked. Calls of a batch are not
 * awaited one by one: `train`, too, has two steps under way.
 */
const BATCH_MS = 120
/** A device refuses to have more submissions open. */
const LARGEST_BATCH = 1000

/** Milliseconds of so many calls, awaited as a whole. */
export async function batchMs(device: Device, call: () => void, count: number): Promise<number> {
  const start = performance.now()
  for (let i = 0; i < count; i++) call()
  await device.idle()
  return performance.now() - start
}

/** After a warm-up call (two, if they are short) batches grow until one takes `batch` milliseconds: so many calls, and what it took. */
async function grown(
  device: Device,
  call: () => void,
  batch: number,
): Promise<{ count: number; ms: number }> {
  let count = 1
  let ms = await batchMs(device, call, count)
  if (ms < 1000) ms = await batchMs(device, call, count)
  while (ms < batch && count < LARGEST_BATCH) {
    // Short batches tell little: no more than fourfold at once.
    const wanted = Math.ceil(count * Math.min(4, (1.1 * batch) / ms))
    count = Math.min(LARGEST_BATCH, Math.max(count + 1, wanted))
    ms = await batchMs(device, call, count)
  }
  return { count, ms }
}

/**
 * Times `call`, which records work for the GPU: batches of BATCH_MS run until `budgetMs` is spent, at least five (three, two).
 */
export async function time(
  device: Device,
  call: () => void,
  { budgetMs = 400, maxRuns = 30 } = {},
): Promise<Timing> {
  const { count, ms } = await grown(device, call, budget(BATCH_MS))
  const times: number[] = []
  const end = performance.now() + budget(budgetMs)
  while (times.length < enough(ms) || (performance.now() < end && times.length < maxRuns))
    times.push((await batchMs(device, call, count)) / count)
  return { median: median(times), min: Math.min(...times), runs: times.length }
}

/**
 * Times calls in turns, so that a neighbour of the machine slows all of them: in each round one batch of each, until `budgetMs`
 * is spent, at least `rounds` rounds (one, if it is quick). A batch takes `batchMs`, or as long as the longest call: one that is
 * shorter than the others' would find quiet moments that they cannot. Gives the milliseconds of one call of each, by round.
 */
export async function timeInTurns(
  device: Device,
  calls: readonly (() => void)[],
  { batchMs: least = BATCH_MS, budgetMs = 4000, rounds = 5 } = {},
): Promise<number[][]> {
  const each: number[] = []
  for (const call of calls) {
    const { count, ms } = await grown(device, call, budget(least))
    each.push(ms / count)
  }
  const longest = Math.max(budget(least), ...each)
  const counts = each.map((ms) => Math.min(LARGEST_BATCH, Math.round(longest / ms)))
  const times: number[][] = calls.map(() => [])
  const end = performance.now() + budget(budgetMs)
  for (let round = 0; round < (share < 1 ? 1 : rounds) || performance.now() < end; round++)
    for (const [i, call] of calls.entries())
      times[i]!.push((await batchMs(device, call, counts[i]!)) / counts[i]!)
  return times
}
