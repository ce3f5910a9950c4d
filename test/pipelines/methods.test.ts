import { expect, test } from 'vitest'
import { gt } from '../../src/autograd/ops/comparison.ts'
import { slice } from '../../src/autograd/ops/slice.ts'
import { Prng } from '../../src/autograd/random.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { boxesOfLabels, jitterBox, labelComponents, squareBox } from '../../src/pipelines/boxes.ts'
import { segmentLocalised } from '../../src/pipelines/localise.ts'
import { maskCentre, scoreMask } from '../../src/pipelines/scores.ts'
import { segmentThenSegment } from '../../src/pipelines/segment-then-segment.ts'
import { stackSamples } from '../../src/pipelines/tasks.ts'
import { centreOfMap, polarTransform } from '../../src/pipelines/transforms/index.ts'
import { testDevice } from '../device.ts'
import { discs } from './discs.ts'

/** Stands in for a network: foreground where the first channel is bright. */
const bright = (x: Tensor): Tensor =>
  gt(slice(x, { starts: [0, 0, 0, 0], ends: [x.shape[0]!, 1, x.shape[2]!, x.shape[3]!] }), 0)

test('discs survive localise, polar, segment and back; the origin is their centre', async () => {
  const device = await testDevice()
  const samples = await Promise.all(discs(4, { size: 48 }).map((s) => s.load()))
  const { x } = stackSamples(device, samples)
  const parts = { localise: bright, parameters: centreOfMap(), transform: polarTransform(), segment: bright }
  const { mask, parameters } = segmentLocalised(parts, x)
  const [values, origins] = [await mask.data(), await parameters.data()]
  samples.forEach((s, i) => {
    const plane = values.subarray(i * 48 * 48, (i + 1) * 48 * 48)
    expect(scoreMask(plane, s.mask).dice).toBeGreaterThan(0.95)
    const [cx, cy] = maskCentre(s.mask, 48, 48)
    expect(origins[2 * i]).toBeCloseTo(cx, 3)
    expect(origins[2 * i + 1]).toBeCloseTo(cy, 3)
  })
})

/** An image (1, 1, H, W) with bright rectangles, (left, top, width, height) each. */
function blobs(height: number, width: number, rectangles: readonly (readonly number[])[]) {
  const image = new Float32Array(height * width).fill(-0.5)
  for (const [l, t, w, h] of rectangles as [number, number, number, number][])
    for (let y = t; y < t + h; y++) image.fill(0.5, y * width + l, y * width + l + w)
  return image
}

test('segmentThenSegment finds each blob of images of different sizes at full resolution', async () => {
  const device = await testDevice()
  const cases = [
    {
      height: 96,
      width: 64,
      blobs: [
        [5, 10, 12, 9],
        [40, 60, 20, 30],
      ],
    },
    {
      height: 40,
      width: 120,
      blobs: [
        [100, 4, 16, 16],
        [10, 20, 8, 8],
        [50, 10, 15, 12],
      ],
    },
    { height: 32, width: 32, blobs: [] },
    // Larger than the image once padded.
    { height: 33, width: 47, blobs: [[0, 0, 47, 30]] },
  ]
  const images = cases.map((c) => blobs(c.height, c.width, c.blobs))
  const tensors = cases.map((c, i) => device.tensor(images[i]!, [1, 1, c.height, c.width]))
  const results = await segmentThenSegment(device, tensors, {
    rough: bright,
    fine: bright,
    size: 32,
    cropBatch: 2,
  })
  for (const [i, c] of cases.entries()) {
    const { boxes, mask, rough } = results[i]!
    expect(boxes.shape).toEqual([c.blobs.length, 4])
    expect(mask.shape).toEqual([1, 1, c.height, c.width])
    const truth = images[i]!.map((v) => (v > 0 ? 1 : 0))
    const fine = scoreMask(await mask.data(), truth).dice
    const coarse = scoreMask(await rough.data(), truth).dice
    expect(fine).toBeGreaterThan(0.9)
    expect(fine).toBeGreaterThanOrEqual(coarse)
  }
})

test('boxes: components are labelled, squared, padded and moved inside', () => {
  const mask = blobs(20, 30, [
    [1, 1, 6, 5],
    [20, 10, 9, 8],
  ]).map((v) => (v > 0 ? 1 : 0))
  const labels = labelComponents(mask, 20, 30)
  expect(Math.max(...labels)).toBe(2)
  expect(labels[31]).toBe(1)
  expect(boxesOfLabels(labels, 20, 30)).toEqual([
    [1, 1, 6, 5],
    [20, 10, 9, 8],
  ])
  expect(squareBox([20, 10, 9, 8], { padding: 2, height: 20, width: 30 })).toEqual([17, 7, 13, 13])
  expect(squareBox([0, 0, 30, 4], { padding: 2, height: 20, width: 30 })).toEqual([0, 0, 30, 20])
  const prng = new Prng(7)
  for (let i = 0; i < 200; i++) {
    const [l, t, w, h] = jitterBox([3, 3, 10, 10], 16, { height: 20, width: 30 }, prng)
    expect(Math.min(l, t)).toBeGreaterThanOrEqual(0)
    expect(Math.min(w, h)).toBeGreaterThanOrEqual(5)
    expect(l + w).toBeLessThanOrEqual(30)
    expect(t + h).toBeLessThanOrEqual(20)
  }
})
