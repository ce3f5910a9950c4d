import { describe, expect, test } from 'vitest'
import { mseLoss } from '../../src/autograd/ops/mse-loss.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import type { Module } from '../../src/nn/module.ts'
import { DeepLabV3Plus } from '../../src/nn/networks/deeplab-v3-plus.ts'
import { StackedHourglass } from '../../src/nn/networks/stacked-hourglass.ts'
import { UNet } from '../../src/nn/networks/unet.ts'
import { UNetPlusPlus } from '../../src/nn/networks/unet-plus-plus.ts'
import { inPrecision, type Precision } from '../../src/pipelines/precision.ts'
import { testDevice } from '../device.ts'
import { randomValues } from '../oracle.ts'

const device = await testDevice()
const shared = { inChannels: 1, outChannels: 1, seed: 3 }

/** A network and the side of its result for images of 64². */
const networks: [string, () => Module, number][] = [
  ['U-Net', () => new UNet(device, { ...shared, features: 4 }), 64],
  ['Res-U-Net++', () => new UNetPlusPlus(device, shared), 64],
  ['DeepLabV3+', () => new DeepLabV3Plus(device, { ...shared, dropout: 0 }), 64],
  ['hourglass', () => new StackedHourglass(device, { ...shared, stacks: 1, features: 16, depth: 3 }), 16],
  [
    'hourglass, recomputed',
    () =>
      new StackedHourglass(device, {
        ...shared,
        stacks: 1,
        features: 16,
        depth: 3,
        activationCheckpointing: true,
      }),
    16,
  ],
]

describe.runIf(device.adapter.f16)('networks in mixed precision', () => {
  test.each(networks)('%s: results and gradients as in float32, half the memory', async (_, make, side) => {
    const image = randomValues([2, 1, 64, 64], 5)
    const y = device.tensor(randomValues([2, 1, side, side], 6, 0, 1), [2, 1, side, side])
    const run = async (precision: Precision, off = 0) => {
      const net = make()
      const noise = randomValues([2, 1, 64, 64], 7, -off, off)
      const x = device.tensor(
        image.map((v, i) => v + noise[i]!),
        [2, 1, 64, 64],
      )
      const step = device.compile((input: Tensor, target: Tensor) => {
        const result = inPrecision(device, precision, () => [net.forward(input)].flat().at(-1)!)
        const copy = result.detach()
        mseLoss(result, target).backward()
        return copy
      })
      const output = await step(x, y).data()
      const grads: ArrayLike<number>[] = []
      for (const p of net.parameters()) if (p.grad) grads.push(await p.grad.data())
      const { planned } = step.captures[0]!.memory.intermediates
      step.dispose()
      net.dispose()
      x.dispose()
      return { output, grads, planned }
    }
    const full = await run('float32')
    const mixed = await run('mixed')
    const off = await run('float32', 2 ** -10)
    // Rounding switches ReLUs and maxima, and batch norm of few values magnifies it (two pooled ones in DeepLab, small maps
    // in the hourglass): results may lie, and the gradient may turn, as far off as those of float32 with an input as far
    // off as a half is.
    const farthest = ({ output }: { output: typeof full.output }) =>
      Math.max(...Array.from(output, (v, i) => Math.abs(v - full.output[i]!)))
    expect(farthest(mixed)).toBeLessThan(1.5 * farthest(off))
    // Of tens of millions of values, in arrays as they were read.
    const dot = (a: typeof full.grads, b: typeof full.grads) => {
      let sum = 0
      for (const [k, values] of a.entries()) {
        const others = b[k]!
        for (let i = 0; i < values.length; i++) sum += values[i]! * others[i]!
      }
      return sum
    }
    const turned = ({ grads }: Pick<typeof full, 'grads'>) =>
      1 - dot(full.grads, grads) / Math.sqrt(dot(full.grads, full.grads) * dot(grads, grads))
    expect(turned(mixed)).toBeLessThan(1.5 * turned(off) + 0.01)
    expect(mixed.planned).toBeLessThan(0.7 * full.planned)
    y.dispose()
  })
})
