import type { Device } from '../src/autograd/device.ts'
import { Run } from '../src/autograd/op.ts'
import { conv2d, conv2dShape } from '../src/autograd/ops/conv2d.ts'
import { runConv } from '../src/autograd/ops/conv2d_run.ts'
import type { Tensor } from '../src/autograd/tensor.ts'
import { Adam } from '../src/nn/optim/adam.ts'
import { GradScaler } from '../src/nn/optim/grad-scaler.ts'
import { checkPrecision, inPrecision, type Precision } from '../src/pipelines/precision.ts'
import { NETWORKS } from './catalog.ts'
import { budget, median, time } from './measure.ts'

/** One piece of work, as the peers do it, too. Milliseconds are medians. */
export interface WorkRow {
  readonly name: string
  readonly ms: number
  readonly min: number
  readonly runs: number
  /** Batch × height × width of what goes in. */
  readonly pixels: number
  /** Of one call. */
  readonly dispatches: number
  readonly submissions: number
  readonly newBuffers: number
  /** JavaScript of one call, median and least: recording and submitting, without waiting for the GPU. */
  readonly jsMs: number
  readonly jsMinMs: number
  /** Step captured, kernels compiled side by side, first call run. */
  readonly firstMs: number
  /** What the device holds: this network and its buffers, and what was there before. */
  readonly heldBytes: number
}

/** One network at one size. */
export interface NetworkCase {
  /** A key of NETWORKS. */
  readonly network: string
  readonly features: number
  readonly inChannels: number
  readonly batch: number
  readonly side: number
  /** Left out: float32. */
  readonly precision?: Precision
}

/** What may be done with a network. */
export const PHASES = ['inference', 'training step'] as const
export type Phase = (typeof PHASES)[number]

const filled = (device: Device, shape: readonly number[], at: (i: number) => number): Tensor =>
  device.tensor(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => at(i)),
    shape,
  )
const wave = (i: number): number => Math.sin(0.1 * i)
const stripes = (i: number): number => (i % 64 > 20 && i % 64 < 44 ? 1 : 0)

/** Times `call` and counts what one call does. */
export async function measure(
  device: Device,
  name: string,
  pixels: number,
  call: () => void,
  budgetMs: number,
  prepare: () => Promise<void> = async () => {},
): Promise<WorkRow> {
  const start = performance.now()
  await prepare()
  call()
  await device.idle()
  const firstMs = performance.now() - start
  const timing = await time(device, call, { budgetMs })
  const before = device.counters
  const js: number[] = []
  // As many as in four seconds: what the engine has not compiled yet is part of a run, but not of its bulk.
  const calls = Math.max(3, Math.min(60, Math.floor(budget(4000) / timing.median)))
  for (let i = 0; i < calls; i++) {
    const begin = performance.now()
    call()
    js.push(performance.now() - begin)
    await device.idle()
  }
  const after = device.counters
  return {
    name,
    ms: timing.median,
    min: timing.min,
    runs: timing.runs,
    pixels,
    dispatches: (after.dispatches - before.dispatches) / calls,
    submissions: (after.submissions - before.submissions) / calls,
    newBuffers: (after.buffersCreated - before.buffersCreated) / calls,
    jsMs: median(js),
    jsMinMs: Math.min(...js),
    firstMs,
    heldBytes: device.memory().bytesHeld,
  }
}

/** The network of a case, for people. */
const titleOf = ({ network, features, inChannels, precision }: NetworkCase): string =>
  `${NETWORKS[network]!.title({ features, inChannels })}${precision === 'mixed' ? ' mixed' : ''}`

/** `batch × channels × height × width`, as the peers' items bear it in their names. */
const sizeOf = ({ batch, inChannels, side }: NetworkCase): string => `${batch}x${inChannels}x${side}x${side}`

/** A phase of a case, as tables and the peers call it. */
export const nameOf = (each: NetworkCase, phase: Phase): string => `${titleOf(each)} ${phase} ${sizeOf(each)}`

/**
 * Both phases of a network as users write them, each a compiled step: inference without gradients; training
 * with gradients cleared, forward, loss, backward, Adam.
 */
