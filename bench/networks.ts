import type { CompiledStep, Device } from '../src/autograd/device.ts'
import { Run } from '../src/autograd/op.ts'
import { conv2d, conv2dShape } from '../src/autograd/ops/conv2d.ts'
import { runConv } from '../src/autograd/ops/conv2d_run.ts'
import { diceLoss } from '../src/autograd/ops/dice-loss.ts'
import type { Tensor } from '../src/autograd/tensor.ts'
import { UNet } from '../src/nn/networks/unet.ts'
import { Adam } from '../src/nn/optim/adam.ts'
import { time } from './measure.ts'

/** One piece of work, as the peers do it, too. */
export interface WorkRow {
  readonly name: string
  readonly ms: number
  readonly min: number
  readonly runs: number
  /** Of one call. */
  readonly dispatches: number
  readonly submissions: number
  readonly newBuffers: number
  /** JavaScript of one call: recording and submitting, without waiting for the GPU. */
  readonly jsMs: number
  /** Step captured, kernels compiled side by side, first call run. */
  readonly firstMs: number
}

const wave = (device: Device, shape: readonly number[]): Tensor =>
  device.tensor(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(0.1 * i)),
    shape,
  )

const blob = (device: Device, shape: readonly number[]): Tensor =>
  device.tensor(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) =>
      i % 64 > 20 && i % 64 < 44 ? 1 : 0,
    ),
    shape,
  )

async function measure<A extends readonly unknown[]>(
  device: Device,
  name: string,
  step: CompiledStep<A, unknown>,
  args: A,
  budgetMs: number,
): Promise<WorkRow> {
  const call = () => void step(...args)
  const start = performance.now()
  await step.prepare(...args)
  call()
  await device.idle()
  const firstMs = performance.now() - start
  const timing = await time(device, call, { budgetMs })
  const before = device.counters
  const js: number[] = []
  for (let i = 0; i < 5; i++) {
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
    dispatches: (after.dispatches - before.dispatches) / 5,
    submissions: (after.submissions - before.submissions) / 5,
    newBuffers: (after.buffersCreated - before.buffersCreated) / 5,
    jsMs: Math.min(...js),
    firstMs,
  }
}

/** A U-Net training step as users write it: gradients cleared, forward, Dice loss, backward, Adam. */
export function trainingStep(device: Device, net: UNet) {
  const opt = new Adam(net.parameters())
  return device.compile((x: Tensor, y: Tensor) => {
    opt.zeroGrad()
    const loss = diceLoss(net.forward(x), y)
    loss.backward()
    opt.step()
    return loss
  })
}

/** The work that bench/peers measures in other libraries, under the same names. */
export async function benchNetworks(
  device: Device,
  { features = 16, batch = 4, side = 64, budgetMs = 3000, onRow = (_: WorkRow) => {} } = {},
): Promise<WorkRow[]> {
  const rows: WorkRow[] = []
  const add = async <A extends readonly unknown[]>(
    name: string,
    step: CompiledStep<A, unknown>,
    ...args: A
  ) => {
    const row = await measure(device, name, step, args, budgetMs)
    rows.push(row)
    onRow(row)
  }
  const x = wave(device, [4, 32, 64, 64])
  const w = device.parameter(
    Float32Array.from({ length: 32 * 32 * 9 }, (_, i) => 0.05 * Math.sin(i)),
    [32, 32, 3, 3],
  )
  const conv = device.compile((a: Tensor) => device.noGrad(() => conv2d(a, w, { padding: 1 })))
  await add('conv3x3 4x32->32x64x64', conv, x)
  const shape = conv2dShape(x.shape, w.shape, { padding: 1 })
  const gradients = device.compile((dy: Tensor) => {
    const run = new Run(device, 'conv2d gradients')
    const [dx, dw] = [run.empty(x.shape), run.empty(w.shape)]
    runConv(run, 'inputGrad', shape, {}, { dy, weight: w, dx })
    runConv(run, 'weightGrad', shape, {}, { x, dy, dw })
    return [dx, dw]
  })
  await add('conv3x3 gradients 4x32->32x64x64', gradients, x)
  const size = `${batch}x1x${side}x${side}`
  const net = new UNet(device, { features })
  const [image, mask] = [wave(device, [batch, 1, side, side]), blob(device, [batch, 1, side, side])]
  net.eval()
  const infer = device.compile((a: Tensor) => device.noGrad(() => net.forward(a)))
  await add(`unet${features} inference ${size}`, infer, image)
  net.train()
  const step = trainingStep(device, net)
  await add(`unet${features} training step ${size}`, step, image, mask)
  step.dispose()
  infer.dispose()
  return rows
}
