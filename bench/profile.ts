import type { Device } from '../src/autograd/device.ts'
import type { LaunchProfile } from '../src/gpu/profile.ts'
import type { Ceiling } from './ceiling.ts'
import { byKernel, type FloorRow, floorOf, leastLaunches } from './floors.ts'
import { budget } from './measure.ts'
import {
  buildNetwork,
  measure,
  type NetworkCase,
  nameOf,
  PHASES,
  type Phase,
  type WorkRow,
} from './networks.ts'

/** Where the time of a network's compiled step goes, kernel by kernel against its floor. */
export interface NetworkProfile extends WorkRow, NetworkCase {
  readonly title: string
  readonly phase: Phase
  /** 'timestamps' of the GPU, or 'wall': each kernel submitted and awaited alone. */
  readonly clock: 'timestamps' | 'wall'
  /** Sum over the launches of each one's least time. */
  readonly kernelMs: number
  readonly floorMs: number
  readonly byKernel: readonly FloorRow[]
  /** Most bytes that the device held up to the end of this phase; inference comes first. */
  readonly peakBytes: number
  /** Bytes of the step's intermediates, with buffers shared by lifetime and without. */
  readonly plannedBytes: number
  readonly unsharedBytes: number
}

/** Calls that are profiled: some seconds' worth. A launch's time is its least over them. */
const calls = (ms: number): number => Math.max(2, Math.min(9, Math.floor(budget(4000) / ms)))

/** What was measured of one phase, before it is held against the ceilings. */
export type RawProfile = Omit<NetworkProfile, 'floorMs' | 'byKernel'> & {
  readonly launches: readonly LaunchProfile[]
}

/** Profiles both phases of a network on a device that nothing else used, so that its memory is its own. */
export async function profileNetwork(
  device: Device,
  each: NetworkCase,
  { budgetMs = 3000, onRow = (_: WorkRow) => {} } = {},
): Promise<RawProfile[]> {
  const built = buildNetwork(device, each)
  const profiles: RawProfile[] = []
  for (const phase of PHASES) {
    const call = built.phase(phase)
    const work = await measure(device, nameOf(each, phase), built.pixels, call, budgetMs, () =>
      built.prepare(phase),
    )
    onRow(work)
    const taken: (readonly LaunchProfile[])[] = []
    let clock: NetworkProfile['clock'] = 'wall'
    for (let i = 0; i < calls(work.ms); i++) {
      const profile = await device.profile(call, { print: false })
      taken.push(profile.launches)
      clock = profile.clock
    }
    const launches = leastLaunches(taken)
    const { planned, unshared } = built.steps[phase].captures[0]!.memory.intermediates
    profiles.push({
      ...work,
      ...each,
      title: built.title,
      phase,
      clock,
      launches,
      kernelMs: launches.reduce((sum, l) => sum + l.ms, 0),
      peakBytes: device.memory().peakBytes,
      plannedBytes: planned,
      unsharedBytes: unshared,
    })
  }
  built.dispose()
  return profiles
}

/** A profile with every launch held against its floor. */
export const withFloors = ({ launches, ...profile }: RawProfile, ceiling: Ceiling): NetworkProfile => ({
  ...profile,
  floorMs: launches.reduce((sum, l) => sum + floorOf(l, ceiling), 0),
  byKernel: byKernel(launches, ceiling),
})
