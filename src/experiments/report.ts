import { readFile } from 'node:fs/promises'
import { writeReport } from '../node/report.ts'
import { agreementChart } from '../report/agreement.ts'
import { precisionRecall, trainingCurves } from '../report/plots.ts'
import type { Report } from '../report/report.ts'
import { kindOf } from '../runs/network-kinds.ts'
import { lines, type Series, scatter, violins } from './charts.ts'
import { type Experiment, SCORE_TITLES, type ScoreName } from './experiment.ts'
import { signed, verdicts } from './findings.ts'
import { commandOf, type Scale } from './jobs.ts'
import type { ExperimentResults, RowResult } from './results.ts'
import { pictureFile } from './run.ts'
import { comparison, labelsOf, missingOf, outlines, pValue, shownRows } from './tables.ts'

const OUTLINES =
  'Distances between the outlines of prediction and truth, in mm where the files tell a spacing, else in px of the scored images. An image in which one of the two masks is empty has none and is not in these means. Boundary IoU: of bands inside the masks along both outlines, 2 % of the diagonal wide.'

const isDone = (row: RowResult): row is RowResult & Required<Pick<RowResult, 'images' | 'scores'>> =>
  row.images !== undefined

/** Writes an experiment's page: the thesis's numbers, ours, and what the experiment shows as figures. */
export async function writeExperimentReport(
  path: string,
  out: string,
  experiment: Experiment,
  results: ExperimentResults,
  pictures: NonNullable<Report['overlays']> = [],
): Promise<void> {
  const report = await reportOf(out, experiment, results)
  await writeReport(path, { ...report, overlays: [...(report.overlays ?? []), ...pictures] })
}

async function reportOf(out: string, experiment: Experiment, results: ExperimentResults): Promise<Report> {
  const { figures, scores, polarSpace, timed } = experiment
  const table = comparison(experiment, shownRows(results), { tests: false })
  const missing = missingOf(results)
  const first = scores[0] ? SCORE_TITLES[scores[0]] : ''
  const labels = labelsOf(results.rows)
  const rows = results.rows.map((row, i) => ({ ...row, label: labels[i]! })).filter(isDone)
  const sets = [...new Set(rows.map(setOf))]
  const groups = sets.map((set) => ({
    set,
    groups: rows
      .filter((row) => setOf(row) === set)
      .map(({ label, images }) => ({ name: label, values: images.score })),
  }))
  const has = (figure: (typeof figures)[number]): boolean => figures.includes(figure)
  const charts: NonNullable<Report['charts']>[number][] = []
  const each = async (
    title: string,
    draw: (set: string) => Promise<{ svg: string; caption?: string } | undefined>,
  ) => {
    for (const set of sets) {
      const drawn = await draw(set)
      if (drawn) charts.push({ title: `${set}: ${title}`, ...drawn })
    }
  }
  if (has('share'))
    await each('share of the training set', async (set) =>
      drawn(
        seriesBy(results, set, scores[0]!, (row) => 100 * row.share),
        (series) => lines(series, 'share of the training set, %', first),
      ),
    )
  if (has('size'))
    await each('input size', async (set) =>
      drawn(
        seriesBy(results, set, scores[0]!, (row) => row.size),
        (series) => lines(series, 'input size, px', first),
      ),
    )
  if (has('centre-error'))
    await each('error of the centre', async (set) =>
      drawn(centreSeries(rows, set), (series) =>
        scatter(series, "error of the centre, px of the network's input", 'DSC in Cartesian space'),
      ),
    )
  if (has('violins'))
    for (const { set, groups: g } of groups)
      charts.push({ title: `${set}: density over images`, svg: await violins(g, first) })
  if (has('precision-recall'))
    await each('precision and recall', async (set) => {
      const series = rows
        .filter((r) => setOf(r) === set)
        .map(({ label, precisionRecall: curve, thresholds }) => ({
          name: label,
          points: thresholds?.filter(({ low }) => low === 0) ?? curve!,
        }))
      const caption =
        'Thresholds of the map from 0.05 to 0.95, over all pixels of all images; of fused maps t₂ from 0 to 0.9 at t₁ = 0, mean over images.'
      return { svg: await precisionRecall(series), caption }
    })
  if (has('bland-altman'))
    for (const { label, images } of rows)
      if (images.ids.length > 1) {
        const { measured, truth } = images
        charts.push(await agreementChart(`${label}: agreement`, measured, truth, 'pixels an image'))
      }
  return {
    title: `${results.experiment}: ${results.title}`,
    summary: `Section ${results.section} of the thesis. ${scaleText(results)}`,
    adapter: results.adapter,
    facts: [...factsOf(experiment, results), ...missing.map((text): [string, string] => ['Not run', text])],
    tables: [
      {
        ...table,
        note: timed
          ? 'Networks alone: the same passes through both networks and nothing between them.'
          : 'Where truth and prediction are both empty, an image scores 1; where one of them is, 0.' +
            (polarSpace
              ? ' The thesis scored polar predictions in polar space against the polar truth: its numbers compare with the column of polar space; the Cartesian scores are those of the masks that a user gets.'
              : ''),
      },
      ...outlines(experiment, shownRows(results)).map((t) => ({ ...t, note: OUTLINES })),
      ...testTables(experiment, shownRows(results)),
    ],
    ...(has('learning-curves') ? { curves: curvesOf(results) } : {}),
    ...(has('spread')
      ? {
          distributions: groups.map(({ set, groups: g }) => ({
            title: `${set}: ${first} of the images`,
            xLabel: `${first} in Cartesian space`,
            groups: g,
          })),
        }
      : {}),
    charts,
    ...(has('overlays') ? { overlays: await overlaysOf(out, rows) } : {}),
  }
}

