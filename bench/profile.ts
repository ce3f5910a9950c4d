import type { Device } from '../src/autograd/device.ts'
import type { LaunchProfile } from '../src/gpu/profile.ts'
import type { Ceiling } from './ceiling.ts'
import { byKernel, type FloorRow, floorOf, medianLaunches } from './floors.ts'
import { buildNetwork, measure, type NetworkCase, PHASES, type Phase, type WorkRow } from './networks.ts'

/** Where the time of a network's compiled step goes, kernel by kernel against its floor. */
export interface NetworkProfile extends WorkRow, NetworkCase {
  readonly title: string
  readonly phase: Phase
  /** 'timestamps' of the GPU, or 'wall': each kernel submitted and awaited alone. */
  readonly clock: 'timestamps' | 'wall'
  /** Sum of the launches' medians. */
  readonly kernelMs: number
  readonly floorMs: number
  readonly byKernel: readonly FloorRow[]
  /** Most bytes that the device held up to the end of this phase; inference comes first. */
  readonly peakBytes: number
  /** Bytes of the step's intermediates, with buffers shared by lifetime and without. */
  readonly plannedBytes: number
  readonly unsharedBytes: number
}

/** Calls that are profiled; a launch's time is its median over them. */
const CALLS = 5

/** Profiles both phases of a network on a device that nothing else used, so that its memory is its own. */
export async function profileNetwork(
  device: Device,
  ceiling: Ceiling,
  each: NetworkCase,
  { budgetMs = 3000, onProfile = (_: NetworkProfile) => {} } = {},
): Promise<NetworkProfile[]> {
  const built = buildNetwork(device, each)
  const profiles: NetworkProfile[] = []
  for (const phase of PHASES) {
    const call = built.phase(phase)
    const work = await measure(
      device,
      `${built.title} ${phase} ${built.size}`,
      built.pixels,
      call,
      budgetMs,
      () => built.prepare(phase),
    )
    const taken: (readonly LaunchProfile[])[] = []
    let clock: NetworkProfile['clock'] = 'wall'
    for (let i = 0; i < (work.ms > 2000 ? 1 : CALLS); i++) {
      const profile = await device.profile(call, { print: false })
      taken.push(profile.launches)
      clock = profile.clock
    }
    const launches = medianLaunches(taken)
    const { planned, unshared } = built.steps[phase].captures[0]!.memory.intermediates
    const profile = {
      ...work,
      ...each,
      title: built.title,
      phase,
      clock,
      kernelMs: launches.reduce((sum, l) => sum + l.ms, 0),
      floorMs: launches.reduce((sum, l) => sum + floorOf(l, ceiling), 0),
      byKernel: byKernel(launches, ceiling),
      peakBytes: device.memory().peakBytes,
      plannedBytes: planned,
      unsharedBytes: unshared,
    }
    profiles.push(profile)
    onProfile(profile)
  }
  built.dispose()
  return profiles
}
