import { expect, test } from 'vitest'
import type { Device } from '../../src/autograd/device.ts'
import type { SampleData } from '../../src/data/dataset.ts'
import { scoreMask } from '../../src/pipelines/scores.ts'
import type { Method } from '../../src/runs/methods/method.ts'
import { predictMasks, type Refinement } from '../../src/runs/predict.ts'
import type { Settings } from '../../src/runs/settings.ts'
import { testDevice } from '../device.ts'

/** A method without networks: its map is `see` of the image. */
const methodOf = (see: (image: Float32Array) => Float32Array): Method => ({
  title: '',
  arms: ['only'],
  networks: () => [],
  score: async (_, __, samples) => {
    const images = await Promise.all(
      samples.map(async ({ id, group, load }) => {
        const prediction = see((await load()).image)
        return { id, group, prediction, scores: scoreMask(prediction, prediction) }
      }),
    )
    return [{ key: 'only', label: '', images: images as never }]
  },
})

const [height, width] = [3, 4]
const sample = (image: readonly number[]): SampleData => ({
  ...{ image: Float32Array.from(image), mask: new Float32Array(12), height, width, channels: 1 },
})

const predict = async (
  image: readonly number[],
  see: (image: Float32Array) => Float32Array,
  refinement: Refinement,
) => {
  const device: Device = await testDevice()
  const settings = {} as Settings
  return [...(await predictMasks(device, methodOf(see), settings, {}, [sample(image)], refinement))[0]!]
}

test('a method that sees pixels alone is unmoved by flips; one that sees the first pixel is averaged', async () => {
  const image = Array.from({ length: 12 }, (_, i) => (i + 1) / 16)
  for (const flip of ['x', 'y', 'xy'] as const)
    expect(await predict(image, (v) => v.map((p) => p * p), { flip })).toEqual(image.map((p) => p * p))
  const corner = (v: Float32Array) => v.map((p, i) => (i === 0 ? p : 0))
  const at = async (flip: 'x' | 'y' | 'xy') =>
    (await predict(image, corner, { flip })).map((v, i) => Math.round(100 * (v / image[i]!)))
  expect(await at('x')).toEqual([50, 0, 0, 50, 0, 0, 0, 0, 0, 0, 0, 0])
  expect(await at('y')).toEqual([50, 0, 0, 0, 0, 0, 0, 0, 50, 0, 0, 0])
  expect(await at('xy')).toEqual([25, 0, 0, 25, 0, 0, 0, 0, 25, 0, 0, 25])
})

test('holes are filled before the largest components are kept', async () => {
  const on = 0.9
  // A 3×3 ring of 8 pixels; without its hole it has 9. And a pixel of its own.
  const ring = [on, on, on, 0, on, 0.1, on, 0, on, on, on, 0]
  const same = (v: Float32Array) => v
  expect(await predict(ring, same, { fillHoles: true, keepLargest: 1 })).toEqual([
    ...[1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0],
  ])
  const apart = [on, on, 0, on, 0, 0, 0, 0, on, on, on, 0]
  expect(await predict(apart, same, { keepLargest: 2 })).toEqual([1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0])
})
