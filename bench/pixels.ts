import type { Device } from '../src/autograd/device.ts'
import { median, timeInTurns } from './measure.ts'
import { buildNetwork, type NetworkCase, PHASES, type Phase } from './networks.ts'

/** A phase of a network at one size, timed in turns with the same at other sizes. */
export interface PixelsRow {
  readonly title: string
  readonly phase: Phase
  readonly batch: number
  readonly inChannels: number
  readonly side: number
  /** Batch × height × width of what goes in. */
  readonly pixels: number
  /** Milliseconds of one call, median and least of `rounds`. */
  readonly ms: number
  readonly min: number
  readonly rounds: number
}

/** Cases that differ in their side alone. */
function bySize(cases: readonly NetworkCase[]): NetworkCase[][] {
  const groups = new Map<string, NetworkCase[]>()
  for (const each of cases) {
    const { side: _, ...others } = each
    const key = JSON.stringify(others)
    groups.set(key, [...(groups.get(key) ?? []), each])
  }
  return [...groups.values()]
}

/**
 * Whether a network's time a pixel is the same at all sizes: cases that differ in their side alone are timed in turns, so that
 * a neighbour of the machine slows them alike. Measured one after another, they would show what it did meanwhile.
 */
export async function benchPixels(
  device: Device,
  cases: readonly NetworkCase[],
  { batchMs = 1000, rounds = 5, onRows = (_: readonly PixelsRow[]) => {} } = {},
): Promise<PixelsRow[]> {
  const all: PixelsRow[] = []
  for (const sizes of bySize(cases)) {
    const built = sizes.map((each) => ({ ...each, ...buildNetwork(device, each) }))
    try {
      for (const phase of PHASES) {
        const calls = built.map((b) => b.phase(phase))
        for (const b of built) await b.prepare(phase)
        const times = await timeInTurns(device, calls, { batchMs, budgetMs: 0, rounds })
        const rows = built.map(({ title, batch, inChannels, side, pixels }, i) => {
          const took = times[i]!
          const [ms, min] = [median(took), Math.min(...took)]
          return { title, phase, batch, inChannels, side, pixels, ms, min, rounds: took.length }
        })
        all.push(...rows)
        onRows(rows)
      }
    } finally {
      for (const b of built) b.dispose()
    }
  }
  return all
}

/** How far the dearest pixel of these rows lies over the cheapest. */
export function spread(rows: readonly PixelsRow[], of: (row: PixelsRow) => number): number {
  const each = rows.map((row) => of(row) / row.pixels)
  return Math.max(...each) / Math.min(...each)
}
