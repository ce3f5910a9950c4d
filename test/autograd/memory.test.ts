import { expect, test } from 'vitest'
import type { Device } from '../../src/autograd/device.ts'
import { diceLoss } from '../../src/autograd/ops/dice-loss.ts'
import { mul } from '../../src/autograd/ops/mul.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { GpuOutOfMemoryError } from '../../src/gpu/errors.ts'
import { UNet } from '../../src/nn/networks/unet.ts'
import { Adam } from '../../src/nn/optim/adam.ts'
import { openDevice, testDevice } from '../device.ts'

function training(device: Device) {
  const net = new UNet(device, { features: 2 })
  const opt = new Adam(net.parameters())
  const body = (x: Tensor, y: Tensor) => {
    opt.zeroGrad()
    const loss = diceLoss(net.forward(x), y)
    loss.backward()
    opt.step()
    return loss
  }
  return { net, opt, body }
}

test.each([false, true])('what a step is going to hold is what it holds; in test mode: %s', async (guard) => {
  const device = await openDevice({ debug: { guard } })
  const { net, opt, body } = training(device)
  const step = device.compile(body)
  const [x, small] = [4, 1].map((n) => device.zeros([n, 1, 32, 32])) as [Tensor, Tensor]
  const forgotten = device.plan(body, x, x)
  const before = device.memory()
  const planned = step.plan(x, x)
  expect(planned).toEqual(forgotten)
  expect(device.memory()).toEqual(before)
  await step(x, x).item()
  expect(step.captures[0]!.memory).toEqual(planned)
  // Reading the loss made one buffer of 256 bytes.
  expect(device.memory().bytesHeld).toBe(planned.peak + 256)
  expect(planned.fresh).toBe(planned.peak - before.bytesHeld)
  const { unshared, live, planned: shared } = planned.intermediates
  expect(shared).toBeLessThan(unshared)
  expect(shared).toBeGreaterThanOrEqual(live)
  expect(shared).toBeLessThan(1.15 * live)
  const weights = net.parameters().reduce((sum, p) => sum + p.bytes, 0)
  for (const part of ['parameters', 'gradients'] as const)
    expect(planned[part]).toBeGreaterThanOrEqual(weights)
  expect(planned.optimizer).toBe(2 * planned.gradients)
  // A smaller batch shares the intermediates of the larger one.
  const rest = step.plan(small, small)
  // The counter of dealt launches was there before.
  const others = rest.others - (device.deal ? 4 : 0)
  expect(rest.fresh).toBe(rest.inputs + rest.results + rest.uniforms + others)
  await step(small, small).item()
  expect(device.memory().bytesHeld).toBe(rest.peak)
  step.dispose()
  expect(device.memory().storages).toBe(before.storages)
  opt.dispose()
  net.dispose()
  device.destroy()
})

test('steps that are planned together share their intermediates', async () => {
  const device = await testDevice()
  const { net, opt, body } = training(device)
  const x = device.zeros([2, 1, 16, 16])
  const infer = (a: Tensor) => device.noGrad(() => net.forward(a))
  const [step, score] = device.planAll([
    [body, [x, x]],
    [infer, [x]],
  ])
  expect(score!.fresh).toBeLessThan(device.plan(infer, x).fresh)
  expect(score!.peak).toBe(step!.peak + score!.fresh)
  expect(device.plan(body, x, x).fresh).toBe(step!.fresh)
  for (const t of [opt, net, x]) t.dispose()
})

test('past its memory limit a device refuses, before a buffer is made, and goes on', async () => {
  const limit = 4 * 2 ** 20
  const device = await openDevice({ memoryLimit: limit })
  expect(() => device.zeros([2 ** 21])).toThrow(GpuOutOfMemoryError)
  expect(() => device.zeros([2 ** 21])).toThrow(
    /zeros: 8.0 MB are wanted beside .* that are held, the memory limit is 4.0 MB; use a smaller batch/,
  )
  const { body } = training(device)
  const step = device.compile(body)
  const [large, small] = [40, 1].map((n) => device.zeros([n, 1, 32, 32])) as [Tensor, Tensor]
  // The gradients are made by the first capture.
  step.plan(large, large)
  const before = device.memory().bytesHeld
  expect(() => step(large, large)).toThrow(
    /compile: the step needs .* MB, .* of it for intermediates; the memory limit is 4.0 MB. Use a smaller batch or image, or activation checkpointing/,
  )
  expect(device.memory().bytesHeld).toBe(before)
  expect(Number.isFinite(await step(small, small).item())).toBe(true)
  // Buffers of freed tensors are given up for it.
  for (let n = 100; n < 110; n++) device.zeros([n * 2 ** 11]).dispose()
  const more = device.compile((x: Tensor) => mul(mul(x, x), x))
  const y = device.zeros([2 ** 17])
  expect(await more(y).data()).toEqual(new Float32Array(2 ** 17))
  expect(device.memory().peakBytes).toBeLessThanOrEqual(limit)
  device.destroy()
})
