import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { centreMse, maskCentre, scoreMask, summarize, summarizeScores } from '../../src/pipelines/scores.ts'

describe('scoreMask', () => {
  test('by hand: 2 true positives, 1 false positive, 1 false negative, 2 true negatives', () => {
    const scores = scoreMask([0.9, 0.8, 0.7, 0.1, 0, 0.5], [1, 1, 0, 1, 0, 0])
    expect(scores.dice).toBeCloseTo(4 / 6, 12)
    expect(scores.iou).toBeCloseTo(2 / 4, 12)
    expect(scores.precision).toBeCloseTo(2 / 3, 12)
    expect(scores.recall).toBeCloseTo(2 / 3, 12)
    expect(scores.accuracy).toBeCloseTo(4 / 6, 12)
    expect(scores.thresholdedJaccard).toBe(0)
  })

  test('the thresholded Jaccard keeps 0.65 and more', () => {
    const truth = new Array(100).fill(1)
    const filled = (n: number) => truth.map((_, i) => (i < n ? 1 : 0))
    expect(scoreMask(filled(65), truth).thresholdedJaccard).toBe(0.65)
    expect(scoreMask(filled(64), truth).thresholdedJaccard).toBe(0)
  })

  test('empty truth and prediction score 1, one of them alone 0', () => {
    const all = { dice: 1, iou: 1, precision: 1, recall: 1, accuracy: 1, thresholdedJaccard: 1 }
    expect(scoreMask([0, 0], [0, 0])).toEqual(all)
    const none = { dice: 0, iou: 0, precision: 0, recall: 0, accuracy: 0.5, thresholdedJaccard: 0 }
    expect(scoreMask([1, 0], [0, 0])).toEqual(none)
    expect(scoreMask([0, 0], [1, 0])).toEqual(none)
  })

  const mask = (n: number) => fc.array(fc.integer({ min: 0, max: 1 }), { minLength: n, maxLength: n })
  const pair = fc.integer({ min: 1, max: 40 }).chain((n) => fc.tuple(mask(n), mask(n)))

  test('within 0…1; a mask against itself is 1; swapping turns precision into recall', () => {
    fc.assert(
      fc.property(pair, ([a, b]) => {
        const scores = scoreMask(a, b)
        for (const value of Object.values(scores)) expect(value >= 0 && value <= 1).toBe(true)
        expect(Object.values(scoreMask(a, a)).every((v) => v === 1)).toBe(true)
        const swapped = scoreMask(b, a)
        expect([swapped.precision, swapped.recall]).toEqual([scores.recall, scores.precision])
        expect([swapped.dice, swapped.iou]).toEqual([scores.dice, scores.iou])
      }),
    )
  })

  test('Dice and IoU say the same: D = 2J / (1 + J); Dice is the harmonic mean of precision and recall', () => {
    fc.assert(
      fc.property(pair, ([a, b]) => {
        const { dice, iou, precision, recall } = scoreMask(a, b)
        expect(dice).toBeCloseTo((2 * iou) / (1 + iou), 10)
        if (precision + recall > 0)
          expect(dice).toBeCloseTo((2 * precision * recall) / (precision + recall), 10)
      }),
    )
  })

  test('lengths that differ, NaN', () => {
    expect(() => scoreMask([1], [1, 0])).toThrow(/1 pixels, truth has 2/)
    expect(() => scoreMask([], [])).toThrow(/over 0/)
    expect(() => scoreMask([1, Number.NaN], [1, 0])).toThrow(/prediction 1 is NaN/)
  })
})

test('maskCentre keeps the fraction; an empty mask gives the image centre', () => {
  expect(maskCentre([0, 0, 0, 0, 1, 1], 2, 3)).toEqual([1.5, 1])
  expect(maskCentre([0, 0, 0, 0, 0, 0], 2, 3)).toEqual([1, 0.5])
})

test('centreMse', () => {
  expect(
    centreMse(
      [
        [0, 0],
        [3, 4],
      ],
      [
        [0, 0],
        [0, 0],
      ],
    ),
  ).toBe(12.5)
  expect(() => centreMse([[0, 0]], [])).toThrow(/1 predicted centres, 0 true/)
})

test('summarize', () => {
  expect(summarize([4, 1, 3, 2])).toEqual({ count: 4, mean: 2.5, median: 2.5, sd: Math.sqrt(5 / 3) })
  expect(summarize([7])).toEqual({ count: 1, mean: 7, median: 7, sd: 0 })
  expect(summarize([3, 1, 2]).median).toBe(2)
  expect(() => summarize([])).toThrow(/no values/)
  const scores = summarizeScores([scoreMask([1, 0], [1, 0]), scoreMask([0, 1], [1, 0])])
  expect([scores.dice.mean, scores.dice.median, scores.iou.count]).toEqual([0.5, 0.5, 2])
})
