import { expect, test } from 'vitest'
import type { Device } from '../../src/autograd/device.ts'
import { diceLoss } from '../../src/autograd/ops/dice-loss.ts'
import { recompute } from '../../src/autograd/recompute.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { BatchNorm2d, Conv2d, type Conv2dOptions } from '../../src/nn/layers.ts'
import { Module } from '../../src/nn/module.ts'
import { UNet } from '../../src/nn/networks/unet.ts'
import { Adam } from '../../src/nn/optim/adam.ts'
import { testDevice } from '../device.ts'
import { randomValues, uniforms } from '../oracle.ts'
import { expectClose } from '../reference.ts'

/** A convolution and the batch norm behind it. */
class Pair extends Module {
  readonly conv: Conv2d
  readonly norm: BatchNorm2d

  constructor(device: Device, inChannels: number, channels: number, options: Conv2dOptions, relu: boolean) {
    super()
    this.conv = this.part('conv', new Conv2d(device, inChannels, channels, options, uniforms(3)))
    this.norm = this.part('norm', new BatchNorm2d(device, channels, relu ? { activation: 'relu' } : {}))
  }

  forward(x: Tensor): Tensor {
    return this.norm.behind(this.conv, x)
  }

  /** Without folding: with gradients wanted. */
  unfolded(x: Tensor): Tensor {
    return this.norm.forward(this.conv.forward(x)).detach()
  }
}

/** Kernels launched by `fn`, by name. */
async function launches(device: Device, fn: () => unknown): Promise<Record<string, number>> {
  const { kernels } = await device.profile(fn, { print: false })
  const counts: Record<string, number> = {}
  for (const { kernel, launches: n } of kernels) {
    const name = kernel.split('/')[0]!
    counts[name] = (counts[name] ?? 0) + n
  }
  return counts
}

test.each([
  ['no bias', { kernelSize: 3, padding: 1, bias: false }, true],
  ['a bias, no activation', { kernelSize: 3, padding: 1 }, false],
  ['stride and groups', { kernelSize: 3, padding: 1, stride: 2, groups: 2 }, true],
  ['1×1', { kernelSize: 1, bias: false }, true],
] as const)('folded equals unfolded: %s', async (_, options, relu) => {
  const device = await testDevice()
  const net = new Pair(device, 4, 6, options, relu).eval()
  // A variance of almost nothing, a weight below and of zero, a large mean.
  net.norm.weight.set(Float32Array.of(1, -2, 0, 0.5, 1e-3, 3))
  net.norm.bias.set(Float32Array.of(0, 1, -0.5, 0.25, 2, 0.1))
  net.norm.runningMean.set(Float32Array.of(0, 0.5, -1, 2, 0, -0.25))
  net.norm.runningVar.set(Float32Array.of(1e-12, 0.5, 1, 4, 100, 0))
  const x = device.tensor(randomValues([2, 4, 9, 8], 1), [2, 4, 9, 8])
  const want = await net.unfolded(x).data()
  const got = await device.noGrad(() => net.forward(x)).data()
  const scale = Array.from(want).reduce((m, v) => Math.max(m, Math.abs(v)), 0)
  expectClose(got, want, 1e-5, 1e-6 * scale, 'folded')
  net.dispose()
})

