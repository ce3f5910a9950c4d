import { describe, expect, test } from 'vitest'
import { addInto } from '../../src/autograd/accumulate.ts'
import { gt } from '../../src/autograd/ops/comparison.ts'
import { conv2d } from '../../src/autograd/ops/conv2d.ts'
import { diceLoss } from '../../src/autograd/ops/dice-loss.ts'
import { interpolate } from '../../src/autograd/ops/interpolate.ts'
import { mul } from '../../src/autograd/ops/mul.ts'
import { sigmoid } from '../../src/autograd/ops/sigmoid.ts'
import { slice } from '../../src/autograd/ops/slice.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { UNet } from '../../src/nn/networks/unet.ts'
import { Adam } from '../../src/nn/optim/adam.ts'
import { cropEndToEnd, EndToEndCrops } from '../../src/pipelines/end-to-end.ts'
import { scoreMask } from '../../src/pipelines/scores.ts'
import { cartesianTask, stackSamples } from '../../src/pipelines/tasks.ts'
import { train } from '../../src/pipelines/training.ts'
import { testDevice } from '../device.ts'
import { sampleOracle } from '../ops/warp-oracle.ts'
import { type Array64, checkGradients, randomValues } from '../oracle.ts'
import { expectClose } from '../reference.ts'
import { discs } from './discs.ts'
import { MemoryStore } from './memory-store.ts'

const SIZE = 32
const S = 16

/** Stands in for a network: 1 where the first channel is bright. */
const bright = (x: Tensor): Tensor =>
  gt(slice(x, { starts: [0, 0, 0, 0], ends: [x.shape[0]!, 1, x.shape[2]!, x.shape[3]!] }), 0)

describe('values', () => {
  test('the box lies around the coarse mask, the fine network sees it in the crop, its mask lies where it was cut', async () => {
    const device = await testDevice()
    const samples = await Promise.all(discs(4, { size: SIZE }).map((s) => s.load()))
    const { x } = stackSamples(device, samples)
    for (const box of ['hard', 'soft'] as const) {
      const result = cropEndToEnd(x, { coarse: bright, fine: bright }, { size: S, padding: 2, box })
      expect(result.crop.shape).toEqual([4, 2, S, S])
      const [masks, coarse, boxes] = await Promise.all(
        [result.mask, result.coarse, result.boxes].map((t) => t.data()),
      )
      samples.forEach(({ mask }, i) => {
        const plane = (values: Float32Array) => values.subarray(i * SIZE * SIZE, (i + 1) * SIZE * SIZE)
        expect(scoreMask(plane(masks as Float32Array), mask).dice).toBeGreaterThan(0.93)
        const found = plane(coarse as Float32Array)
        const inside = [...found.keys()].filter((k) => found[k]! > 0.5)
        const [xs, ys] = [inside.map((k) => k % SIZE), inside.map((k) => Math.floor(k / SIZE))]
        const [left, top, width, height] = boxes!.subarray(4 * i, 4 * i + 4)
        const off = box === 'hard' ? 1e-6 : 2.5
        const expected = [
          Math.max(0, Math.min(...xs) - 2),
          Math.max(0, Math.min(...ys) - 2),
          Math.min(SIZE, Math.max(...xs) + 3),
          Math.min(SIZE, Math.max(...ys) + 3),
        ]
        ;[left!, top!, left! + width!, top! + height!].forEach((edge, k) => {
          expect(Math.abs(edge - expected[k]!)).toBeLessThan(off)
        })
      })
    }
  })

  test('an empty coarse mask: the whole image goes through the fine network', async () => {
    const device = await testDevice()
    const x = device.tensor(randomValues([2, 1, SIZE, SIZE]), [2, 1, SIZE, SIZE])
    const none = () => device.zeros([2, 1, S, S])
    for (const box of ['hard', 'soft'] as const) {
      const { boxes } = cropEndToEnd(x, { coarse: none, fine: bright }, { size: S, box })
      expect([...(await boxes.data())]).toEqual([0, 0, SIZE, SIZE, 0, 0, SIZE, SIZE])
    }
  })
})

