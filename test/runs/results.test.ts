import { expect, test } from 'vitest'
import type { Evaluated } from '../../src/pipelines/evaluate.ts'
import type { Scored } from '../../src/runs/methods/method.ts'
import { summaryOf } from '../../src/runs/results.ts'

function scoredOf(images: readonly (readonly [group: string, dice: number, originError?: number])[]): Scored {
  return {
    key: 'polar-a',
    label: 'Polar',
    images: images.map(([group, dice, originError], i): Evaluated => {
      const rest = { iou: 0, precision: 0, recall: 0, accuracy: 0, thresholdedJaccard: 0 }
      const outlines = { hausdorff95: 1, meanSurfaceDistance: 1, boundaryIou: 1 }
      return {
        ...{ id: `${i}`, group, scores: { dice, ...rest, ...outlines } },
        ...(originError === undefined ? {} : { originError }),
        ...{ prediction: new Float32Array(1), height: 1, width: 1 },
      }
    }),
  }
}

test('by patient: the mean over the slices of each, then over patients; not where every image stands alone', () => {
  const { cartesian, byPatient } = summaryOf(
    scoredOf([
      ['a', 0.9],
      ['a', 0.7],
      ['a', 0.8],
      ['b', 0.2],
    ]),
  )
  expect(cartesian.dice.count).toBe(4)
  expect(cartesian.dice.mean).toBeCloseTo(0.65, 12)
  expect(byPatient!.dice.count).toBe(2)
  expect(byPatient!.dice.mean).toBeCloseTo(0.5, 12)
  expect(byPatient!.dice.sd).toBeCloseTo(Math.sqrt(0.18), 12)
  expect(summaryOf(scoredOf([['a', 1], ['b', 0]])).byPatient).toBeUndefined() // biome-ignore format: two images
})

test('origins: mean distance, and mean of its squares', () => {
  const { originError, originMse } = summaryOf(scoredOf([['a', 1, 1], ['b', 1, 3]])) // biome-ignore format: two images
  expect([originError!.mean, originMse]).toEqual([2, 5])
})
