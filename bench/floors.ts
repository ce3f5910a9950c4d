import type { LaunchProfile } from '../src/gpu/profile.ts'
import { bandwidthFor, type Ceiling } from './ceiling.ts'
import { median } from './measure.ts'

/** Launches of one kernel (or of one op), and what they would take at the adapter's ceiling. Milliseconds. */
export interface FloorRow {
  /** `file/entry`; of an op's row: all its kernels. */
  readonly kernel: string
  readonly op: string
  readonly launches: number
  readonly ms: number
  /** Σ over the launches of max(bytes / bandwidth of a copy of their size, operations / multiply-add rate). */
  readonly floorMs: number
  /** `ms − floorMs`. Below zero where part of what is bound is not touched, or was nearer than in the copy. */
  readonly lostMs: number
  readonly gflops: number
  readonly gbs: number
}

/** A launch's own floor, ms: the bytes that are bound, each once, or its operations, whichever takes longer. */
export const floorOf = ({ flops, bytes }: Pick<LaunchProfile, 'flops' | 'bytes'>, ceiling: Ceiling): number =>
  Math.max(bytes / (bandwidthFor(bytes, ceiling) * 1e6), flops / (ceiling.gflops * 1e6))

/**
 * Launch by launch the median of several profiles of one compiled step.
 * Throws where they differ: then they are not profiles of the same step.
 */
export function medianLaunches(profiles: readonly (readonly LaunchProfile[])[]): LaunchProfile[] {
  const [first = [], ...rest] = profiles
  for (const other of rest) {
    if (other.length !== first.length || other.some((l, i) => l.kernel !== first[i]!.kernel))
      throw new Error('medianLaunches: the profiles are of different steps')
  }
  return first.map((l, i) => ({ ...l, ms: median(profiles.map((p) => p[i]!.ms)) }))
}

function group(
  launches: readonly LaunchProfile[],
  ceiling: Ceiling,
  keyOf: (l: LaunchProfile) => { kernel: string; op: string },
): FloorRow[] {
  const groups = new Map<string, LaunchProfile[]>()
  for (const launch of launches) {
    const key = JSON.stringify(keyOf(launch))
    const list = groups.get(key)
    if (list) list.push(launch)
    else groups.set(key, [launch])
  }
  const sum = (list: readonly LaunchProfile[], of: (l: LaunchProfile) => number) =>
    list.reduce((total, l) => total + of(l), 0)
  return [...groups.values()]
    .map((list) => {
      const ms = sum(list, (l) => l.ms)
      const floorMs = sum(list, (l) => floorOf(l, ceiling))
      const rate = (amount: number) => (ms > 0 ? amount / ms / 1e6 : 0)
      return {
        ...keyOf(list[0]!),
        launches: list.length,
        ms,
        floorMs,
        lostMs: ms - floorMs,
        gflops: rate(sum(list, (l) => l.flops)),
        gbs: rate(sum(list, (l) => l.bytes)),
      }
    })
    .sort((a, b) => b.lostMs - a.lostMs)
}

/** By kernel and the op that launched it, most lost first. */
export const byKernel = (launches: readonly LaunchProfile[], ceiling: Ceiling): FloorRow[] =>
  group(launches, ceiling, ({ kernel, op }) => ({ kernel, op }))

/** By op, most lost first. */
export const byOp = (launches: readonly LaunchProfile[], ceiling: Ceiling): FloorRow[] =>
  group(launches, ceiling, ({ op }) => ({ kernel: '', op }))
