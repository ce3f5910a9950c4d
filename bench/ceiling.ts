import source from '../kernels/ceiling.wgsl'
import type { Device } from '../src/autograd/device.ts'
import { kernel } from '../src/gpu/kernel.ts'
import { time } from './measure.ts'

const kernels = kernel('ceiling', source)

/** What the adapter gives at most. */
export interface Ceiling {
  /** Multiply-adds (two operations each) of a loop without memory. */
  readonly gflops: number
  /** Bytes read and written by a copy of 32 MB. */
  readonly gbs: number
}

/** Measures both ceilings, in the same run as the kernels that are held against them. */
export async function measureCeiling(device: Device): Promise<Ceiling> {
  const bytes = 32 * 2 ** 20
  const x = device.allocatePersistent(bytes, 'ceiling')
  const y = device.allocatePersistent(bytes, 'ceiling')
  const bindings = { x, y }
  const copy = await time(device, () => {
    const params = { count: bytes / 16, rounds: 0, scale: 0, shift: 0 }
    device.launch('copy', { kernel: kernels, entry: 'copy', bindings, params, threads: bytes / 16 })
  })
  const lanes = device.adapter.cpu ? 64 * 256 : 64 * 16_384
  const rounds = device.adapter.cpu ? 512 : 2048
  const fma = await time(device, () => {
    const params = { count: 0, rounds, scale: 0.999, shift: 0.001 }
    device.launch('fma', { kernel: kernels, entry: 'fma_loop', bindings, params, threads: lanes })
  })
  x.release('measured')
  y.release('measured')
  return { gflops: (2 * 32 * lanes * rounds) / fma.min / 1e6, gbs: (2 * bytes) / copy.min / 1e6 }
}
