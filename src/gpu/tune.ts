import { DeviceLostError } from './errors.ts'
import type { Gpu } from './gpu.ts'
import { type Question, type Tuner, tunerOf, type Variant } from './tuner.ts'

/** What one variant took. */
export interface VariantTiming {
  /** Op and shape, as in the tuner's table. */
  readonly key: string
  readonly variant: string
  /** Milliseconds of one run; infinite where it does not compile on this adapter. */
  readonly ms: number
  readonly chosen: boolean
}

/** Milliseconds of one run: the best of a few rounds, each long enough for the clock. */
async function time(device: Gpu, once: () => void): Promise<number> {
  once()
  await device.idle()
  let best = Number.POSITIVE_INFINITY
  let repeats = 1
  for (let round = 0; round < 5; ) {
    const start = performance.now()
    for (let i = 0; i < repeats; i++) once()
    await device.idle()
    const ms = performance.now() - start
    if (ms < 4 && repeats < 64) {
      repeats *= 2
      continue
    }
    best = Math.min(best, ms / repeats)
    round++
  }
  return best
}

/** What `work` gives; nothing where it fails: where one candidate does not run, another does. A lost device runs none. */
async function tried<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof DeviceLostError) throw error
    return undefined
  }
}

/** A challenger must be this much faster than the first candidate, lest noise decide. */
const MARGIN = 0.95

async function measure<V extends Variant>(device: Gpu, tuner: Tuner, question: Question<V>) {
  const { key, candidates } = question
  const rehearsal = question.rehearse()
  const taken: { name: string; ms: number }[] = []
  try {
    // All once, so that their kernels are compiled side by side.
    for (const candidate of candidates) await tried(async () => rehearsal.run(candidate))
    await tried(() => device.idle())
    for (const candidate of candidates) {
      const ms = await tried(() => time(device, () => rehearsal.run(candidate)))
      taken.push({ name: candidate.name, ms: ms ?? Number.POSITIVE_INFINITY })
    }
  } finally {
    rehearsal.dispose()
  }
  const first = taken[0]!
  const fastest = taken.reduce((a, b) => (b.ms < a.ms ? b : a))
  const best = fastest.ms < MARGIN * first.ms ? fastest : first
  tuner.settle(question, Number.isFinite(best.ms) ? best.name : undefined)
  return taken.map(({ name, ms }): VariantTiming => ({ key, variant: name, ms, chosen: name === best.name }))
}

/** Measures the questions that the device's tuner has open and keeps the answers where it keeps them. */
export async function measureOpen(device: Gpu): Promise<VariantTiming[]> {
  const tuner = tunerOf(device)
  const timings: VariantTiming[] = []
  for (const question of tuner.open) timings.push(...(await measure(device, tuner, question)))
  if (timings.length > 0) await tuner.save()
  return timings
}

/**
 * Runs `fn` once, measures every variant of every op in it that has several (convolutions and their
 * gradients, matrix products, reductions) and of which nothing was measured yet, and has the device take the
 * fastest from then on. Steps that are compiled already keep what they were compiled with. The answers are
 * kept for other processes if the device was opened with `tune: 'cached'` or `'measure'`; in a page only such a device
 * has all variants at hand.
 */
export async function tune(device: Gpu, fn: () => unknown): Promise<VariantTiming[]> {
  await tunerOf(device).record(fn)
  return measureOpen(device)
}
