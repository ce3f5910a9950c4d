import type { Device } from '../src/autograd/device.ts'

/** Milliseconds of one call. */
export interface Timing {
  readonly median: number
  readonly min: number
  readonly runs: number
}

const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[sorted.length >> 1]!
}

/**
 * Times `call`, which records work for the GPU: two warm-up calls, then batches of calls until `budgetMs` is
 * spent (at least five), each batch awaited as a whole.
 */
export async function time(
  device: Device,
  call: () => void,
  { budgetMs = 400, maxRuns = 30 } = {},
): Promise<Timing> {
  for (let i = 0; i < 2; i++) call()
  await device.idle()
  const first = performance.now()
  call()
  await device.idle()
  // Short calls are timed several at once, so that waiting is not what is measured.
  const perBatch = Math.max(1, Math.min(50, Math.floor(5 / Math.max(0.05, performance.now() - first))))
  const times: number[] = []
  const end = performance.now() + budgetMs
  while (times.length < 5 || (performance.now() < end && times.length < maxRuns)) {
    const start = performance.now()
    for (let i = 0; i < perBatch; i++) call()
    await device.idle()
    times.push((performance.now() - start) / perBatch)
  }
  return { median: median(times), min: Math.min(...times), runs: times.length }
}
