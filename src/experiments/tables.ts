import { quantile } from '../pipelines/statistics.ts'
import { type Experiment, SCORE_TITLES } from './experiment.ts'
import type { ExperimentResults, OverRuns, RowResult } from './results.ts'

/** A table as text, for the terminal, the report and the page. */
export interface TextTable {
  readonly title: string
  readonly columns: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

const three = (v: number): string => v.toFixed(3)
const spread = (value: OverRuns | undefined, runs: number): string =>
  value === undefined ? '–' : runs > 1 ? `${three(value.mean)} ± ${three(value.sd)}` : three(value.mean)

/** A p value as papers print it. */
export const pValue = (p: number): string => (p < 0.001 ? '< 0.001' : p.toFixed(3))

/** The label of a row with what the rows of the experiment differ in. */
export function labelsOf(rows: readonly RowResult[]): string[] {
  const sizes = new Set(rows.map((row) => row.size))
  return rows.map(({ label, size }) => (sizes.size > 1 ? `${label}, ${size}²` : label))
}

/** Rows that tables show: those that were run. The others are named with their reasons, see `missingOf`. */
export const shownRows = (results: ExperimentResults): ExperimentResults => ({
  ...results,
  rows: results.rows.filter(({ missing }) => !missing),
})

/** Ours beside the thesis's, a line a row; with p values unless `tests` is false. */
export function comparison(
  experiment: Experiment,
  results: ExperimentResults,
  { tests = true } = {},
): TextTable {
  const { id, scores, polarSpace, timed } = experiment
  if (timed) return times(experiment, results)
  const withTests = tests && results.rows.some((row) => row.test)
  const labels = labelsOf(results.rows)
  const first = scores[0]!
  const withPolar = polarSpace && results.rows.some((row) => row.polarDice)
  const withOrigins = results.rows.some((row) => row.originError)
  const runs = Math.max(1, ...results.rows.map((row) => row.runs.length))
  const over = runs > 1 ? `mean ± SD over ${runs} runs` : 'one run'
  return {
    title: `${id}: scores in Cartesian space, ${over}, ${results.rows[0]?.size ? sizesOf(results) : ''} px`,
    columns: [
      'row',
      ...scores.flatMap((name) => [
        ...(results.rows.some((row) => row.thesis[name]) ? [`thesis ${SCORE_TITLES[name]}`] : []),
        `our ${SCORE_TITLES[name]}`,
      ]),
      ...(withPolar ? ['our DSC, polar space'] : []),
      ...(withOrigins ? ['origin error, px'] : []),
      ...(withTests ? [`p, ${SCORE_TITLES[first]}`] : []),
    ],
    rows: results.rows.map((row, i) => [
      labels[i]!,
      ...scores.flatMap((name) => {
        const thesis = row.thesis[name]
        const text = thesis ? `${three(thesis.value)}${thesis.sd ? ` ± ${three(thesis.sd)}` : ''}` : '–'
        return [
          ...(results.rows.some((r) => r.thesis[name]) ? [text] : []),
          spread(row.scores?.[name], row.runs.length),
        ]
      }),
      ...(withPolar ? [spread(row.polarDice, row.runs.length)] : []),
      ...(withOrigins ? [row.originError ? row.originError.mean.toFixed(2) : '–'] : []),
      ...(withTests ? [row.test ? pValue(row.test.p) : '–'] : []),
    ]),
  }
}

/** Distances between outlines, a line a row; a dash where a row was scored before there were any. None where all were. */
export function outlines({ id }: Experiment, results: ExperimentResults): TextTable[] {
  if (!results.rows.some((row) => row.surface)) return []
  const labels = labelsOf(results.rows)
  return [
    {
      title: `${id}: outlines in Cartesian space`,
      columns: [
        'row',
        'Hausdorff 95 %',
        'mean surface distance',
        'unit',
        'boundary IoU',
        'images without distance',
      ],
      rows: results.rows.map(({ surface, runs }, i) => [
        labels[i]!,
        spread(surface?.hausdorff95, runs.length),
        spread(surface?.meanSurfaceDistance, runs.length),
        surface?.unit ?? '–',
        spread(surface?.boundaryIou, runs.length),
        surface ? String(surface.withoutDistance) : '–',
      ]),
    },
  ]
}

/** Milliseconds of an image beside the thesis's. */
function times({ id }: Experiment, results: ExperimentResults): TextTable {
  const labels = labelsOf(results.rows)
  return {
    title: `${id}: milliseconds an image, from its pixels on the GPU to its mask read back, mean ± SD over images`,
    columns: ['row', 'thesis, ms', 'ours, ms', 'networks alone, ms', 'all else, ms', 'crops an image'],
    rows: results.rows.map(({ thesisMs, time }, i) => [
      labels[i]!,
      thesisMs === undefined ? '–' : String(thesisMs),
      ...(time
        ? [
            `${time.ms.mean.toFixed(1)} ± ${time.ms.sd.toFixed(1)}`,
            time.networksMs.toFixed(1),
            Math.max(0, time.ms.mean - time.networksMs).toFixed(1),
            time.objects.toFixed(1),
          ]
        : ['–', '–', '–', '–']),
    ]),
  }
}

/** Where a row stands in a table of one score: its line, and its column. */
type Place = (row: RowResult) => readonly [line: string, column: string]

const PLACES = {
  size: ({ label, size }) => [label, `${size}²`],
  share: ({ label, share }) => [label.replace(/, \d+ %$/, ''), `${100 * share} %`],
  // As `runBoundaries` names its rows.
  points: ({ label }) => {
    const [units, line] = label.replace('perceptron of ', '').split(/, (.*)/) as [string, string]
    return [line, units]
  },
} satisfies Record<string, Place>

/** The first score of every row, with what they differ in (input size, share of the training set, width) across. */
export function across(
  { id, scores }: Experiment,
  results: ExperimentResults,
  by: keyof typeof PLACES,
): TextTable {
  const cells = new Map<string, Map<string, string>>()
  const columns = new Set<string>()
  for (const row of results.rows) {
    const [line, column] = PLACES[by](row)
    columns.add(column)
    const value = spread(row.scores?.[scores[0]!], row.runs.length)
    cells.set(line, (cells.get(line) ?? new Map<string, string>()).set(column, value))
  }
  return {
    title: `${id}: our ${SCORE_TITLES[scores[0]!]}`,
    columns: [`our ${SCORE_TITLES[scores[0]!]}`, ...columns],
    rows: [...cells].map(([line, own]) => [line, ...[...columns].map((column) => own.get(column) ?? '–')]),
  }
}

/** How scores lie over images: quartiles, a line a row. */
export function quartiles({ id, scores }: Experiment, results: ExperimentResults): TextTable {
  const name = SCORE_TITLES[scores[0]!]
  const labels = labelsOf(results.rows)
  return {
    title: `${id}: ${name} over images`,
    columns: ['row', 'images', 'least', 'lower quartile', 'median', 'upper quartile', 'greatest'],
    rows: results.rows.flatMap(({ images }, i) => {
      if (!images) return []
      const sorted = [...images.score].sort((a, b) => a - b)
      const at = (part: number): string => three(quantile(sorted, part))
      return [[labels[i]!, String(sorted.length), ...[0, 0.25, 0.5, 0.75, 1].map(at)]]
    }),
  }
}

const sizesOf = ({ rows }: ExperimentResults): string =>
  [...new Set(rows.map((row) => `${row.size}²`))].join(', ')

/** Rows that were not run, by the reason; all that lack images in one line. */
export function missingOf({ rows }: ExperimentResults): string[] {
  const labels = labelsOf(rows)
  const reasons = new Map<string, string[]>()
  const lacking: string[] = []
  for (const [i, { missing }] of rows.entries()) {
    const folder = missing?.match(/^no folder for (.*) was given$/)?.[1]
    if (folder) lacking.push(folder)
    else if (missing) reasons.set(missing, [...(reasons.get(missing) ?? []), labels[i]!])
  }
  const counts = [...new Set(lacking)].map((key) => `${key} (${rowCount(lacking.filter((k) => k === key))})`)
  return [
    ...[...reasons].map(
      ([reason, names]) => `${reason}: ${names.length > 4 ? rowCount(names) : names.join('; ')}`,
    ),
    ...(counts.length > 0 ? [`no folder was given for ${counts.join(', ')}`] : []),
  ]
}

const rowCount = ({ length }: readonly unknown[]): string => `${length} ${length === 1 ? 'row' : 'rows'}`
