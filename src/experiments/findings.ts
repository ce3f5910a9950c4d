import { blandAltman, meanOf, pearson } from '../pipelines/statistics.ts'
import { type Experiment, SCORE_TITLES } from './experiment.ts'
import { type ExperimentResults, pairedTest, type RowResult, type RowTest } from './results.ts'
import { labelsOf, pValue, type TextTable } from './tables.ts'

/** Differences at this level are called differences. */
export const LEVEL = 0.05

/** A difference of the thesis below this is none. */
const NONE = 0.005

/** A row against its baseline, ours and the thesis's. */
export interface Verdict {
  readonly label: string
  readonly arm: string
  readonly against: string
  /** Names of the folders that were trained on, and scored where that is another one. */
  readonly folders: string
  readonly score: string
  /** Of the means. */
  readonly difference: number
  readonly medianDifference: number
  readonly p: number
  readonly images: number
  /** Where it gives both values. */
  readonly thesis?: number
  /** It scored polar predictions in polar space. */
  readonly polarSpace: boolean
  readonly outcome: string
}

/**
 * What held and what did not, one a test: of the first score, then, where networks found both rows' origins, of the
 * origins' errors, which are better where they are less.
 */
export function verdicts(
  { scores, polarSpace = false }: Experiment,
  { rows, data }: ExperimentResults,
): Verdict[] {
  const labels = labelsOf(rows)
  const folderOf = (key: string): string => data.find((used) => used.key === key)?.folder ?? key
  const name = scores[0]!
  const pairs = rows.flatMap((row, i) =>
    [...(row.test ? [row.test] : []), ...(row.furtherTests ?? [])].flatMap((test) => {
      const base = baselineOf(rows, row, test)
      return base?.scores ? [{ row, label: labels[i]!, test, base }] : []
    }),
  )
  return pairs.flatMap(({ row, label, test, base }) => {
    const folders = [row.data, ...(row.on ? [row.on] : [])].map(folderOf).join(' → ')
    const about = { label, arm: row.arm, against: test.against, folders }
    const difference = row.scores![name].mean - base.scores![name].mean
    const [a, b] = [row.thesis[name]?.value, base.thesis[name]?.value]
    const thesis = a === undefined || b === undefined ? undefined : a - b
    const scored: Verdict = {
      ...{ ...about, score: SCORE_TITLES[name], difference, polarSpace },
      ...{ medianDifference: test.medianDifference, p: test.p, images: test.images },
      ...(thesis === undefined ? {} : { thesis }),
      outcome: outcomeOf({ difference, thesis, p: test.p, sign: test.sign }),
    }
    const origins = originTest(row, base)
    if (!origins) return [scored]
    const { sign, ...errors } = origins
    const outcome = outcomeOf({ difference: -errors.difference, thesis: undefined, p: errors.p, sign: -sign })
    return [scored, { ...about, ...errors, score: 'px of origin error', polarSpace: false, outcome }]
  })
}

/** Wilcoxon's test of the errors of two rows' origins, px of the input, paired by image; none of origins from the truth. */
function originTest(row: RowResult, base: RowResult) {
  if ([row, base].some(({ arm }) => arm.endsWith('truth'))) return undefined
  return pairedTest(row, base, 'originError')
}

/** In words. A mean that a few images pull the other way than the test leans is neither better nor worse. */
function outcomeOf({
  difference,
  thesis,
  p,
  sign,
}: {
  readonly difference: number
  readonly thesis: number | undefined
  readonly p: number
  readonly sign: number
}): string {
  if (p >= LEVEL) {
    if (thesis === undefined) return 'no difference shown'
    return Math.abs(thesis) < NONE ? 'no difference, nor in the thesis' : 'not shown at this size'
  }
  if (Math.sign(difference) !== sign)
    return `unclear: the test leans to ${sign > 0 ? 'a gain' : 'a loss'}, the mean the other way`
  if (thesis === undefined) return difference > 0 ? 'better' : 'worse'
  if (Math.abs(thesis) < NONE)
    return `${difference > 0 ? 'better' : 'worse'}, where the thesis has no difference`
  return difference > 0 === thesis > 0 ? 'held' : 'the opposite of the thesis'
}

