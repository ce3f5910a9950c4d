import { DataError } from '../gpu/errors.ts'

/** What a split needs to know of a sample: samples of one group (a patient) never part. */
export interface Grouped {
  id: string
  group: string
}

/** How `splitDataset` divides. */
export interface SplitOptions<Part extends string> {
  /** Parts by name with their shares, which sum to 1; for example `{ train: 0.8, validation: 0.1, test: 0.1 }`. */
  fractions: Record<Part, number>
  /** Another seed gives another division. */
  seed: number
  /**
   * `group` (default): groups in a seeded order are dealt out so that the number of groups in each part is
   * as near to its share as can be, and no part with a share is empty. `hash`: each group's part follows
   * from a hash of its name and the seed alone, so that adding files never moves another one; parts have
   * their shares on average only, and a small set may leave one empty.
   */
  by?: 'group' | 'hash'
}

/**
 * Divides samples into disjoint parts that together hold all of them; a group lies in one part only. The
 * result depends on ids, groups and the seed, not on the order in which samples come.
 *
 * @param samples in any order; the parts keep it
 * @returns the samples of each part, by the part's name
 * @throws DataError when the shares do not sum to 1, or there are fewer groups than parts (`group` only)
 */
export function splitDataset<T extends Grouped, Part extends string>(
  samples: readonly T[],
  options: SplitOptions<Part>,
): Record<Part, T[]> {
  const { fractions, seed, by = 'group' } = options
  const names = Object.keys(fractions) as Part[]
  const shares = names.map((name) => fractions[name])
  const total = shares.reduce((sum, share) => sum + share, 0)
  if (shares.some((share) => !(share >= 0)) || Math.abs(total - 1) > 1e-6) {
    const given = names.map((name) => `${name} ${fractions[name]}`).join(', ')
    throw new DataError(`splitDataset: fractions (${given}) must be at least 0 and sum to 1`)
  }
  const groups = orderByHash(new Set(samples.map((sample) => sample.group)), `split:${seed}`)
  const part = new Map<string, Part>()
  if (by === 'hash') {
    for (const group of groups) part.set(group, names[pick(shares, unitHash(`split:${seed}`, group))]!)
  } else {
    const counts = apportion(shares, groups.length, names)
    let next = 0
    counts.forEach((count, i) => {
      for (let k = 0; k < count; k++) part.set(groups[next++]!, names[i]!)
    })
  }
  const result = Object.fromEntries(names.map((name) => [name, [] as T[]])) as Record<Part, T[]>
  for (const sample of samples) result[part.get(sample.group)!].push(sample)
  return result
}

/**
 * A seeded subset for learning curves over the size of the training set. Subsets of one seed are nested:
 * that of 0.25 lies inside that of 0.5.
 *
 * @param samples in any order; the subset keeps it
 * @param fraction over 0, up to 1; at least one sample is taken
 * @throws DataError when the fraction is out of range
 */
export function shareOf<T extends { id: string }>(
  samples: readonly T[],
  fraction: number,
  seed: number,
): T[] {
  if (!(fraction > 0 && fraction <= 1)) {
    throw new DataError(`shareOf: fraction ${fraction} must lie over 0 and up to 1`)
  }
  const order = orderByHash(new Set(samples.map((sample) => sample.id)), `share:${seed}`)
  const kept = new Set(order.slice(0, Math.max(1, Math.round(order.length * fraction))))
  return samples.filter((sample) => kept.has(sample.id))
}

/**
 * k-fold cross-validation by group: every sample is in the test part of exactly one fold, and folds differ
 * by at most one group.
 *
 * @param k number of folds, 2 up to the number of groups
 * @returns k pairs of train and test samples
 * @throws DataError when k does not fit the number of groups
 */
export function kFold<T extends Grouped>(
  samples: readonly T[],
  k: number,
  seed: number,
): { train: T[]; test: T[] }[] {
  const groups = orderByHash(new Set(samples.map((sample) => sample.group)), `fold:${seed}`)
  if (!Number.isInteger(k) || k < 2 || k > groups.length) {
    throw new DataError(`kFold: ${k} folds of ${groups.length} groups; k must be 2 to the number of groups`)
  }
  const fold = new Map(groups.map((group, i) => [group, i % k]))
  return Array.from({ length: k }, (_, i) => ({
    train: samples.filter((sample) => fold.get(sample.group) !== i),
    test: samples.filter((sample) => fold.get(sample.group) === i),
  }))
}

/**
 * A 32-bit hash of salt and text as a number in [0, 1): FNV-1a over UTF-16 units, then MurmurHash3's final
 * mix. The same on every machine; not for secrets.
 */
export function unitHash(salt: string, text: string): number {
  let hash = 0x811c9dc5
  const whole = `${salt}\u0000${text}`
  for (let i = 0; i < whole.length; i++) hash = Math.imul(hash ^ whole.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32
}

/** Sorted by hash, equal hashes by name, so that the order is total. */
function orderByHash(names: Iterable<string>, salt: string): string[] {
  return Array.from(names, (name) => ({ name, at: unitHash(salt, name) }))
    .sort((a, b) => a.at - b.at || (a.name < b.name ? -1 : 1))
    .map(({ name }) => name)
}

/** Index of the part whose stretch of [0, 1) holds `at`. */
function pick(shares: readonly number[], at: number): number {
  let end = 0
  let last = 0
  for (let i = 0; i < shares.length; i++) {
    if (shares[i]! === 0) continue
    end += shares[i]!
    last = i
    if (at < end) return i
  }
  return last
}

/** Whole numbers that sum to `count` and are nearest to the shares (largest remainder), none of them 0. */
function apportion(shares: readonly number[], count: number, names: readonly string[]): number[] {
  const wanted = shares.filter((share) => share > 0).length
  if (count < wanted) {
    throw new DataError(
      `splitDataset: ${count} groups cannot fill ${wanted} parts (${names.join(', ')}); add data or drop a part`,
    )
  }
  const counts = shares.map((share) => Math.floor(share * count + 1e-9))
  const rest = shares.map((share, i) => ({ i, left: share * count - counts[i]! }))
  rest.sort((a, b) => b.left - a.left || a.i - b.i)
  let missing = count - counts.reduce((sum, n) => sum + n, 0)
  for (let k = 0; missing > 0; k = (k + 1) % rest.length) {
    const { i } = rest[k]!
    if (shares[i]! === 0) continue
    counts[i]!++
    missing--
  }
  for (let i = 0; i < counts.length; i++) {
    if (shares[i]! === 0 || counts[i]! > 0) continue
    counts[counts.indexOf(Math.max(...counts))]!--
    counts[i] = 1
  }
  return counts
}
