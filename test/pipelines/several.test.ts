import { expect, test, vi } from 'vitest'
import { gt } from '../../src/autograd/ops/comparison.ts'
import { maximum } from '../../src/autograd/ops/maximum.ts'
import type { PolarLayout } from '../../src/autograd/ops/polar-warp.ts'
import { Prng } from '../../src/autograd/random.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import type { Sample, SampleData } from '../../src/data/dataset.ts'
import { DataError } from '../../src/gpu/errors.ts'
import { normaliseFusion, sweepThresholds, weighPolar } from '../../src/pipelines/fuse.ts'
import { perObject } from '../../src/pipelines/per-object.ts'
import { scoreMask } from '../../src/pipelines/scores.ts'
import { segmentSeveral } from '../../src/pipelines/segment-several.ts'
import { segmentThenSegment } from '../../src/pipelines/segment-then-segment.ts'
import { polarTask } from '../../src/pipelines/tasks.ts'
import { testDevice } from '../device.ts'

/** Foreground where an image is bright: stands in for a network that is always right. */
const bright = (x: Tensor): Tensor => gt(x, 0)

type Disc = readonly [x: number, y: number, radius: number]

function image(discs: readonly Disc[], h: number, w: number): SampleData {
  const mask = Float32Array.from({ length: h * w }, (_, i) =>
    discs.some(([x, y, r]) => Math.hypot((i % w) - x, Math.floor(i / w) - y) <= r) ? 1 : 0,
  )
  return { image: mask.map((v) => v - 0.5), mask, height: h, width: w, channels: 1 }
}

const sampleOf = (id: string, data: SampleData): Sample => ({
  id,
  group: id,
  imagePath: '',
  originalSize: [data.height, data.width],
  load: async () => data,
})

const THREE: readonly Disc[] = [
  [14, 14, 7],
  [44, 20, 9],
  [26, 46, 8],
]

const rows = (text: string): number[] => [...text.replace(/\s/g, '')].map(Number)

test.each<[PolarLayout, string, string]>([
  // Radius 0 below; a component at the seam touches radius 0 only on the other side; one floats; one wraps without touching.
  [
    'radius-up',
    `000000
     100001
     000000
     110001
     000001`,
    `000000
     100001
     000000
     220002
     000002`,
  ],
  [
    'angles-down',
    `110010
     000010
     000000
     110000
     100000`,
    `220010
     000010
     000000
     220000
     200000`,
  ],
])('%s: 2 for what touches radius 0, across the seam, 1 for the rest', async (layout, map, weights) => {
  const device = await testDevice()
  const p = device.tensor(
    Float32Array.from(rows(map), (v) => 0.8 * v),
    [1, 1, 5, 6],
  )
  const empty = device.zeros([1, 1, 5, 6])
  expect([...(await weighPolar(p, layout).data())]).toEqual(rows(weights))
  expect(Math.max(...(await weighPolar(empty, layout).data()))).toBe(0)
})

test('sums over their greatest, image by image; an image of zeros stays zero', async () => {
  const device = await testDevice()
  const sums = device.tensor([0, 1, 4, 2, 0, 0, 0, 0], [2, 1, 2, 2])
  expect([...(await normaliseFusion(sums).data())]).toEqual([0, 0.25, 1, 0.5, 0, 0, 0, 0])
})

test('perObject: a sample a component, unrolled about it, with all objects as its truth', async () => {
  const device = await testDevice()
  const two = image(
    [
      [12, 12, 6],
      [36, 34, 8],
    ],
    48,
    48,
  )
  const samples = await perObject([sampleOf('a', two), sampleOf('none', image([], 48, 48))])
  expect(samples.map((s) => s.id)).toEqual(['a#1', 'a#2'])
  const data = await Promise.all(samples.map((s) => s.load()))
  const area = (mask: Float32Array) => mask.reduce((a, b) => a + b, 0)
  expect(area(data[0]!.object!) + area(data[1]!.object!)).toBe(area(two.mask))
  const task = polarTask({ originProbability: 0 })
  const { target } = task.prepare(task.feed(device, data, new Prng(1), false), false)
  const values = await target.data()
  // At radius 0, the last row, all is object: the origin lies in it. Beyond, the other object shows up.
  for (const i of [0, 1]) {
    const polar = values.subarray(i * 48 * 48, (i + 1) * 48 * 48)
    expect(Math.min(...polar.subarray(47 * 48))).toBe(1)
    expect(Math.max(...polar.subarray(0, 30 * 48))).toBe(1)
  }
  const mixed = [data[0]!, two]
  expect(() => task.feed(device, mixed, new Prng(1), false)).not.toThrow(TypeError)
  expect(() => task.feed(device, mixed, new Prng(1), false)).toThrow(DataError)
  await expect(perObject([sampleOf('none', image([], 8, 8))])).rejects.toThrow(
    /none of 1 images has an object/,
  )
})

