import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Prng } from '../../src/autograd/random.ts'
import { type AugmentOptions, drawAugmentation, THESIS_AUGMENTATION } from '../../src/pipelines/augment.ts'
import { scoreMask } from '../../src/pipelines/scores.ts'
import { cartesianTask, polarTask } from '../../src/pipelines/tasks.ts'
import { testDevice } from '../device.ts'
import { discs } from './discs.ts'

const SIZE = 32

/** One augmented batch of discs: images and masks as arrays of planes. */
async function augmented(augment: AugmentOptions, seed: number) {
  const device = await testDevice()
  const samples = await Promise.all(discs(3, { size: SIZE }).map((s) => s.load()))
  const task = cartesianTask(augment)
  const args = task.feed(device, samples, new Prng(seed), true)
  const { input, target } = task.prepare(args, true)
  const planes = async (t: typeof input) => {
    const values = (await t.data()) as Float32Array
    return samples.map((_, i) => values.slice(i * SIZE * SIZE, (i + 1) * SIZE * SIZE))
  }
  return { samples, images: await planes(input), masks: await planes(target) }
}

test('image and mask move together under every draw, and masks stay zeros and ones', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 2 ** 31 }), async (seed) => {
      const { images, masks } = await augmented({ ...THESIS_AUGMENTATION, affine: 1, grid: 1 }, seed)
      masks.forEach((mask, i) => {
        expect(mask.every((v) => v === 0 || v === 1)).toBe(true)
        // The image is bright where the mask is; the two differ by a rim of interpolated pixels at most.
        const inside = images[i]!.map((v) => v + 0.5)
        expect(scoreMask(inside, mask).dice).toBeGreaterThan(0.88)
      })
    }),
    { numRuns: 12, seed: 8 },
  )
})

test('a flip mirrors image and mask exactly; no augmentation leaves both alone', async () => {
  const flip = await augmented({ flip: 1, affine: 0, grid: 0 }, 1)
  const none = await augmented({ flip: 0, affine: 0, grid: 0 }, 1)
  flip.samples.forEach((s, i) => {
    const mirrored = (plane: Float32Array) =>
      plane.map((_, k) => plane[Math.floor(k / SIZE) * SIZE + (SIZE - 1 - (k % SIZE))]!)
    expect(flip.masks[i]).toEqual(mirrored(s.mask))
    expect(none.masks[i]).toEqual(s.mask)
    mirrored(s.image).forEach((v, k) => {
      expect(flip.images[i]![k]).toBeCloseTo(v, 5)
    })
    s.image.forEach((v, k) => {
      expect(none.images[i]![k]).toBeCloseTo(v, 5)
    })
  })
})

test('the same seed draws the same, another one another', () => {
  const draw = (seed: number) => drawAugmentation(THESIS_AUGMENTATION, 8, 32, 48, new Prng(seed))
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (seed) => {
      expect(draw(seed)).toEqual(draw(seed))
      expect(draw(seed).matrices).not.toEqual(draw(seed + 1).matrices)
    }),
    { numRuns: 20 },
  )
})

test('polar origins move in training by at most their limit, and not in validation', async () => {
  const device = await testDevice()
  const samples = await Promise.all(discs(6, { size: SIZE }).map((s) => s.load()))
  const task = polarTask({ originProbability: 1, originShift: 0.05 })
  const moves = async (training: boolean) =>
    (await task.feed(device, samples, new Prng(4), training)[2]!.data()) as Float32Array
  expect([...(await moves(false))].every((v) => v === 0)).toBe(true)
  const moved = [...(await moves(true))]
  expect(moved.some((v) => v !== 0)).toBe(true)
  expect(Math.max(...moved.map(Math.abs))).toBeLessThanOrEqual(0.05 * SIZE)
})