const setOf = ({ data, on }: RowResult): string => (on ? `${data} → ${on}` : data)

async function drawn(series: readonly Series[], draw: (series: readonly Series[]) => Promise<string>) {
  const kept = series.filter(({ points }) => points.length > 0)
  return kept.length === 0 ? undefined : { svg: await draw(kept) }
}

/** The rows of a data set as lines: one a method's arm and network, a point a share or size. */
function seriesBy(
  { rows }: ExperimentResults,
  set: string,
  score: ScoreName,
  x: (row: RowResult) => number,
): Series[] {
  const byLine = new Map<string, Series['points'][number][]>()
  for (const row of rows) {
    if (setOf(row) !== set || !row.scores) continue
    const name = row.label.replace(/, \d+ %$/, '')
    const { mean, sd } = row.scores[score]
    byLine.set(name, [...(byLine.get(name) ?? []), { x: x(row), y: mean, sd }])
  }
  return [...byLine].map(([name, points]) => ({ name, points: points.sort((a, b) => a.x - b.x) }))
}

const centreSeries = (
  rows: readonly (RowResult & Required<Pick<RowResult, 'images'>>)[],
  set: string,
): Series[] =>
  rows.flatMap((row) => {
    const errors = row.images.originError
    // Origins from the truth have no error to show.
    if (setOf(row) !== set || !errors || row.arm.endsWith('truth')) return []
    return [{ name: row.label, points: errors.map((x, i) => ({ x, y: row.images.dice[i]! })) }]
  })

/** A line a test: those of the first score, and those of the errors of origins. */
function testTables(
  experiment: Experiment,
  results: ExperimentResults,
): NonNullable<Report['tables']>[number][] {
  const all = verdicts(experiment, results)
  return [...new Set(all.map(({ score }) => score))].map((score) => ({
    title: `Paired tests by image, ${score} (Wilcoxon's signed-rank, two-sided)`,
    columns: ['row', 'against', 'images', 'difference of means', 'median difference', 'p'],
    rows: all
      .filter((verdict) => verdict.score === score)
      .map(({ label, against, images, difference, medianDifference, p }) => [
        ...[label, against, String(images)],
        ...[signed(difference), signed(medianDifference), pValue(p)],
      ]),
  }))
}

/** Learning curves of the first run, by data set and size. */
function curvesOf({ curves }: ExperimentResults): NonNullable<Report['curves']> {
  const setOf = ({ data, size }: (typeof curves)[number]) => `${data}, ${size}²`
  return [...new Set(curves.map(setOf))].flatMap((set) =>
    trainingCurves(
      `${set}, first run`,
      curves.filter((c) => setOf(c) === set),
    ),
  )
}

