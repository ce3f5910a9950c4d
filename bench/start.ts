import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Device } from '../src/autograd/device.ts'
import { median } from './measure.ts'
import { buildNetwork, type NetworkCase } from './networks.ts'

/** From the start of a process to its second training step. Milliseconds. */
export interface StartTimes {
  /** Node, modules, adapter and device. */
  readonly openMs: number
  /** Weights made and uploaded. */
  readonly buildMs: number
  /** The first step: captured, kernels compiled side by side (or, without `prepare`, each when it is first launched), run. */
  readonly firstStepMs: number
  /** The second step, which compiles nothing. */
  readonly secondStepMs: number
  readonly pipelines: number
}

/** Times the beginning of training on a device that was opened just now, in a process that did nothing else. */
export async function firstSteps(device: Device, each: NetworkCase, prepare: boolean): Promise<StartTimes> {
  const since = async (start: number) => {
    await device.idle()
    return performance.now() - start
  }
  const openMs = performance.now()
  const built = buildNetwork(device, each)
  const step = built.phase('training step')
  const buildMs = await since(openMs)
  const first = performance.now()
  if (prepare) await built.prepare('training step')
  step()
  const firstStepMs = await since(first)
  const second = performance.now()
  step()
  const secondStepMs = await since(second)
  return { openMs, buildMs, firstStepMs, secondStepMs, pipelines: device.counters.pipelines }
}

/** The variables that say where Mesa's and NVIDIA's drivers keep compiled shaders. */
const CACHES = ['MESA_SHADER_CACHE_DIR', '__GL_SHADER_DISK_CACHE_PATH']

/** The driver's shader cache empty, and full; then full, with kernels compiled one after the other. */
const STATES = ['cold', 'warm', 'oneByOne'] as const

/**
 * Start times in each state: medians of `rounds` of each. `command` begins a process that prints `StartTimes` as JSON, with
 * `--one-by-one` of kernels that are not compiled ahead.
 */
export function startTimes(
  command: readonly string[],
  rounds = 3,
): Record<(typeof STATES)[number], StartTimes> {
  const taken: Record<(typeof STATES)[number], StartTimes[]> = { cold: [], warm: [], oneByOne: [] }
  for (let i = 0; i < rounds; i++) {
    const cache = mkdtempSync(join(tmpdir(), 'fovea-cache-'))
    const env = { ...process.env, ...Object.fromEntries(CACHES.map((name) => [name, cache])) }
    for (const state of STATES) {
      const flags = state === 'oneByOne' ? ['--one-by-one'] : []
      const { stdout, stderr, status } = spawnSync(process.execPath, [...command, ...flags], {
        env,
        encoding: 'utf8',
      })
      if (status !== 0) throw new Error(`bench --start: a process ended with ${status}: ${stderr.trim()}`)
      taken[state].push(JSON.parse(stdout) as StartTimes)
    }
    rmSync(cache, { recursive: true, force: true })
  }
  const middle = (list: readonly StartTimes[]): StartTimes => ({
    openMs: median(list.map((t) => t.openMs)),
    buildMs: median(list.map((t) => t.buildMs)),
    firstStepMs: median(list.map((t) => t.firstStepMs)),
    secondStepMs: median(list.map((t) => t.secondStepMs)),
    pipelines: list[0]!.pipelines,
  })
  return { cold: middle(taken.cold), warm: middle(taken.warm), oneByOne: middle(taken.oneByOne) }
}
