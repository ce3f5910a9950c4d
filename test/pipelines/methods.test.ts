import { expect, test } from 'vitest'
import { gt } from '../../src/autograd/ops/comparison.ts'
import { interpolate } from '../../src/autograd/ops/interpolate.ts'
import { slice } from '../../src/autograd/ops/slice.ts'
import { Prng } from '../../src/autograd/random.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { boxesOfLabels, jitterBox, squareBox } from '../../src/pipelines/boxes.ts'
import { labelComponents } from '../../src/pipelines/components.ts'
import { segmentLocalised } from '../../src/pipelines/localise.ts'
import { maskCentre, scoreMask } from '../../src/pipelines/scores.ts'
import { segmentThenSegment } from '../../src/pipelines/segment-then-segment.ts'
import { cropTask, stackSamples } from '../../src/pipelines/tasks.ts'
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

test('images of one size in one tensor, any batch of crops, or in place of max: the same masks', async () => {
  const device = await testDevice()
  const rectangles = [
    [
      [5, 10, 12, 9],
      [40, 60, 20, 30],
    ],
    [],
    [
      [0, 70, 20, 26],
      [30, 30, 9, 9],
      [50, 2, 14, 20],
    ],
  ]
  const images = rectangles.map((r) => blobs(96, 64, r))
  const x = device.tensor(Float32Array.from(images.flatMap((v) => [...v])), [3, 1, 96, 64])
  const options = { rough: bright, fine: bright, size: 32 } as const
  const [together] = await segmentThenSegment(device, [x], options)
  expect(together!.counts).toEqual([2, 0, 3])
  expect(together!.boxes.shape).toEqual([5, 4])
  const masks = await together!.mask.data()
  const alone = await segmentThenSegment(
    device,
    images.map((v) => device.tensor(v, [1, 1, 96, 64])),
    { ...options, cropBatch: 2, overlap: 'or' },
  )
  for (const [i, { mask, counts }] of alone.entries()) {
    expect(counts).toEqual([rectangles[i]!.length])
    // Masks of this fine network lie between 0 and 1 only where crops were stretched back.
    const thresholded = masks.subarray(i * 96 * 64, (i + 1) * 96 * 64).map((v) => (v > 0.5 ? 1 : 0))
    expect([...(await mask.data())]).toEqual([...thresholded])
  }
  expect(await segmentThenSegment(device, [], options)).toEqual([])
})

test.each([32, 64, 128, 256, 512])('S = %i: crops of S px, passes of a bounded size', async (size) => {
  const device = await testDevice()
  const rectangles = Array.from({ length: 70 }, (_, k) => [
    4 + 30 * (k % 10),
    4 + 28 * Math.floor(k / 10),
    12,
    12,
  ])
  const image = blobs(200, 304, size > 128 ? rectangles.slice(0, 3) : rectangles)
  const passes: number[] = []
  const fine = (crops: Tensor) => {
    expect(crops.shape.slice(1)).toEqual([1, size, size])
    passes.push(crops.shape[0]!)
    return bright(crops)
  }
  // The truth stands in for the rough network: shrunken to 32 px, objects this close would be one.
  const rough = (x: Tensor) =>
    bright(
      interpolate(device.tensor(image, [1, 1, 200, 304]), {
        size: [x.shape[2]!, x.shape[3]!],
        mode: 'nearest',
      }),
    )
  const [result] = await segmentThenSegment(device, [device.tensor(image, [1, 1, 200, 304])], {
    rough,
    fine,
    size,
  })
  expect(passes.reduce((a, b) => a + b, 0)).toBe(result!.counts[0])
  expect(Math.max(...passes) * size * size).toBeLessThanOrEqual(2 ** 18)
  const truth = image.map((v) => (v > 0 ? 1 : 0))
  expect(scoreMask(await result!.mask.data(), truth).recall).toBeGreaterThan(size >= 64 ? 0.85 : 0.5)
})

