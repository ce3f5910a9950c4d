import { expect, test } from 'vitest'
import { mul } from '../../src/autograd/ops/mul.ts'
import { Prng } from '../../src/autograd/random.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import type { SampleData } from '../../src/data/dataset.ts'
import { DataError } from '../../src/gpu/errors.ts'
import { Module } from '../../src/nn/module.ts'
import { StackedHourglass } from '../../src/nn/networks/stacked-hourglass.ts'
import { UNet } from '../../src/nn/networks/unet.ts'
import { CENTRE_AUGMENTATION } from '../../src/pipelines/augment.ts'
import { evaluatePolar } from '../../src/pipelines/evaluate.ts'
import { heatmapTask } from '../../src/pipelines/heatmap-task.ts'
import {
  centreScore,
  diceScore,
  meanOverStacks,
  originLoss,
  originScore,
} from '../../src/pipelines/losses.ts'
import { maskCentre } from '../../src/pipelines/scores.ts'
import { train } from '../../src/pipelines/training.ts'
import { brightestOfMap } from '../../src/pipelines/transforms/index.ts'
import { testDevice } from '../device.ts'
import { expectClose } from '../reference.ts'
import { discs } from './discs.ts'

/** A rectangle (left, top, width, height) in an image (1, H, W). */
function rectangle(
  [left, top, width, height]: readonly [number, number, number, number],
  h: number,
  w: number,
): SampleData {
  const mask = new Float32Array(h * w)
  for (let y = top; y < top + height; y++) mask.fill(1, y * w + left, y * w + left + width)
  return { image: mask.slice(), mask, height: h, width: w, channels: 1 }
}

/** The target of one image: a Gaussian at the centre of mass, in pixels of the heatmap. */
function gaussian([cx, cy]: readonly [number, number], h: number, w: number, stride: number, sigma: number) {
  const [x, y] = [(cx + 0.5) / stride - 0.5, (cy + 0.5) / stride - 0.5]
  const s = (sigma * Math.min(h, w)) / 256 / stride
  return Float64Array.from({ length: (h / stride) * (w / stride) }, (_, i) => {
    const [u, v] = [i % (w / stride), Math.floor(i / (w / stride))]
    return Math.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * s * s))
  })
}

test.each([
  [4, 8],
  [1, 16],
])('stride %i, sigma %i: the target is a Gaussian at the centre of mass', async (stride, sigma) => {
  const device = await testDevice()
  const samples = [
    rectangle([10, 4, 7, 12], 32, 64),
    rectangle([0, 0, 1, 1], 32, 64),
    rectangle([0, 0, 0, 0], 32, 64),
  ]
  const task = heatmapTask({ stride, sigma })
  const args = task.feed(device, samples, new Prng(1), false)
  const { input, target } = task.prepare(args, false)
  expect(input.shape).toEqual([3, 1, 32, 64])
  expect(target.shape).toEqual([3, 1, 32 / stride, 64 / stride])
  const plane = (32 * 64) / stride ** 2
  const values = await target.data()
  for (const [i, { mask }] of samples.entries()) {
    // Of an empty mask the centre is the image's.
    const expected = gaussian(maskCentre(mask, 32, 64), 32, 64, stride, sigma)
    expectClose(values.subarray(i * plane, (i + 1) * plane), expected, 1e-5, 1e-5, `target ${i}`)
  }
})

test('image and heatmap move together; sides that the stride does not divide are refused', async () => {
  const device = await testDevice()
  const samples = Array.from({ length: 6 }, () => rectangle([14, 20, 9, 5], 48, 48))
  const task = heatmapTask({ stride: 1, augment: { ...CENTRE_AUGMENTATION, affine: 1, grid: 0 } })
  const { input, target } = task.prepare(task.feed(device, samples, new Prng(4), true), true)
  const [x, y] = [await input.data(), await target.data()]
  const moved = new Set<string>()
  for (let i = 0; i < samples.length; i++) {
    const image = x.subarray(i * 48 * 48, (i + 1) * 48 * 48)
    const heat = y.subarray(i * 48 * 48, (i + 1) * 48 * 48)
    const [cx, cy] = maskCentre(image, 48, 48)
    const [hx, hy] = maskCentre(heat, 48, 48)
    // The mask is warped by nearest pixels, and what leaves the image counts for neither.
    expect(Math.hypot(cx - hx, cy - hy)).toBeLessThan(1)
    moved.add(`${hx.toFixed(2)},${hy.toFixed(2)}`)
  }
  expect(moved.size).toBe(6)
  expect(() =>
    heatmapTask({ stride: 4 }).feed(device, [rectangle([1, 1, 3, 3], 30, 32)], new Prng(1), false),
  ).toThrow(DataError)
})

test('the brightest pixel of a smaller heatmap lies at the middle of what it stands for', async () => {
  const device = await testDevice()
  const map = new Float32Array(8 * 16)
  map[3 * 16 + 9] = 1
  const image = device.zeros([1, 1, 32, 64])
  expect([...(await brightestOfMap()(device.tensor(map, [1, 1, 8, 16]), image).data())]).toEqual([37.5, 13.5])
  const full = new Float32Array(32 * 64)
  full[13 * 64 + 37] = 1
  expect([...(await brightestOfMap()(device.tensor(full, [1, 1, 32, 64]), image).data())]).toEqual([37, 13])
})

