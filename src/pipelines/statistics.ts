import { DataError } from '../gpu/errors.ts'

/** Result of a paired test. */
export interface PairedTest {
  /** Pairs that differ. */
  readonly n: number
  /** Median of the differences `a − b`. */
  readonly medianDifference: number
  /** 1 where the ranks of positive differences outweigh, −1 where those of negative ones do, 0 where neither does. */
  readonly sign: -1 | 0 | 1
  /** Two-sided. 1 where no pair differs. */
  readonly p: number
}

/** Up to this many differing pairs without ties the exact distribution is used, as SciPy does. */
const EXACT = 50

/**
 * Wilcoxon's signed-rank test of paired values, two-sided: do `a` and `b` differ beyond chance? Pairs that are equal
 * are left out; ties share their mean rank. Exact for up to 50 pairs without ties, else by the normal approximation
 * with the tie correction.
 *
 * @param a one value an image (or fold)
 * @param b the other method's, of the same images in the same order
 * @throws DataError when the lengths differ or there are none
 */
export function wilcoxonSignedRank(a: readonly number[], b: readonly number[]): PairedTest {
  if (a.length !== b.length || a.length === 0)
    throw new DataError(`wilcoxonSignedRank: ${a.length} and ${b.length} values; wants pairs`)
  const differences = a.map((v, i) => v - b[i]!)
  const median = medianOf(differences)
  const nonzero = differences.filter((d) => d !== 0)
  const n = nonzero.length
  if (n === 0) return { n, medianDifference: median, sign: 0, p: 1 }
  const { ranks, ties } = rank(nonzero.map(Math.abs))
  const plus = nonzero.reduce((sum, d, i) => sum + (d > 0 ? ranks[i]! : 0), 0)
  const least = Math.min(plus, (n * (n + 1)) / 2 - plus)
  const sign = Math.sign(plus - (n * (n + 1)) / 4) as -1 | 0 | 1
  if (n <= EXACT && ties === 0)
    return { n, medianDifference: median, sign, p: Math.min(1, 2 * exactBelow(n, least)) }
  const mean = (n * (n + 1)) / 4
  const variance = (n * (n + 1) * (2 * n + 1) - ties / 2) / 24
  return {
    n,
    medianDifference: median,
    sign,
    p: Math.min(1, 2 * normalBelow((least - mean) / Math.sqrt(variance))),
  }
}

/** Ranks from 1, ties at their mean; and Σ(t³ − t) over the groups of t equal values. */
function rank(values: readonly number[]): { ranks: number[]; ties: number } {
  const order = values.map((_, i) => i).sort((i, j) => values[i]! - values[j]!)
  const ranks = new Array<number>(values.length)
  let ties = 0
  for (let from = 0; from < order.length; ) {
    let to = from
    while (to < order.length && values[order[to]!] === values[order[from]!]) to++
    for (let k = from; k < to; k++) ranks[order[k]!] = (from + 1 + to) / 2
    const t = to - from
    ties += t ** 3 - t
    from = to
  }
  return { ranks, ties }
}

/** P(W ≤ w) of the signed-rank statistic: sums of subsets of 1…n, each as likely as the other. */
function exactBelow(n: number, w: number): number {
  let ways = new Float64Array((n * (n + 1)) / 2 + 1)
  ways[0] = 1
  for (let r = 1; r <= n; r++) {
    const next = ways.slice()
    for (let s = r; s < ways.length; s++) next[s]! += ways[s - r]!
    ways = next
  }
  return ways.subarray(0, Math.floor(w) + 1).reduce((sum, v) => sum + v, 0) / 2 ** n
}

/**
 * Standard normal distribution below `z`, by the series of Marsaglia (2004): to 1e-15 for |z| up to 8, where the tail
 * is under 1e-15 itself.
 */
export function normalBelow(z: number): number {
  if (z < -8) return 0
  if (z > 8) return 1
  let term = z
  let sum = z
  for (let k = 3; Math.abs(term) > 1e-17; k += 2) {
    term *= (z * z) / k
    sum += term
  }
  return 0.5 + (sum * Math.exp((-z * z) / 2)) / Math.sqrt(2 * Math.PI)
}

/**
 * Pearson's correlation.
 *
 * @throws DataError when lengths differ, or there are fewer than 2 pairs. NaN where one side does not vary
 */
export function pearson(x: readonly number[], y: readonly number[]): number {
  if (x.length !== y.length || x.length < 2)
    throw new DataError(`pearson: ${x.length} and ${y.length} values; wants two pairs at least`)
  const [mx, my] = [meanOf(x), meanOf(y)]
  let [xy, xx, yy] = [0, 0, 0]
  for (let i = 0; i < x.length; i++) {
    const [dx, dy] = [x[i]! - mx, y[i]! - my]
    xy += dx * dy
    xx += dx * dx
    yy += dy * dy
  }
  return xy / Math.sqrt(xx * yy)
}

/** Agreement of two measurements: the mean of their differences and the limits that hold 95 % of them. */
export interface BlandAltman {
  /** Mean of measured − truth. */
  readonly bias: number
  /** Standard deviation of the differences (divisor n − 1). */
  readonly sd: number
  /** bias − 1.96 SD and bias + 1.96 SD. */
  readonly limits: readonly [number, number]
  /** A point a pair: mean of the two, difference. */
  readonly points: readonly (readonly [mean: number, difference: number])[]
}

/**
 * Bland and Altman's comparison of two measurements of the same things.
 *
 * @throws DataError when lengths differ, or there are fewer than 2 pairs
 */
export function blandAltman(measured: readonly number[], truth: readonly number[]): BlandAltman {
  if (measured.length !== truth.length || truth.length < 2)
    throw new DataError(
      `blandAltman: ${measured.length} and ${truth.length} values; wants two pairs at least`,
    )
  const points = measured.map((m, i) => [(m + truth[i]!) / 2, m - truth[i]!] as const)
  const differences = points.map(([, d]) => d)
  const bias = meanOf(differences)
  const sd = Math.sqrt(differences.reduce((sum, d) => sum + (d - bias) ** 2, 0) / (differences.length - 1))
  return { bias, sd, limits: [bias - 1.96 * sd, bias + 1.96 * sd], points }
}

/** Arithmetic mean; NaN of none. */
export const meanOf = (values: readonly number[]): number =>
  values.reduce((sum, v) => sum + v, 0) / values.length

function medianOf(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return (sorted[Math.floor((sorted.length - 1) / 2)]! + sorted[Math.ceil((sorted.length - 1) / 2)]!) / 2
}

/** The value that a share of sorted values lies below: linear between the values beside it, as numpy's default. */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  const at = share * (sorted.length - 1)
  const low = Math.floor(at)
  const high = Math.min(sorted.length - 1, low + 1)
  return sorted[low]! + (at - low) * (sorted[high]! - sorted[low]!)
}

/** Density of values at some places, by Gaussians of this standard deviation about each of them. */
export function kernelDensity(
  values: readonly number[],
  places: readonly number[],
  bandwidth: number,
): number[] {
  const height = 1 / (values.length * bandwidth * Math.sqrt(2 * Math.PI))
  return places.map(
    (at) => height * values.reduce((sum, v) => sum + Math.exp(-0.5 * ((at - v) / bandwidth) ** 2), 0),
  )
}
