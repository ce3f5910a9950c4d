import type { Device } from '../src/autograd/device.ts'
import { median, timeInTurns } from './measure.ts'
import { buildNetwork, type NetworkCase, PHASES, type Phase } from './networks.ts'

/** A phase of a network at one size, timed in turns with the same at other sizes. */
export interface PixelsRow {
  readonly title: string
  readonly phase: Phase
  readonly batch: number
  readonly side: number
  /** Batch × height × width of what goes in. */
  readonly pixels: number
  /** Milliseconds of one call, median and least of `rounds`. */
  readonly ms: number
  readonly min: number
  readonly rounds: number
}

/** Milliseconds of a round of one size, about: as long for small images as for large ones, which take seconds. */
const ROUND_MS = 1000

/**
 * Whether a network's time a pixel is the same at all sizes. `cases` with the same title and batch are timed in turns, so
 * that a neighbour of the machine slows them alike; measured one after another, they would show what it did meanwhile.
 */
export async function benchPixels(
  device: Device,
  cases: readonly NetworkCase[],
  { roundMs = ROUND_MS, rounds = 9, onRows = (_: readonly PixelsRow[]) => {} } = {},
): Promise<PixelsRow[]> {
  const all: PixelsRow[] = []
  const groups = new Map<string, NetworkCase[]>()
  for (const each of cases) {
    const key = `${each.network} ${each.features} ${each.batch}`
    groups.set(key, [...(groups.get(key) ?? []), each])
  }
  for (const sizes of groups.values()) {
    for (const phase of PHASES) {
      const built = sizes.map((each) => ({ each, ...buildNetwork(device, each) }))
      const calls = built.map((b) => b.phase(phase))
      const times = await timeInTurns(device, calls, { roundMs, budgetMs: 0, rounds })
      for (const b of built) b.dispose()
      const rows = built.map(({ each: { batch, side }, title, pixels }, i) => ({
        title,
        phase,
        batch,
        side,
        pixels,
        ms: median(times[i]!),
        min: Math.min(...times[i]!),
        rounds,
      }))
      all.push(...rows)
      onRows(rows)
    }
  }
  return all
}

/** How far the dearest pixel of these rows lies over the cheapest. */
export function spread(rows: readonly PixelsRow[], of: (row: PixelsRow) => number): number {
  const each = rows.map((row) => of(row) / row.pixels)
  return Math.max(...each) / Math.min(...each)
}