/*
 * The pipeline in float64, straight from its definition, with networks of one layer: a 1×1 convolution and a sigmoid.
 */
const [H, W, T] = [12, 14, 6]
const sigma = (v: number): number => 1 / (1 + Math.exp(-v))
const border = { padX: 'border', padY: 'border' } as const

const resize = (x: Array64, h: number, w: number): Array64 => ({
  shape: [x.shape[0]!, x.shape[1]!, h, w],
  data: sampleOracle(
    x,
    [x.shape[0]!, h, w],
    (_, v, u) => [((u + 0.5) * x.shape[3]!) / w - 0.5, ((v + 0.5) * x.shape[2]!) / h - 0.5],
    border,
  ),
})

const layer = (x: Array64, weight: Array64): Array64 => {
  const [, c, h, w] = x.shape as [number, number, number, number]
  const at = (k: number) => Array.from({ length: c }, (_, i) => weight.data[i]! * x.data[i * h * w + k]!)
  return {
    shape: [1, 1, h, w],
    data: Float64Array.from({ length: h * w }, (_, k) => sigma(at(k).reduce((a, b) => a + b))),
  }
}

function boxOracle({ data }: Array64, box: 'hard' | 'soft', padding: number): number[] {
  const pixels = [...data].map((v, i) => [v, i % W, Math.floor(i / W)] as const)
  if (box === 'hard') {
    const inside = pixels.filter(([v]) => v > 0.5)
    const span = (axis: 1 | 2, limit: number): [number, number] => [
      Math.max(0, Math.min(...inside.map((p) => p[axis])) - padding),
      Math.min(limit, Math.max(...inside.map((p) => p[axis])) + 1 + padding),
    ]
    const [[l, r], [t, b]] = [span(1, W), span(2, H)]
    return [l, t, r - l, b - t]
  }
  const weights = pixels.map(([v]) => sigma(20 * (v - 0.5)))
  const mass = weights.reduce((a, b) => a + b)
  const span = (axis: 1 | 2): [number, number] => {
    const c = pixels.reduce((sum, p, i) => sum + weights[i]! * p[axis], 0) / mass
    const variance = pixels.reduce((sum, p, i) => sum + weights[i]! * (p[axis] - c) ** 2, 0) / mass
    const length = 4 * Math.sqrt(variance + 1e-6) + 2 * padding
    return [c - length / 2 + 0.5, length]
  }
  const [[l, w], [t, h]] = [span(1), span(2)]
  return [l, t, w, h]
}

function oracle(x: Array64, coarse: Array64, fine: Array64, box: 'hard' | 'soft'): Float64Array {
  const map = resize(layer(resize(x, T, T), coarse), H, W)
  const [l, t, w, h] = boxOracle(map, box, 1) as [number, number, number, number]
  const cut = (from: Array64) =>
    sampleOracle(
      from,
      [1, T, T],
      (_, v, u) => [l + ((u + 0.5) * w) / T - 0.5, t + ((v + 0.5) * h) / T - 0.5],
      border,
    )
  const crop = { shape: [1, 2, T, T], data: Float64Array.from([...cut(x), ...cut(map)]) }
  const result = layer(crop, fine)
  const inside = (v: number, u: number) =>
    box === 'soft' || (u + 0.5 >= l && u + 0.5 < l + w && v + 0.5 >= t && v + 0.5 < t + h)
  return sampleOracle(
    result,
    [1, H, W],
    (_, v, u) => (inside(v, u) ? [((u + 0.5 - l) * T) / w - 0.5, ((v + 0.5 - t) * T) / h - 0.5] : [-9, -9]),
    box === 'soft' ? {} : border,
  ).map((v, i) => (inside(Math.floor(i / W), i % W) ? v : 0))
}

