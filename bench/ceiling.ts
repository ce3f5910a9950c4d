import source from '../kernels/ceiling.wgsl'
import type { Device } from '../src/autograd/device.ts'
import { kernel } from '../src/gpu/kernel.ts'
import type { Storage } from '../src/gpu/storage.ts'
import { median, time, timeInTurns } from './measure.ts'

const kernels = kernel('ceiling', source)

/** What the adapter gives at most. */
export interface Ceiling {
  /** Multiply-adds (two operations each) of a loop without memory. */
  readonly gflops: number
  /** Billions of values a second of a kernel that loads four from a moving place and stores their sum. */
  readonly gathers: number
  /** Bytes read and written by a copy that fits into no cache. */
  readonly gbs: number
  /** The same for smaller copies, repeated, so that caches serve them; ascending in bytes read and written. */
  readonly copies: readonly { readonly bytes: number; readonly gbs: number }[]
}

/** The best bandwidth of copies that read and write as many bytes or more: what so many bytes can hope for. */
export const bandwidthFor = (bytes: number, { copies, gbs }: Ceiling): number =>
  Math.max(gbs, ...copies.filter((c) => c.bytes >= bytes).map((c) => c.gbs))

/** The better of two measurements of one adapter, figure by figure. */
export const higher = (a: Ceiling, b: Ceiling): Ceiling => ({
  gflops: Math.max(a.gflops, b.gflops),
  gathers: Math.max(a.gathers, b.gathers),
  gbs: Math.max(a.gbs, b.gbs),
  copies: a.copies.map(({ bytes, gbs }, i) => ({ bytes, gbs: Math.max(gbs, b.copies[i]!.gbs) })),
})

/** Milliseconds over which the batches of a ceiling are spread: a neighbour's burst must not lower it. */
const SPREAD_MS = 2500

/** The least time of some twenty batches: a ceiling is what the adapter can do, not what it did once. */
const best = async (device: Device, call: () => void): Promise<number> =>
  (await time(device, call, { budgetMs: SPREAD_MS })).min

/** Bytes read and written by the smallest copy that is measured. */
const SMALLEST = 2 ** 18

/** Measures all ceilings, in the same run as the kernels that are held against them. */
export async function measureCeiling(device: Device): Promise<Ceiling> {
  const { cpu, maxBindingBytes } = device.adapter
  // A GPU's last cache holds up to some 50 MB, a processor's 32 MB and more, shared by source and target.
  const largest = cpu ? 64 * 2 ** 20 : Math.min(512 * 2 ** 20, 2 ** Math.floor(Math.log2(maxBindingBytes)))
  const x = device.allocatePersistent(largest / 2, 'ceiling')
  const y = device.allocatePersistent(largest / 2, 'ceiling')
  const copies = []
  for (let bytes = SMALLEST; bytes <= largest; bytes *= 4) {
    const ms = await copyMs(device, x, y, bytes)
    copies.push({ bytes, gbs: bytes / ms / 1e6 })
  }
  const lanes = cpu ? 64 * 256 : 64 * 16_384
  const rounds = cpu ? 512 : 2048
  const fma = await best(device, () => {
    const params = { count: 0, rounds, scale: 0.999, shift: 0.001 }
    device.launch('fma', { kernel: kernels, entry: 'fma_loop', bindings: { x, y }, params, threads: lanes })
  })
  const gathers = await gatherRate(device, x, y)
  x.release('measured')
  y.release('measured')
  return { gflops: (2 * 32 * lanes * rounds) / fma / 1e6, gathers, gbs: copies.at(-1)!.gbs, copies }
}

/** Vec4s that an invocation of a copy takes: which is fastest depends on the adapter and the size. */
const COPIED = [1, 8, 64]

/** One copy that reads and writes `bytes` in all, by the fastest of several kernels; small ones are timed many in a submission. */
async function copyMs(device: Device, x: Storage, y: Storage, bytes: number): Promise<number> {
  const count = bytes / 32
  const repeats = Math.max(1, Math.min(64, (16 * 2 ** 20) / bytes))
  const steps = COPIED.map((rounds) =>
    device.compile(() => {
      const params = { count, rounds, scale: 0, shift: 0 }
      const threads = 64 * Math.ceil(count / (64 * rounds))
      for (let i = 0; i < repeats; i++)
        device.launch('copy', { kernel: kernels, entry: 'copy', bindings: { x, y }, params, threads })
    }),
  )
  const least = (await timeInTurns(device, steps, { budgetMs: 0, rounds: 5 })).map((ms) => Math.min(...ms))
  const fastest = Math.min(...least)
  const ms = await best(device, steps[least.indexOf(fastest)]!)
  for (const step of steps) step.dispose()
  return Math.min(ms, fastest) / repeats
}

/** Billions of values a second, gathered from images of 256². */
async function gatherRate(device: Device, pixels: Storage, sums: Storage): Promise<number> {
  const [images, run] = device.adapter.cpu ? [8, 16] : [64, 1]
  const step = device.compile(() => {
    const params = { count: 0, rounds: run, scale: 0, shift: 0 }
    for (let i = 0; i < 8; i++) {
      device.launch('gather', {
        kernel: kernels,
        entry: 'gather',
        bindings: { pixels, sums },
        params,
        threads: [256, 256 / run, images],
      })
    }
  })
  const ms = await best(device, step)
  step.dispose()
  return (8 * 4 * images * 256 ** 2) / ms / 1e6
}

/** Launches in the longer of the two submissions that are compared. */
const LAUNCHES = 2000

/** What one more launch adds to a submission, µs: a kernel that does nothing, each behind the one before it. */
export async function launchOverhead(device: Device): Promise<number> {
  const y = device.allocatePersistent(1024, 'launch overhead')
  const steps = [LAUNCHES, LAUNCHES / 10].map((count) =>
    device.compile(() => {
      const params = { count: 0, rounds: 0, scale: 0, shift: 0 }
      for (let i = 0; i < count; i++) {
        device.launch('nothing', { kernel: kernels, entry: 'nothing', bindings: { y }, params, threads: 64 })
      }
    }),
  )
  const slopes: number[] = []
  for (let round = 0; round < 3; round++) {
    const [long, short] = [await time(device, steps[0]!), await time(device, steps[1]!)]
    slopes.push((1000 * (long.min - short.min)) / (0.9 * LAUNCHES))
  }
  for (const step of steps) step.dispose()
  y.release('measured')
  return median(slopes)
}