test('loss and scores by hand: mean over stacks, distance of the brightest pixels, DSC with empty images', async () => {
  const device = await testDevice()
  const map = (...at: number[]) => {
    const values = new Float32Array(9)
    for (const i of at) values[i] = 1
    return device.tensor(values, [1, 1, 3, 3])
  }
  const stacks = [map(0), map(0, 4, 8)]
  expect(await meanOverStacks()(stacks, map(0)).item()).toBeCloseTo((0 + 2 / 9) / 2, 6)
  expect(await meanOverStacks()(map(1), map(0)).item()).toBeCloseTo(2 / 9, 6)
  // The last stack counts: (2, 1) against (0, 0).
  expect([...(await centreScore([map(0), map(5)], map(0)).data())]).toEqual([
    expect.closeTo(-Math.sqrt(5), 6),
  ])
  expect([...(await centreScore(map(4), map(4)).data())][0]).toBeCloseTo(0, 6)
  const truth = device.tensor([1, 1, 0, 0, 0, 0, 0, 0, 1, 1], [5, 1, 1, 2])
  const prediction = device.tensor([0.9, 0.1, 0.6, 0, 0, 0.5, 0, 0, 0, 0], [5, 1, 1, 2])
  const scores = [...(await diceScore(prediction, truth).data())]
  expect(scores).toEqual([expect.closeTo(2 / 3, 6), 0, 1, 1, 0])
})

test('origins against masks: squared distances in sides, and minus the distances', async () => {
  const device = await testDevice()
  const masks = new Float32Array(2 * 4 * 8)
  // Centres (1.5, 2) and, of nothing, the image's (3.5, 1.5).
  for (const i of [8 + 1, 8 + 2, 24 + 1, 24 + 2]) masks[i] = 1
  const truth = device.tensor(masks, [2, 1, 4, 8])
  const origins = device.tensor([4.5, 6, 3.5, 3.5], [2, 2], { requiresGrad: true })
  const loss = originLoss(origins, truth)
  expect(await loss.item()).toBeCloseTo((25 + 4) / 2 / 16, 6)
  loss.backward()
  expect([...(await origins.grad!.data())]).toEqual([3, 4, 0, 2].map((v) => expect.closeTo(v / 16, 6)))
  const scores = [...(await originScore(origins, truth).data())]
  expect(scores).toEqual([expect.closeTo(-5, 6), expect.closeTo(-2, 6)])
})

test('of several stacks the last says the origin', async () => {
  const device = await testDevice()
  /** Its first heatmap has nothing, its last is the image. */
  class Stacks extends Module {
    forward = (x: Tensor) => [mul(x, 0), x]
  }
  const size = 16
  const image = new Float32Array(size * size)
  image[5 * size + 11] = 1
  const load = async () => ({ image, mask: image, height: size, width: size, channels: 1 })
  const sample = { id: 'a', group: 'a', imagePath: '', originalSize: [size, size] as const, load }
  const polar = new UNet(device, { features: 1 })
  const [found] = await evaluatePolar(device, polar, [sample], { origins: { heatmap: new Stacks() } })
  expect(found!.originError).toBeCloseTo(0, 5)
  polar.dispose()
})

test('approach B: an hourglass and a U-Net learn where discs are; origins come from their last heatmap', async () => {
  const device = await testDevice()
  const samples = discs(14, { size: 32 })
  const shared = {
    train: samples.slice(0, 10),
    validation: samples.slice(10),
    batchSize: 5,
    seed: 3,
    lr: 4e-3,
  }
  const polar = new UNet(device, { features: 2, seed: 1 })
  const networks = [
    {
      net: new StackedHourglass(device, { stacks: 2, features: 16, depth: 2, stemFeatures: 8, seed: 1 }),
      stride: 4,
      limit: 4,
      lr: 4e-3,
    },
    { net: new UNet(device, { features: 4, seed: 1 }), stride: 1, limit: 3, lr: 2e-2 },
  ]
  for (const { net, stride, limit, lr } of networks) {
    const result = await train(net, device, {
      ...shared,
      task: heatmapTask({ stride, sigma: 24 }),
      epochs: 40,
      lr,
      loss: meanOverStacks(),
      score: centreScore,
    })
    expect(result.history.at(-1)!.trainLoss).toBeLessThan(0.5 * result.history[0]!.trainLoss)
    expect(result.bestScore).toBe(Math.max(...result.history.map((m) => m.validationScore)))
    expect(result.bestScore).toBeLessThanOrEqual(0)
    const images = await evaluatePolar(device, polar, samples.slice(10), { origins: { heatmap: net } })
    const errors = images.map((e) => e.originError!)
    // Half a heatmap pixel each way, and what the network is off.
    expect(Math.max(...errors)).toBeLessThan(limit)
    net.dispose()
  }
  polar.dispose()
})
