import type { BoundCommand, BoundDispatch } from './commands.ts'
import type { LaunchProfile, Profile } from './profile.ts'
import { Timestamps } from './timestamps.ts'

interface Row {
  kernel: string
  op: string
  launches: number
  ms: number
  flops: number
  bytes: number
}

/** Queries of one set; WebGPU allows 4,096. */
const CAPACITY = 4096

/** Collects the time of every dispatch while a profile is taken. */
export class Profiler {
  readonly #rows = new Map<string, Row>()
  readonly #launches: LaunchProfile[] = []
  submissions = 0

  constructor(
    private readonly device: GPUDevice,
    readonly clock: 'timestamps' | 'wall',
  ) {}

  add(command: BoundDispatch, ms: number): void {
    const key = `${command.pipeline.label} ${command.op}`
    let row = this.#rows.get(key)
    if (!row) {
      row = { kernel: command.pipeline.label, op: command.op, launches: 0, ms: 0, flops: 0, bytes: 0 }
      this.#rows.set(key, row)
    }
    row.launches++
    row.ms += ms
    row.flops += command.flops
    row.bytes += command.bytes
    const { op, flops, bytes } = command
    this.#launches.push({ kernel: command.pipeline.label, op, ms, flops, bytes })
  }

  /** Timestamp writes for the dispatches of one submission, and how to collect them afterwards. */
  timestamps(dispatches: readonly BoundDispatch[]) {
    const count = Math.min(dispatches.length, CAPACITY / 2)
    if (count === 0) return undefined
    const stamps = new Timestamps(this.device, 2 * count)
    const { querySet } = stamps
    let next = 0
    return {
      timer: (): GPUComputePassTimestampWrites | undefined => {
        if (next >= count) return undefined
        const i = next++
        return { querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 }
      },
      resolve: (encoder: GPUCommandEncoder): void => stamps.resolve(encoder),
      collect: async (): Promise<void> => {
        const ticks = await stamps.read()
        for (let i = 0; i < count; i++)
          this.add(dispatches[i]!, Number(ticks[2 * i + 1]! - ticks[2 * i]!) / 1e6)
      },
    }
  }

  /** Submits commands one at a time, as `encode` makes them, and times each by the clock on the wall. */
  async runOneByOne(
    commands: readonly BoundCommand[],
    encode: (lists: readonly (readonly BoundCommand[])[]) => GPUCommandBuffer,
  ): Promise<void> {
    const { queue } = this.device
    for (const command of commands) {
      const buffer = encode([[command]])
      await queue.onSubmittedWorkDone()
      const start = performance.now()
      queue.submit([buffer])
      await queue.onSubmittedWorkDone()
      if (command.kind === 'dispatch') this.add(command, performance.now() - start)
    }
  }

  report(adapter: string, bytesHeld: number): Profile {
    const rows = [...this.#rows.values()].sort((a, b) => b.ms - a.ms)
    const totalMs = rows.reduce((sum, r) => sum + r.ms, 0)
    return {
      adapter,
      clock: this.clock,
      totalMs,
      dispatches: this.#launches.length,
      submissions: this.submissions,
      bytesHeld,
      launches: this.#launches,
      kernels: rows.map((r) => ({
        kernel: r.kernel,
        op: r.op,
        launches: r.launches,
        ms: r.ms,
        share: totalMs > 0 ? r.ms / totalMs : 0,
        gflops: r.ms > 0 ? r.flops / r.ms / 1e6 : 0,
        gbs: r.ms > 0 ? r.bytes / r.ms / 1e6 : 0,
      })),
    }
  }
}