test('a component at the border, one as large as the image, one under 5 px: inside, clipped, dropped', async () => {
  const device = await testDevice()
  const of = async (rectangles: number[][], more = {}) => {
    const image = blobs(64, 80, rectangles)
    const [result] = await segmentThenSegment(device, [device.tensor(image, [1, 1, 64, 80])], {
      rough: () => bright(device.tensor(image, [1, 1, 64, 80])),
      fine: bright,
      size: 32,
      ...more,
    })
    return { boxes: [...(await result!.boxes.data())], mask: await result!.mask.data(), image }
  }
  const corner = await of([[70, 54, 10, 10]])
  expect(corner.boxes).toEqual([62, 46, 18, 18])
  expect(
    scoreMask(
      corner.mask,
      corner.image.map((v) => (v > 0 ? 1 : 0)),
    ).dice,
  ).toBeGreaterThan(0.95)
  const large = await of([[0, 0, 80, 60]])
  expect(large.boxes).toEqual([0, 0, 80, 64])
  const small = await of([[20, 20, 3, 4]], { padding: 0 })
  expect(small.boxes).toEqual([0, 0, 0, 0])
  expect(Math.max(...small.mask)).toBe(0)
})

test('cropTask: the whole image where the mask is empty, moved boxes in training only', async () => {
  const device = await testDevice()
  const data = (mask: Float32Array) => ({
    image: Float32Array.from({ length: 64 * 64 }, (_, i) => i % 64),
    mask,
    height: 64,
    width: 64,
    channels: 1,
  })
  const one = Float32Array.from({ length: 64 * 64 }, (_, i) =>
    i % 64 >= 20 && i % 64 < 30 && i >= 640 && i < 1280 ? 1 : 0,
  )
  const boxesOf = (s: { mask: Float32Array }) => boxesOfLabels(labelComponents(s.mask, 64, 64), 64, 64)
  const task = cropTask({ size: 16, jitter: 4, boxesOf })
  const first = async (mask: Float32Array, training: boolean, seed = 1) => {
    const { input } = task.prepare(task.feed(device, [data(mask)], new Prng(seed), training), training)
    return (await input.data()).slice(0, 16)
  }
  // Columns of the whole image, four by four.
  const whole = await first(new Float32Array(64 * 64), false)
  expect([...whole]).toEqual(Array.from({ length: 16 }, (_, i) => 4 * i + 1.5))
  const still = await first(one, false)
  expect(still[0]).toBeCloseTo(18 + (14 / 16) * 0.5 - 0.5, 4)
  const moved = new Set(
    (await Promise.all([1, 2, 3, 4].map((seed) => first(one, true, seed)))).map((v) => v[0]),
  )
  expect(moved.size).toBeGreaterThan(1)
})

test('noise of training boxes: left, top, width and height each move by every whole number up to the limit', () => {
  const prng = new Prng(5)
  const box = [40, 50, 20, 24] as const
  const moves = Array.from({ length: 400 }, () =>
    jitterBox(box, 3, { height: 128, width: 128 }, prng).map((v, k) => v - box[k]!),
  )
  for (const k of [0, 1, 2, 3])
    expect([...new Set(moves.map((m) => m[k]!))].sort((a, b) => a - b)).toEqual([-3, -2, -1, 0, 1, 2, 3])
})

test('cropTask: in training any object of an image, in validation the first', async () => {
  const device = await testDevice()
  const image = Float32Array.from({ length: 64 * 64 }, (_, i) => i % 64)
  const boxes = [
    [4, 4, 10, 10],
    [44, 44, 10, 10],
  ] as const
  const task = cropTask({ size: 16, jitter: 0, boxesOf: () => boxes })
  const sample = { image, mask: new Float32Array(64 * 64), height: 64, width: 64, channels: 1 }
  const lefts = async (training: boolean) => {
    const firsts = [1, 2, 3, 4, 5, 6].map(async (seed) => {
      const { input } = task.prepare(task.feed(device, [sample], new Prng(seed), training), training)
      return Math.round((await input.data())[0]!)
    })
    return new Set(await Promise.all(firsts))
  }
  // Boxes begin 2 px before the objects.
  expect(await lefts(true)).toEqual(new Set([2, 42]))
  expect(await lefts(false)).toEqual(new Set([2]))
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