/** What was run, in a sentence. */
export function scaleText({ scale, rows, data }: ExperimentResults): string {
  if (data.length === 0)
    return `Perceptrons of two hidden layers on ${rows[0]!.size}² points inside and outside a disc, ${scale.seeds.length} ${scale.seeds.length === 1 ? 'seed' : 'seeds'}.`
  const {
    features,
    epochs,
    batch,
    lr,
    schedule,
    augment,
    seeds,
    folds,
    subset,
    skip,
    networks,
    sigma,
    plateau,
    sets,
    batchAt,
  } = scale
  if (rows.some((row) => row.time))
    return `Networks of ${features} features with random weights, an image at a time; a perfect rough mask decides on the crops.`
  const used = data.filter(({ folder }) => folder !== undefined).map(({ key }) => key)
  const sizes = [...new Set(rows.filter((r) => !r.missing).map((row) => `${row.size}²`))].join(', ')
  return (
    `Run at ${sizes} px, ${features} features, ${epochs === null ? 'epochs by the number of images' : `${epochs} epochs`}, batch ${batch}, ` +
    `learning rate ${lr} (${plateau ? `a tenth after ${plateau} epochs without a better one` : schedule}), ${othersText(used, sets, batchAt)}augmentation ${augment}, ${seeds.length === 1 ? `seed ${seeds[0]}` : `seeds ${seeds.slice(0, -1).join(', ')} and ${seeds.at(-1)}`}, ` +
    `${folds === 0 ? 'one split 80/10/10' : `${folds} folds`}${subset < 1 ? `, ${100 * subset} % of the data` : ''}${skip ? `, after the first ${100 * skip} %` : ''}${sigma ? `, heatmaps of σ ${sigma} px at 256` : ''}${networks ? `; of the networks ${networks.map((n) => kindOf(n).title).join(', ')} alone` : ''}.`
  )
}

const percent = (part: number): string => String(Math.round(100 * part))

/** Where data sets or sizes were trained otherwise. */
function othersText(
  used: readonly string[],
  sets: Scale['sets'] = {},
  batchAt: Scale['batchAt'] = {},
): string {
  const of = ({
    epochs,
    batch,
    heatmapBatch,
    lr,
    validation,
    test = 0,
  }: NonNullable<NonNullable<Scale['sets']>[string]>) =>
    [
      ...(epochs === undefined ? [] : [`${epochs} epochs`]),
      ...(batch === undefined ? [] : [`batch ${batch}`]),
      ...(heatmapBatch === undefined ? [] : [`batch ${heatmapBatch} of heatmaps`]),
      ...(lr === undefined ? [] : [`learning rate ${lr}`]),
      ...(validation === undefined
        ? []
        : [`a split of ${[1 - validation - test, validation, test].map(percent).join('/')}`]),
    ].join(' and ')
  const texts = [
    ...used.flatMap((data) => (sets[data] && of(sets[data]) ? [`of ${data} ${of(sets[data])}`] : [])),
    ...Object.entries(batchAt).map(([size, batch]) => `at ${size}² batch ${batch}`),
  ]
  return texts.map((text) => `${text}, `).join('')
}

/** Seconds under two minutes, else minutes. */
export const timeText = (seconds: number): string =>
  seconds < 120 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`

/** Every data set that was used: what it is in the thesis, what was taken here, and how many images. */
export const sourcesOf = ({ data }: ExperimentResults): [key: string, text: string][] =>
  data.flatMap(({ key, title, folder, images, scored }) => {
    const taken = folder === undefined ? `for ${title}` : `${title} in the thesis, here the folder ${folder}`
    if (images)
      return [
        [
          key,
          `${taken}; ${images.train} training, ${images.validation} validation, ${images.test} held-out images a run`,
        ],
      ]
    return scored === undefined ? [] : [[key, `${taken}; ${scored} images, none of them trained on`]]
  })

/** Data sets that there were folders for, and the folders' names. */
export const foldersIn = ({ data }: ExperimentResults): (readonly [key: string, folder: string])[] =>
  data.flatMap(({ key, folder }) => (folder === undefined ? [] : [[key, folder] as const]))

const factsOf = (experiment: Experiment, results: ExperimentResults): [string, string][] => [
  ['Command', commandOf(experiment, results.scale, foldersIn(results))],
  ...sourcesOf(results),
  ...(results.note ? [['Note', results.note] as [string, string]] : []),
  ['Time', timeText(results.seconds)],
]

/** The pictures of each row's first run, where they are kept. */
async function overlaysOf(out: string, rows: readonly RowResult[]): Promise<NonNullable<Report['overlays']>> {
  const found: NonNullable<Report['overlays']>[number][] = []
  for (const { label, data, on, arm, runs, share } of rows) {
    if (share < 1) continue
    const figures: { caption: string; png: Uint8Array }[] = []
    for (const which of ['best', 'median', 'worst']) {
      const file = pictureFile(out, runs[0]!.key, on ?? data, arm, which)
      const png = await readFile(file).catch(() => undefined)
      if (png) figures.push({ caption: which, png })
    }
    if (figures.length > 0) found.push({ title: label, figures })
  }
  return found
}
