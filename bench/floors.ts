import type { LaunchProfile } from '../src/gpu/profile.ts'
import { bandwidthFor, type Ceiling } from './ceiling.ts'

/** Launches of one kernel (or of one op), and what they would take at the adapter's ceiling. Milliseconds. */
export interface FloorRow {
  /** `file/entry`; empty in a row that holds all kernels of an op. */
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

/** What work needs at least. */
type Needs = Pick<LaunchProfile, 'flops' | 'bytes'> & {
  /** Values that are loaded one by one, from places that the data decides. */
  readonly taps?: number
}

/** Its floor, ms: its bytes, each once, its operations or its taps, whichever takes longest. */
export const floorOf = ({ flops, bytes, taps = 0 }: Needs, ceiling: Ceiling): number =>
  Math.max(
    bytes / (bandwidthFor(bytes, ceiling) * 1e6),
    flops / (ceiling.gflops * 1e6),
    taps / (ceiling.gathers * 1e6),
  )

/**
 * Launch by launch the least of several profiles of one compiled step: like the ceilings, what it can be where no
 * neighbour holds the processor. Throws where they differ: then they are not profiles of the same step.
 */
export function leastLaunches(profiles: readonly (readonly LaunchProfile[])[]): LaunchProfile[] {
  const [first = [], ...rest] = profiles
  for (const other of rest) {
    if (other.length !== first.length || other.some((l, i) => l.kernel !== first[i]!.kernel))
      throw new Error('leastLaunches: the profiles are of different steps')
  }
  return first.map((l, i) => ({ ...l, ms: Math.min(...profiles.map((p) => p[i]!.ms)) }))
}

const sum = <T>(list: readonly T[], of: (each: T) => number): number =>
  list.reduce((total, each) => total + of(each), 0)

function gather<T>(list: readonly T[], keyOf: (each: T) => string): T[][] {
  const groups = new Map<string, T[]>()
  for (const each of list) {
    const group = groups.get(keyOf(each))
    if (group) group.push(each)
    else groups.set(keyOf(each), [each])
  }
  return [...groups.values()]
}

const mostLostFirst = (a: FloorRow, b: FloorRow): number => b.lostMs - a.lostMs

/** By kernel and the op that launched it, most lost first. */
export function byKernel(launches: readonly LaunchProfile[], ceiling: Ceiling): FloorRow[] {
  return gather(launches, (l) => `${l.kernel} ${l.op}`)
    .map((list) => {
      const { kernel, op } = list[0]!
      const ms = sum(list, (l) => l.ms)
      const floorMs = sum(list, (l) => floorOf(l, ceiling))
      const rate = (amount: number) => (ms > 0 ? amount / ms / 1e6 : 0)
      return {
        kernel,
        op,
        launches: list.length,
        ms,
        floorMs,
        lostMs: ms - floorMs,
        gflops: rate(sum(list, (l) => l.flops)),
        gbs: rate(sum(list, (l) => l.bytes)),
      }
    })
    .sort(mostLostFirst)
}

/** The same rows by op alone. */
export function byOp(rows: readonly FloorRow[]): FloorRow[] {
  return gather(rows, (r) => r.op)
    .map((list) => {
      const ms = sum(list, (r) => r.ms)
      const mean = (of: (r: FloorRow) => number) => (ms > 0 ? sum(list, (r) => of(r) * r.ms) / ms : 0)
      return {
        kernel: '',
        op: list[0]!.op,
        launches: sum(list, (r) => r.launches),
        ms,
        floorMs: sum(list, (r) => r.floorMs),
        lostMs: sum(list, (r) => r.lostMs),
        gflops: mean((r) => r.gflops),
        gbs: mean((r) => r.gbs),
      }
    })
    .sort(mostLostFirst)
}
