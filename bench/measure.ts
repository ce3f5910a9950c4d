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

/** Runs at least: five, fewer of a call that takes seconds. */
const enough = (firstMs: number): number => (firstMs > 5000 ? 2 : firstMs > 1000 ? 3 : 5)

/**
 * Times `call`, which records work for the GPU: two warm-up calls (one, if a call takes over a second), then
 * batches of calls until `budgetMs` is spent, at least five (three, two), each batch awaited as a whole.
 */
export async function time(
  device: Device,
  call: () => void,
  { budgetMs = 400, maxRuns = 30 } = {},
): Promise<Timing> {
  let first = 0
  for (let i = 0; i < 3 && first < 1000; i++) {
    const start = performance.now()
    call()
    await device.idle()
    first = performance.now() - start
  }
  // Short calls are timed several at once, so that waiting is not what is measured.
  const perBatch = Math.max(1, Math.min(50, Math.floor(5 / Math.max(0.05, first))))
  const times: number[] = []
  const end = performance.now() + budgetMs
  while (times.length < enough(first) || (performance.now() < end && times.length < maxRuns)) {
    const start = performance.now()
    for (let i = 0; i < perBatch; i++) call()
    await device.idle()
    times.push((performance.now() - start) / perBatch)
  }
  return { median: median(times), min: Math.min(...times), runs: times.length }
}
