import { tunerOf } from '../../gpu/tuner.ts'
import type { ConvBuffer, ConvShape } from '../conv2d/variant.ts'
import type { Device } from '../device.ts'
import { Run } from '../op.ts'
import type { Tensor } from '../tensor.ts'
import { ACTIVATIONS, convKey, planOf, recordConvs, runConvVariant } from './conv2d_run.ts'

/** What one variant of one convolution took. */
export interface ConvTiming {
  /** As in the tuner's table. */
  readonly key: string
  readonly variant: string
  readonly ms: number
  readonly chosen: boolean
}

/** Elements of every tensor that a convolution and its gradients touch. */
const sizes = (s: ConvShape): Record<Exclude<ConvBuffer, `scratch:${string}`>, number> => {
  const image = s.n * s.cin * s.h * s.w
  const result = s.n * s.cout * s.outH * s.outW
  const weight = s.cout * (s.cin / s.groups) * s.kh * s.kw
  const bias = Math.max(s.cin, s.cout)
  return { x: image, dx: image, y: result, dy: result, weight, dw: weight, bias, db: bias }
}

/** Milliseconds of one run: the best of a few rounds, each long enough for the clock. */
async function time(device: Device, once: () => void): Promise<number> {
  once()
  await device.idle()
  let best = Number.POSITIVE_INFINITY
  let repeats = 1
  for (let round = 0; round < 5; ) {
    const start = performance.now()
    for (let i = 0; i < repeats; i++) once()
    await device.idle()
    const ms = performance.now() - start
    if (ms < 4 && repeats < 64) {
      repeats *= 2
      continue
    }
    best = Math.min(best, ms / repeats)
    round++
  }
  return best
}

/** A challenger must be this much faster than the default, lest noise decide. */
const MARGIN = 0.95

/**
 * Runs `fn` once, measures every variant of every convolution in it (forward and gradients) on this device,
 * and has the device's tuner take the fastest from then on. Steps that are compiled already keep what they
 * were compiled with. Keep the choice in `tunerOf(device).export()`: with other variants sums run in
 * another order, so that results differ in the last bits.
 */
export async function tuneConv2d(device: Device, fn: () => unknown): Promise<ConvTiming[]> {
  const convs = recordConvs(device, fn)
  const tuner = tunerOf(device)
  const timings: ConvTiming[] = []
  for (const request of convs) {
    const { part, shape, half } = request
    const key = convKey(part, shape, half)
    const candidates = planOf(device, request)
    if (candidates.length < 2) continue
    const run = new Run(device, 'tuneConv2d')
    const buffers: Record<string, Tensor> = {}
    for (const [name, count] of Object.entries(sizes(shape))) {
      buffers[name] = run.zeros([count], half && ACTIVATIONS.has(name as ConvBuffer) ? 'float16' : 'float32')
    }
    const measured: { name: string; ms: number }[] = []
    for (const variant of candidates) {
      const ms = await time(device, () => {
        const inner = new Run(device, 'tuneConv2d')
        runConvVariant(inner, variant, buffers, 0)
        inner.finish([])
      })
      measured.push({ name: variant.name, ms })
    }
    run.finish([])
    const first = measured[0]!
    const fastest = measured.reduce((a, b) => (b.ms < a.ms ? b : a))
    const best = fastest.ms < MARGIN * first.ms ? fastest : first
    tuner.set(key, best.name)
    for (const { name, ms } of measured) timings.push({ key, variant: name, ms, chosen: name === best.name })
  }
  return timings
}