test('every object of every image is segmented about itself and fused; empty images and borders', async () => {
  const device = await testDevice()
  const cases = [
    image(
      [
        [14, 14, 7],
        [44, 20, 9],
        [26, 46, 8],
      ],
      60,
      60,
    ),
    image([], 60, 60),
    // One touches the border, one lies in a corner.
    image(
      [
        [0, 30, 9],
        [57, 57, 8],
      ],
      60,
      60,
    ),
  ]
  const x = device.tensor(Float32Array.from(cases.flatMap((c) => [...c.image])), [3, 1, 60, 60])
  let calls = 0
  const fine = (polar: Tensor) => {
    calls++
    return bright(polar)
  }
  const options = { rough: bright, fine, angles: 240, radii: 120 }
  const { mask, fused, counts, origins } = await segmentSeveral(device, x, options)
  expect(counts).toEqual([3, 0, 2])
  expect(origins!.shape).toEqual([5, 2])
  expect(calls).toBe(1)
  const [m, f] = [await mask.data(), await fused.data()]
  for (const [i, c] of cases.entries()) {
    const plane = m.subarray(i * 3600, (i + 1) * 3600)
    expect(scoreMask(plane, c.mask).dice).toBeGreaterThan(i === 1 ? 0.999 : 0.93)
    expect(Math.max(...f.subarray(i * 3600, (i + 1) * 3600))).toBe(i === 1 ? 0 : 1)
  }
  // Weights are laid back whole, by the nearest pixel: sums of 2 and 1 over the greatest, 2 + 1 + 1 and 2 + 1.
  const whole = (from: number, most: number) =>
    Array.from(f.subarray(from, from + 3600)).every((v) => Math.abs(v * most - Math.round(v * most)) < 1e-4)
  expect([whole(0, 4), whole(7200, 3)]).toEqual([true, true])
  // Batches of objects change nothing; nothing found at all is no error.
  const parted = await segmentSeveral(device, x, { ...options, objectBatch: 2 })
  expect(calls).toBe(4)
  expect([...(await parted.mask.data())]).toEqual([...m])
  const none = await segmentSeveral(device, device.full([2, 1, 16, 16], -1), options)
  expect([none.counts, none.origins]).toEqual([[0, 0], undefined])
  expect(Math.max(...(await none.mask.data()))).toBe(0)
})

test('one wait for the GPU to know the counts, however many images and objects; one for the masks', async () => {
  const device = await testDevice()
  const cases = [image(THREE, 60, 60), image([], 60, 60), image(THREE.slice(1), 60, 60)]
  const x = device.tensor(Float32Array.from(cases.flatMap((c) => [...c.image])), [3, 1, 60, 60])
  const read = vi.spyOn(device, 'read')
  const { mask } = await segmentSeveral(device, x, { rough: bright, fine: bright, objectBatch: 2 })
  expect(read).toHaveBeenCalledTimes(1)
  await mask.data()
  expect(read).toHaveBeenCalledTimes(2)
  read.mockClear()
  const other = device.full([2, 1, 40, 70], 0.5)
  const results = await segmentThenSegment(device, [x, other], {
    rough: bright,
    fine: bright,
    size: 32,
    cropBatch: 3,
  })
  expect(read).toHaveBeenCalledTimes(1)
  expect(results.map((r) => r.counts)).toEqual([
    [3, 0, 2],
    [1, 1],
  ])
  read.mockRestore()
})

test('what only one of three polar images predicts is below t₂ and removed', async () => {
  const device = await testDevice()
  const c = image(THREE, 60, 60)
  const x = device.tensor(c.image, [1, 1, 60, 60])
  // About the first object, at (14, 14), the network sees something 12 px away at 225°: around (5.5, 5.5).
  const seen = new Float32Array(3 * 120 * 240)
  for (let row = 80; row < 90; row++) seen.fill(1, row * 240 + 145, row * 240 + 155)
  const fine = (polar: Tensor) => maximum(bright(polar), device.tensor(seen, polar.shape))
  const options = { rough: bright, fine, angles: 240, radii: 120 }
  const { mask, fused } = await segmentSeveral(device, x, options)
  const [m, f] = [await mask.data(), await fused.data()]
  // The third object is seen from all: 2 + 1 + 1. This one has 1 of these 4.
  expect(f[46 * 60 + 26]).toBeCloseTo(1, 6)
  expect(f[6 * 60 + 5]).toBeCloseTo(0.25, 6)
  expect(m[6 * 60 + 5]).toBe(0)
  expect(scoreMask(m, c.mask).dice).toBeGreaterThan(0.93)
  const lower = await segmentSeveral(device, x, { ...options, high: 0.2 })
  expect((await lower.mask.data())[6 * 60 + 5]).toBe(1)
})

test('the sweep gives the scores of each mask; recall falls as thresholds rise', async () => {
  const device = await testDevice()
  const prng = new Prng(3)
  const values = Float32Array.from({ length: 2 * 12 * 12 }, () => Math.round(prng.uniform() * 8) / 8)
  const truth = Float32Array.from({ length: 2 * 12 * 12 }, (_, i) => (i % 7 < 4 ? 1 : 0))
  const [fused, y] = [device.tensor(values, [2, 1, 12, 12]), device.tensor(truth, [2, 1, 12, 12])]
  const points = await sweepThresholds(fused, y, { low: [0, 0.5], high: [0, 0.5, 0.8] })
  expect(points.map((p) => [p.low, p.high])).toEqual([
    [0, 0],
    [0, 0.5],
    [0, 0.8],
    [0.5, 0.5],
    [0.5, 0.8],
  ])
  // With t₁ = t₂ it is a threshold.
  const at = points[3]!.scores
  for (const i of [0, 1]) {
    const part = <T extends Float32Array>(a: T) => a.subarray(i * 144, (i + 1) * 144)
    const { dice, precision, recall } = scoreMask(part(values), part(truth))
    expect([at[i]!.dice, at[i]!.precision, at[i]!.recall]).toEqual([dice, precision, recall])
  }
  const recall = (k: number) => points[k]!.scores[0]!.recall
  expect(recall(0)).toBeGreaterThanOrEqual(recall(1))
  expect(recall(1)).toBeGreaterThanOrEqual(recall(3))
  expect(await sweepThresholds(fused, y, { low: [0.5], high: [0.1] })).toEqual([])
})
