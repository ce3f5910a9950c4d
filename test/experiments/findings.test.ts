import { expect, test } from 'vitest'
import { EXPERIMENTS } from '../../src/experiments/catalogue.ts'
import { centres, sentenceOf, verdicts } from '../../src/experiments/findings.ts'
import type { ExperimentResults, RowResult } from '../../src/experiments/results.ts'
import { across, quartiles } from '../../src/experiments/tables.ts'

const experiment = EXPERIMENTS.find((e) => e.id === 'table-5.2')!
const SCORES = ['dice', 'iou', 'precision', 'recall', 'thresholdedJaccard'] as const

function rowOf(label: string, mean: number, rest: Partial<RowResult> = {}): RowResult {
  const means = Object.fromEntries(SCORES.map((name) => [name, mean]))
  const scores = Object.fromEntries(SCORES.map((name) => [name, { mean, sd: 0 }]))
  return {
    ...{ label, data: 'cells', method: 'crops', arm: label, network: 'unet', size: 64, share: 1, thesis: {} },
    ...{ runs: [{ key: label, seed: 1, means }], scores },
    ...rest,
  } as RowResult
}

const resultsOf = (rows: RowResult[]): ExperimentResults =>
  ({
    rows,
    data: [{ key: 'cells', title: 'DSB', folder: 'nuclei' }],
    curves: [],
  }) as unknown as ExperimentResults

const thesis = (value: number) => ({ dice: { value } })
const testOf = (p: number, sign: 1 | -1) => ({ against: 'rough', images: 9, medianDifference: 0.1, sign, p })

test('verdicts: held, the opposite, not shown, and unclear where mean and test lean apart', () => {
  const rough = rowOf('rough', 0.6, { thesis: thesis(0.7) })
  const against = (mean: number, p: number, sign: 1 | -1, value?: number) => {
    const crops = rowOf('crops', mean, {
      test: testOf(p, sign),
      ...(value === undefined ? {} : { thesis: thesis(value) }),
    })
    return verdicts(experiment, resultsOf([rough, crops]))[0]!
  }
  expect(against(0.7, 0.01, 1, 0.8)).toMatchObject({ outcome: 'held', folders: 'nuclei' })
  expect(against(0.5, 0.01, -1, 0.8).outcome).toBe('the opposite of the thesis')
  expect(against(0.5, 0.01, -1, 0.6).outcome).toBe('held')
  expect(against(0.7, 0.06, 1, 0.8).outcome).toBe('not shown at this size')
  expect(against(0.7, 0.06, 1, 0.701).outcome).toBe('no difference, nor in the thesis')
  expect(against(0.7, 0.01, -1, 0.8).outcome).toBe(
    'unclear: the test leans to a loss, the mean the other way',
  )
  expect(against(0.7, 0.01, 1).outcome).toBe('better')
  expect(against(0.5, 0.01, -1).outcome).toBe('worse')
  expect(against(0.5, 0.2, -1).outcome).toBe('no difference shown')
  expect(sentenceOf(against(0.7, 0.01, 1, 0.8))).toBe(
    'crops: +0.100 DSC against rough (p = 0.010, 9 images); the thesis has +0.100 DSC: held',
  )
})

test('several tests a row, and errors of origins beside the score: less is better, none of origins from the truth', () => {
  const ids = Array.from({ length: 8 }, (_, i) => `i${i}`)
  const images = (errors: number[]) => ({
    ...{ ids, score: errors, dice: errors, measured: errors, truth: errors, originError: errors },
  })
  const errors = [1, 2, 3, 4, 5, 6, 7, 8]
  const far = rowOf('A', 0.6, { arm: 'polar-a', images: images(errors) })
  const truth = rowOf('GT', 0.9, { arm: 'polar-truth', images: images(errors.map(() => 0)) })
  const near = rowOf('B', 0.7, {
    arm: 'polar-b',
    // In another order; each 0.1 to 0.8 px nearer.
    images: {
      ...images(errors.map((e) => 0.9 * e).reverse()),
      ids: [...ids].reverse(),
    },
    test: { ...testOf(0.2, 1), against: 'A' },
    furtherTests: [{ ...testOf(0.01, -1), against: 'GT' }],
  })
  const found = verdicts(experiment, resultsOf([far, truth, near]))
  expect(found.map(sentenceOf)).toEqual([
    'B: +0.100 DSC against A (p = 0.200, 9 images); no difference shown',
    // Eight of eight nearer: 2 / 2⁸.
    'B: −0.450 px of origin error against A (p = 0.008, 8 images); better',
    'B: −0.200 DSC against GT (p = 0.010, 9 images); worse',
  ])
  expect(found[1]).toMatchObject({ medianDifference: expect.closeTo(-0.45), arm: 'polar-b' })
})

test('tables of figures: sizes across, quartiles between values, halves of images by the error of their origin', () => {
  const images = (score: number[], originError?: number[]) => ({
    ...{ ids: score.map(String), score, dice: score, measured: score, truth: score },
    ...(originError ? { originError } : {}),
  })
  const rows = [
    rowOf('rough', 0.6, { images: images([0, 0.4, 1, 0.8]) }),
    rowOf('rough', 0.65, { size: 128 }),
    rowOf('crops', 0.7, { size: 128, arm: 'polar-a', images: images([0.9, 0.1, 0.7, 0.3], [1, 8, 2, 9]) }),
  ]
  const results = resultsOf(rows)
  expect(across(experiment, results, 'size')).toMatchObject({
    columns: ['our DSC', '64²', '128²'],
    rows: [
      ['rough', '0.600', '0.650'],
      ['crops', '–', '0.700'],
    ],
  })
  expect(quartiles(experiment, results).rows[0]).toEqual([
    'rough, 64²',
    '4',
    '0.000',
    '0.300',
    '0.600',
    '0.850',
    '1.000',
  ])
  expect(centres(results).rows).toEqual([['crops, 128²', '4', '5.00', '-0.939', '0.800', '0.200']])
})
