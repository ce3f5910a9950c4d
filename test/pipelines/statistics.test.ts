import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  blandAltman,
  kernelDensity,
  normalBelow,
  pearson,
  wilcoxonSignedRank,
} from '../../src/pipelines/statistics.ts'
import { referenceTable } from '../reference.ts'

const cases = referenceTable<{ a: number[]; b: number[]; p: number; r: number }[]>('statistics')

describe('as SciPy', () => {
  test.each(cases.map((c) => [c.a.length, c] as const))('%d pairs', (_, { a, b, p, r }) => {
    expect(wilcoxonSignedRank(a, b).p).toBeCloseTo(p, 9)
    expect(pearson(a, b)).toBeCloseTo(r, 10)
  })

  test('the density of values', () => {
    const values = [0.1, 0.5, 0.55, 0.6, 0.72, 0.8, 0.81, 0.9]
    // scipy.stats.gaussian_kde(v, bw_method=0.05 / v.std(ddof=1))([0, 0.3, 0.58, 0.8, 1])
    const known = [
      0.13497741628297014, 0.0006728831173188625, 2.05091528322432, 2.3875802464767353, 0.13604201372738614,
    ]
    kernelDensity(values, [0, 0.3, 0.58, 0.8, 1], 0.05).forEach(
      (d, i) => void expect(d).toBeCloseTo(known[i]!, 10),
    )
  })

  test('the normal distribution', () => {
    expect(normalBelow(0)).toBe(0.5)
    expect(normalBelow(-1.959963984540054)).toBeCloseTo(0.025, 12)
    expect(normalBelow(3)).toBeCloseTo(0.9986501019683699, 12)
    expect(normalBelow(-9)).toBe(0)
  })
})

describe('properties', () => {
  const pairs = fc.array(fc.tuple(fc.integer({ min: 0, max: 20 }), fc.integer({ min: 0, max: 20 })), {
    minLength: 2,
    maxLength: 40,
  })

  test('the test is symmetric, within 0…1, and 1 for equal pairs', () => {
    fc.assert(
      fc.property(pairs, (list) => {
        const [a, b] = [list.map((p) => p[0]), list.map((p) => p[1])]
        const { p, medianDifference, sign } = wilcoxonSignedRank(a, b)
        const other = wilcoxonSignedRank(b, a)
        expect(p).toBeGreaterThanOrEqual(0)
        expect(p).toBeLessThanOrEqual(1)
        expect(other.p).toBeCloseTo(p, 12)
        expect(other.medianDifference + medianDifference).toBeCloseTo(0, 12)
        expect(other.sign + sign).toBe(0)
        expect(wilcoxonSignedRank(a, a)).toMatchObject({ p: 1, sign: 0 })
      }),
    )
  })

  test('the sign is that of the ranks, not of the mean', () => {
    const zeros = [0, 0, 0, 0, 0]
    expect(wilcoxonSignedRank([1, 1.1, 1.2, 1.3, -20], zeros).sign).toBe(1)
    expect(wilcoxonSignedRank([-1, -1.1, -1.2, -1.3, 20], zeros).sign).toBe(-1)
  })

  test('a shift is the bias, and the limits lie 1.96 SD around it', () => {
    const truth = [1, 5, 9, 20]
    const { bias, sd, limits, points } = blandAltman(
      truth.map((v, i) => v + 2 + (i % 2)),
      truth,
    )
    expect(bias).toBe(2.5)
    expect(sd).toBeCloseTo(Math.sqrt(1 / 3), 12)
    expect(limits[1] - bias).toBeCloseTo(1.96 * sd, 12)
    expect(points[0]).toEqual([2, 2])
  })

  test('lengths that differ, too few', () => {
    expect(() => wilcoxonSignedRank([1], [])).toThrow(/1 and 0 values; wants pairs/)
    expect(() => pearson([1], [1])).toThrow(/two pairs/)
    expect(() => blandAltman([1, 2], [1])).toThrow(/2 and 1 values/)
  })
})
