import { expect, test } from 'vitest'
import { diceLoss } from '../../src/autograd/ops/dice-loss.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { UNet } from '../../src/nn/networks/unet.ts'
import { Adam } from '../../src/nn/optim/adam.ts'
import { openDevice } from '../device.ts'

test('1,000 training steps leave the bytes held where they were after the second', async () => {
  // Not in test mode: filling every intermediate with NaN would double the time.
  const device = await openDevice()
  const net = new UNet(device, { features: 1 })
  const opt = new Adam(net.parameters())
  const step = device.compile((x: Tensor, y: Tensor) => {
    opt.zeroGrad()
    const loss = diceLoss(net.forward(x), y)
    loss.backward()
    opt.step()
    return loss
  })
  const values = Float32Array.from({ length: 2 * 16 * 16 }, (_, i) => (i % 16 > 5 && i % 16 < 11 ? 1 : 0))
  const one = async () => {
    const x = device.tensor(values, [2, 1, 16, 16])
    const loss = step(x, x)
    x.dispose()
    await device.ready()
    return loss
  }
  await one()
  const first = await (await one()).item()
  const { bytesHeld, storages, buffersCreated } = device.memory()
  for (let i = 2; i < 1000; i++) await one()
  const last = await (await one()).item()
  expect(device.memory()).toMatchObject({ bytesHeld, storages, buffersCreated })
  expect(last).toBeLessThan(first)
  device.destroy()
})