export function buildNetwork(device: Device, each: NetworkCase) {
  const { network, features, inChannels, batch, side, precision = 'float32' } = each
  checkPrecision('bench', device, precision)
  const entry = NETWORKS[network]!
  const net = entry.make(device, { features, inChannels })
  const image = filled(device, [batch, inChannels, side, side], wave)
  const target = filled(device, entry.target(batch, side), stripes)
  const opt = new Adam(net.parameters())
  const scaler = precision === 'mixed' ? new GradScaler(device) : undefined
  const results = (x: Tensor): readonly Tensor[] =>
    inPrecision(device, precision, () => [net.forward(x)].flat())
  const infer = device.compile((x: Tensor) => device.noGrad(() => results(x)))
  const step = device.compile((x: Tensor, y: Tensor) => {
    opt.zeroGrad()
    const loss = inPrecision(device, precision, () => entry.loss(results(x), y))
    if (scaler) scaler.backward(loss)
    else loss.backward()
    opt.step(scaler ? { scaler } : {})
    scaler?.update()
    return loss
  })
  const run: Record<Phase, () => void> = {
    inference: () => void infer(image),
    'training step': () => void step(image, target),
  }
  return {
    title: titleOf(each),
    size: sizeOf(each),
    pixels: batch * side * side,
    steps: { inference: infer, 'training step': step },
    /** Puts the network into the mode of a phase and gives the call that runs it. */
    phase(name: Phase): () => void {
      if (name === 'inference') net.eval()
      else net.train()
      return run[name]
    },
    /** Captures a phase and compiles its kernels side by side, as `train` does; after `phase`. */
    prepare: (name: Phase): Promise<void> =>
      name === 'inference' ? infer.prepare(image) : step.prepare(image, target),
    dispose(): void {
      infer.dispose()
      step.dispose()
      scaler?.dispose()
      opt.dispose()
      net.dispose()
      for (const t of [image, target]) t.dispose()
    },
  }
}

/** The convolution of 32 channels at 4×64² and its gradients: the peers' first two items. */
async function benchConvolution(device: Device, add: (row: WorkRow) => void): Promise<void> {
  const x = filled(device, [4, 32, 64, 64], wave)
  const w = device.parameter(
    Float32Array.from({ length: 32 * 32 * 9 }, (_, i) => 0.05 * Math.sin(i)),
    [32, 32, 3, 3],
  )
  const pixels = 4 * 64 * 64
  // Neither x nor dy is an argument, which would be copied at each call: the peers copy nothing.
  const conv = device.compile(() => device.noGrad(() => conv2d(x, w, { padding: 1 })))
  add(
    await measure(
      device,
      'conv3x3 4x32->32x64x64',
      pixels,
      () => void conv(),
      1500,
      () => conv.prepare(),
    ),
  )
  const shape = conv2dShape(x.shape, w.shape, { padding: 1 })
  const dy = filled(device, x.shape, wave)
  const gradients = device.compile(() => {
    const run = new Run(device, 'conv2d gradients')
    const [dx, dw] = [run.empty(x.shape), run.empty(w.shape)]
    runConv(run, 'inputGrad', shape, {}, { dy, weight: w, dx })
    runConv(run, 'weightGrad', shape, {}, { x, dy, dw })
    return [dx, dw]
  })
  add(
    await measure(
      device,
      'conv3x3 gradients 4x32->32x64x64',
      pixels,
      () => void gradients(),
      1500,
      () => gradients.prepare(),
    ),
  )
  conv.dispose()
  gradients.dispose()
}

/** The work that bench/peers measures in other libraries, under the same names, and that of further networks. */
export async function benchNetworks(
  device: Device,
  cases: readonly NetworkCase[],
  { budgetMs = 3000, onRow = (_: WorkRow) => {} } = {},
): Promise<WorkRow[]> {
  const rows: WorkRow[] = []
  const add = (row: WorkRow) => {
    rows.push(row)
    onRow(row)
  }
  await benchConvolution(device, add)
  for (const each of cases) {
    const built = buildNetwork(device, each)
    for (const phase of PHASES) {
      const [call, prepare] = [built.phase(phase), () => built.prepare(phase)]
      add(await measure(device, nameOf(each, phase), built.pixels, call, budgetMs, prepare))
    }
    built.dispose()
  }
  return rows
}