/** A verdict as a sentence. */
export function sentenceOf(verdict: Verdict): string {
  const { label, against, score, difference, p, images, thesis, outcome } = verdict
  const ours = `${label}: ${signed(difference)} ${score} against ${against} (p ${pValue(p).replace(/^(?!<)/, '= ')}, ${images} images)`
  return thesis === undefined
    ? `${ours}; ${outcome}`
    : `${ours}; the thesis has ${thesisOf(verdict)}: ${outcome}`
}

/** The thesis's difference, and where it was taken. */
export const thesisOf = ({ thesis, score, polarSpace }: Verdict): string =>
  thesis === undefined ? '–' : `${signed(thesis)} ${score}${polarSpace ? ' in polar space' : ''}`

/** The row that a test names, of the same data, network, size and share. */
const baselineOf = (
  rows: readonly RowResult[],
  { data, on, network, size, share }: RowResult,
  { against }: RowTest,
): RowResult | undefined =>
  rows.find(
    (r) =>
      r.label === against &&
      r.data === data &&
      r.on === on &&
      r.network === network &&
      r.size === size &&
      r.share === share,
  )

export const signed = (v: number): string => `${v < 0 ? '−' : '+'}${Math.abs(v).toFixed(3)}`

/** How counts of pixels agree with the truth. */
export function agreements({ rows }: ExperimentResults): TextTable {
  const labels = labelsOf(rows)
  return {
    title: 'pixels an image, prediction against truth',
    columns: ['row', 'images', "Pearson's r", 'bias, px', 'limits of agreement, px', 'mean of truth, px'],
    rows: rows.flatMap(({ images }, i) => {
      if (!images || images.ids.length < 2) return []
      const { bias, limits } = blandAltman(images.measured, images.truth)
      const r = pearson(images.measured, images.truth).toFixed(3)
      const [low, high] = limits.map((v) => v.toFixed(1)) as [string, string]
      const mean = meanOf(images.truth).toFixed(1)
      return [[labels[i]!, String(images.ids.length), r, bias.toFixed(1), `${low} to ${high}`, mean]]
    }),
  }
}

/** How DSC falls with the error of the origin; origins from the truth have none. */
export function centres({ rows }: ExperimentResults): TextTable {
  const labels = labelsOf(rows)
  return {
    title: 'error of the origin against DSC',
    columns: [
      'row',
      'images',
      'error, px of the input',
      "Pearson's r with DSC",
      'DSC, nearer half',
      'DSC, farther half',
    ],
    rows: rows.flatMap(({ arm, images }, i) => {
      const errors = images?.originError
      if (!errors || errors.length < 2 || arm.endsWith('truth')) return []
      const order = errors.map((_, k) => k).sort((a, b) => errors[a]! - errors[b]!)
      const half = Math.floor(order.length / 2)
      const dice = (places: readonly number[]) => meanOf(places.map((k) => images.dice[k]!)).toFixed(3)
      const r = pearson(errors, images.dice).toFixed(3)
      const halves = [dice(order.slice(0, half)), dice(order.slice(half))]
      return [[labels[i]!, String(order.length), meanOf(errors).toFixed(2), r, ...halves]]
    }),
  }
}

/** Epochs that a table of a learning curve shows at most. */
const EPOCHS = 8

/** Validation DSC over the epochs of the first run. */
export function learning({ curves }: ExperimentResults): TextTable {
  const shown = curves.filter(({ scoreName }) => scoreName === 'DSC')
  const last = Math.max(1, ...shown.map(({ validation }) => validation.length))
  const steps = Math.min(EPOCHS, last)
  const epochs = Array.from({ length: steps }, (_, i) => Math.round(((i + 1) * last) / steps))
  return {
    title: 'validation DSC by epoch, first run, each network in its own space',
    columns: ['network', ...epochs.map((epoch) => `epoch ${epoch}`)],
    rows: shown.map(({ data, title, validation }) => [
      `${data}, ${title}`,
      ...epochs.map((epoch) => validation[epoch - 1]?.toFixed(3) ?? '–'),
    ]),
  }
}