describe('gradients against finite differences', () => {
  // A bright blob off the centre, with a slope everywhere.
  const image = Float32Array.from({ length: H * W }, (_, i) => {
    const [u, v] = [i % W, Math.floor(i / W)]
    return 1.5 * Math.exp(-((u - 8) ** 2 / 14 + (v - 5) ** 2 / 9)) - 0.6 + 0.05 * Math.sin(3 * u + v)
  })

  test.each(['hard', 'soft'] as const)('%s box: image and both networks', async (box) => {
    await checkGradients(
      (x, coarse, fine) =>
        cropEndToEnd(
          x,
          { coarse: (v) => sigmoid(conv2d(v, coarse)), fine: (v) => sigmoid(conv2d(v, fine)) },
          { size: T, padding: 1, box },
        ).mask,
      (x, coarse, fine) => oracle(x!, coarse!, fine!, box),
      [
        { shape: [1, 1, H, W], data: image },
        { shape: [1, 1, 1, 1], data: [2.3] },
        { shape: [1, 2, 1, 1], data: [1.1, -0.7] },
      ],
      { maxElements: 60, gradAtol: 2e-5 },
    )
  })
})

describe('EndToEndCrops', () => {
  const build = async (box: 'hard' | 'soft' = 'hard') => {
    const device = await testDevice()
    const parts = {
      coarse: new UNet(device, { features: 2, seed: 1 }),
      fine: new UNet(device, { inChannels: 2, features: 2, seed: 2 }),
    }
    return new EndToEndCrops(device, parts, { size: S, padding: 2, box })
  }
  /** Σ of absolute gradients of the coarse network. */
  const coarseGradient = async (net: EndToEndCrops): Promise<number> => {
    let sum = 0
    for (const [name, p] of net.namedParameters())
      if (name.startsWith('coarse.'))
        sum += ((await p.grad!.data()) as Float32Array).reduce((s: number, v: number) => s + Math.abs(v), 0)
    return sum
  }

  test('begun from a pretrained network, the fine one ignores the mask at first; after a step the gradient reaches the coarse net', async () => {
    const device = await testDevice()
    const net = await build()
    const pretrained = new UNet(device, { features: 2, seed: 7 })
    const report = net.takeFrom(pretrained)
    expect(report.fine.extended).toEqual(['encoder1.enc1conv1.weight'])
    expect([...report.coarse.skipped, ...report.fine.skipped, ...report.fine.kept]).toEqual([])
    const samples = await Promise.all(discs(4, { size: SIZE }).map((s) => s.load()))
    const { x, y } = stackSamples(device, samples)
    net.eval()
    const { crop, mask, boxes } = net.trace(x)
    const alone = pretrained.eval().forward(slice(crop, { starts: [0, 0, 0, 0], ends: [4, 1, S, S] }))
    const same = cropEndToEnd(x, { coarse: (v) => pretrained.forward(v), fine: () => alone }, net.options)
    expect(await same.boxes.data()).toEqual(await boxes.data())
    // Not to the bit: a first layer of two channels may have another kernel than one of one.
    expectClose(await mask.data(), await same.mask.data(), 1e-6, 1e-6, 'mask')

    net.train()
    const opt = new Adam(net.parameters(), { lr: 1e-2 })
    const gradients: number[] = []
    for (let step = 0; step < 2; step++) {
      opt.zeroGrad()
      diceLoss(net.forward(x), y).backward()
      gradients.push(await coarseGradient(net))
      opt.step()
    }
    expect(gradients[0]).toBe(0)
    expect(gradients[1]).toBeGreaterThan(1e-6)
    opt.dispose()
    net.dispose()
    pretrained.dispose()
  })

  /** A network trained a little on the shrunken images, as the coarse one is before it is trained end to end. */
  const pretrain = async (x: Tensor, y: Tensor): Promise<UNet> => {
    const device = await testDevice()
    const net = new UNet(device, { features: 2, seed: 7 })
    const opt = new Adam(net.parameters(), { lr: 2e-2 })
    const shrink = { size: S, mode: 'bilinear' } as const
    const step = device.compile((input: Tensor, target: Tensor) => {
      opt.zeroGrad()
      const loss = diceLoss(net.forward(interpolate(input, shrink)), interpolate(target, shrink))
      loss.backward()
      opt.step()
      return loss
    })
    for (let i = 0; i < 40; i++) step(x, y)
    opt.dispose()
    return net
  }

  test.each(['hard', 'soft'] as const)(
    '%s box: from a pretrained network it gets better; along its gradient the coarse network alone lowers the loss as much as the gradient says',
    async (box) => {
      const device = await testDevice()
      const net = await build(box)
      const samples = await Promise.all(discs(8, { size: SIZE }).map((s) => s.load()))
      const { x, y } = stackSamples(device, samples)
      const pretrained = await pretrain(x, y)
      net.takeFrom(pretrained)
      const coarse = net.namedParameters().flatMap(([name, p]) => (name.startsWith('coarse.') ? [p] : []))
      const opt = new Adam(net.parameters(), { lr: 3e-3 })
      const step = device.compile((input: Tensor, target: Tensor) => {
        opt.zeroGrad()
        const loss = diceLoss(net.forward(input), target)
        loss.backward()
        opt.step()
        return loss
      })
      const joint: number[] = []
      for (let i = 0; i < 12; i++) joint.push(await step(x, y).item())
      expect(joint.at(-1)).toBeLessThan(0.9 * joint[0]!)

      const loss = () => device.noGrad(() => diceLoss(net.forward(x), y)).item()
      const middle = (values: number[]) => values.sort((a, b) => a - b)[(values.length - 1) / 2]!
      // Change of the loss by what the gradient says, at the weights as they are.
      const ratio = async () => {
        opt.zeroGrad()
        diceLoss(net.forward(x), y).backward()
        const slopes = await Promise.all(coarse.map((p) => p.grad!.data()))
        const squared = slopes.reduce((sum, g) => sum + (g as Float32Array).reduce((a, v) => a + v * v, 0), 0)
        expect(squared).toBeGreaterThan(1e-8)
        const moveBy = (t: number) => {
          for (const p of coarse)
            addInto(
              p,
              device.noGrad(() => mul(p.grad!, t)),
            )
        }
        const ratios: number[] = []
        for (const change of [1e-5, 3e-6, 1e-6]) {
          const length = change / squared
          moveBy(length)
          const above = await loss()
          moveBy(-2 * length)
          const below = await loss()
          moveBy(length)
          ratios.push((above - below) / (2 * change))
        }
        return middle(ratios)
      }
      // Steps that are to change the loss by so much, there and back. A hard box jumps where a pixel crosses the threshold,
      // which may lie within one of them, or within all of them for some weights: so at three.
      const ratios: number[] = []
      for (let i = 0; i < 3; i++) {
        ratios.push(await ratio())
        await step(x, y).item()
      }
      const found = ratios.join(', ')
      expect(middle(ratios), found).toBeGreaterThan(0.7)
      expect(middle(ratios), found).toBeLessThan(1.3)
      opt.dispose()
      net.dispose()
      pretrained.dispose()
    },
  )

  test('its weights go through `train` and a checkpoint under names of their own', async () => {
    const device = await testDevice()
    const [net, other] = [await build(), await build()]
    const names = Object.keys(net.stateDict())
    expect(names).toContain('coarse.encoder1.enc1conv1.weight')
    expect(names).toContain('fine.conv.bias')
    const data = discs(6, { size: SIZE })
    const store = new MemoryStore()
    const options = {
      task: cartesianTask(),
      train: data.slice(0, 4),
      validation: data.slice(4),
      batchSize: 2,
    }
    await train(net, device, { ...options, epochs: 2, store })
    // Goes on where the first one stopped: weights and moments of both networks were found by their names.
    await train(other, device, { ...options, epochs: 3, store })
    const whole = await build()
    await train(whole, device, { ...options, epochs: 3, store: new MemoryStore() })
    for (const [name, t] of Object.entries(whole.stateDict()))
      expect(await other.stateDict()[name]!.data(), name).toEqual(await t.data())
    for (const n of [net, other, whole]) n.dispose()
  })

  test('sizes that are none are refused', async () => {
    const device = await testDevice()
    const parts = {
      coarse: new UNet(device, { features: 1 }),
      fine: new UNet(device, { inChannels: 2, features: 1 }),
    }
    expect(() => new EndToEndCrops(device, parts, { size: 1.5 })).toThrow(
      'EndToEndCrops: size is a whole number of px, padding at least 0 px, got 1.5 and 20',
    )
  })
})