test('folded weights follow what they are made of, and are made again for nothing else', async () => {
  const device = await testDevice()
  const net = new Pair(device, 2, 3, { kernelSize: 3, padding: 1, bias: false }, true).eval()
  const x = device.tensor(randomValues([2, 2, 8, 8], 1), [2, 2, 8, 8])
  const step = device.compile((a: Tensor) => device.noGrad(() => net.forward(a)))
  const same = async (what: string) => {
    const want = await net.unfolded(x).data()
    expectClose(await step(x).data(), want, 1e-5, 1e-6, `${what}, compiled`)
    expectClose(await device.noGrad(() => net.forward(x)).data(), want, 1e-5, 1e-6, what)
  }
  await same('at first')
  for (const t of [net.conv.weight, net.norm.weight, net.norm.bias, net.norm.runningMean]) {
    t.set(randomValues(t.shape, 9))
    await same(t.name ?? 'a source')
  }
  net.norm.runningVar.set(Float32Array.of(2, 0.5, 0.1))
  await same('running variance')
  const counts = await launches(device, () => {
    step(x)
    device.noGrad(() => net.forward(x))
  })
  expect(counts.fold_batch_norm).toBeUndefined()
  expect(counts.batch_norm).toBeUndefined()
  net.train()
  net.forward(x)
  net.eval()
  await same('statistics moved by a training pass')
  const other = new Pair(device, 2, 3, { kernelSize: 3, padding: 1, bias: false }, true)
  net.loadStateDict(other.stateDict())
  await same('loadStateDict')
  step.dispose()
})

test('U-Net: evaluation between compiled training steps, one convolution where there were three launches', async () => {
  const device = await testDevice()
  const net = new UNet(device, { features: 2 })
  const opt = new Adam(net.parameters(), { lr: 1e-2 })
  const x = device.tensor(randomValues([2, 1, 16, 16], 1), [2, 1, 16, 16])
  const y = device.tensor(
    randomValues([2, 1, 16, 16], 2).map((v) => (v > 0 ? 1 : 0)),
    [2, 1, 16, 16],
  )
  const train = device.compile((a: Tensor, b: Tensor) => {
    opt.zeroGrad()
    const loss = diceLoss(net.forward(a), b)
    loss.backward()
    opt.step()
    return loss
  })
  const evaluate = device.compile((a: Tensor) => device.noGrad(() => net.forward(a)))
  for (let k = 0; k < 3; k++) {
    net.train()
    train(x, y)
    net.eval()
    const got = await evaluate(x).data()
    const graph = net.forward(x)
    expectClose(got, await graph.data(), 1e-5, 1e-6, `after step ${k}`)
    graph.backward(device.zeros(graph.shape))
  }
  const counts = await launches(device, () => evaluate(x))
  expect(counts.batch_norm).toBeUndefined()
  expect(counts.fold_batch_norm).toBeUndefined()
  for (const s of [train, evaluate]) s.dispose()
  net.dispose()
})

test('with gradients wanted, while recomputing and behind a write in the same step nothing is folded', async () => {
  const device = await testDevice()
  const net = new Pair(device, 2, 3, { kernelSize: 3, padding: 1, bias: false }, true).eval()
  const x = device.tensor(randomValues([2, 2, 8, 8], 1), [2, 2, 8, 8], { requiresGrad: true })
  expect((await launches(device, () => net.forward(x).dispose())).fold_batch_norm).toBeUndefined()
  const y = recompute((a) => net.forward(a), x)
  expect(await y.data()).toEqual(await net.unfolded(x).data())
  y.backward(device.ones(y.shape))
  expect(net.conv.weight.grad).toBeDefined()
  // Training and evaluation in one captured step: evaluation sees the statistics that training has just moved.
  const step = device.compile((a: Tensor) =>
    device.noGrad(() => {
      net.train()
      net.forward(a)
      net.eval()
      return net.forward(a)
    }),
  )
  for (let k = 0; k < 2; k++) {
    const got = await step(x).data()
    expect(got).toEqual(await net.unfolded(x).data())
  }
  step.dispose()
})

test('a disposed network frees its folded weights', async () => {
  const device = await testDevice()
  const x = device.tensor(randomValues([1, 1, 16, 16], 1), [1, 1, 16, 16])
  const use = () => {
    const net = new UNet(device, { features: 2 }).eval()
    device.scope(() => device.noGrad(() => void net.forward(x)))
    net.dispose()
  }
  use()
  const before = device.memory().bytesInUse
  use()
  expect(device.memory().bytesInUse).toBe(before)
})
