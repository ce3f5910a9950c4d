import { basename, resolve } from 'node:path'
import { type Summary, summarize } from '../pipelines/scores.ts'
import { meanOf, wilcoxonSignedRank } from '../pipelines/statistics.ts'
import { type MethodName, methodOf } from '../runs/methods/index.ts'
import type { Baseline, DataSlot, Experiment, Row, ScoreName } from './experiment.ts'
import { type ArmResult, rounded, SCORE_NAMES } from './image-scores.ts'
import type { Plan, PlannedRow, Scale } from './jobs.ts'
import type { JobResult } from './run.ts'

/** Mean and standard deviation over runs (seeds, or folds); of a single run, over nothing. */
export interface OverRuns {
  readonly mean: number
  readonly sd: number
}

/** How long a row takes an image. */
export interface RowTime {
  /** From its pixels on the GPU to its mask read back; SD over images. */
  readonly ms: OverRuns
  /** The networks alone, in the same passes. */
  readonly networksMs: number
  /** That were cropped, an image. */
  readonly objects: number
  readonly images: number
}

/** A row against another by the experiment's first score, over images (each its mean over seeds). */
export interface RowTest {
  readonly against: string
  readonly images: number
  readonly medianDifference: number
  /** Which way the test leans; the mean may lean the other way, by a few images. */
  readonly sign: -1 | 0 | 1
  readonly p: number
}

/** One row of an experiment's results. */
export interface RowResult {
  readonly label: string
  readonly data: string
  readonly on?: string
  readonly method: string
  readonly arm: string
  readonly network: string
  readonly size: number
  readonly share: number
  readonly thesis: Row['thesis']
  readonly thesisMs?: number
  readonly time?: RowTime
  /** Why it was not run. */
  readonly missing?: string
  readonly runs: readonly {
    readonly key: string
    readonly seed: number
    readonly fold?: number
    readonly means: Readonly<Record<ScoreName, number>>
  }[]
  readonly scores?: Readonly<Record<ScoreName, OverRuns>>
  /** Of each run the means over the images that have a value, and those over runs. Results of before lack them. */
  readonly surface?: {
    readonly unit: 'mm' | 'px'
    readonly hausdorff95?: OverRuns
    readonly meanSurfaceDistance?: OverRuns
    readonly boundaryIou: OverRuns
    /** Images of all runs in which one of the two masks is empty: they have no distance. */
    readonly withoutDistance: number
  }
  /** DSC in polar space. */
  readonly polarDice?: OverRuns
  /** px of the networks' input. */
  readonly originError?: OverRuns
  readonly test?: RowTest
  /** Against more rows. */
  readonly furtherTests?: readonly RowTest[]
  /** A line an image; of several seeds, their mean. */
  readonly images?: {
    readonly ids: readonly string[]
    readonly score: readonly number[]
    readonly dice: readonly number[]
    readonly polarDice?: readonly number[]
    readonly originError?: readonly number[]
    readonly measured: readonly number[]
    readonly truth: readonly number[]
  }
  /** Mean over runs. */
  readonly precisionRecall?: ArmResult['precisionRecall']
  /** Of several objects, at pairs of t₁ and t₂; mean over runs. */
  readonly thresholds?: ArmResult['thresholds']
}

/** A data set of an experiment, and what was taken for it. */
export interface DataUsed extends DataSlot {
  /** Name of the folder that was given for it. */
  readonly folder?: string
  readonly layout?: string
  /** Images a run, where it is trained on. */
  readonly images?: JobResult['images']
  /** Images that were scored or timed, where it is not trained on. */
  readonly scored?: number
}

/** An experiment as it was run: what its JSON file holds. Scores only, no images. */
export interface ExperimentResults {
  readonly fovea: 1
  readonly experiment: string
  readonly title: string
  readonly section: string
  readonly adapter: string
  /** Of trainings and scoring, over all its runs. */
  readonly seconds: number
  readonly scale: Scale
  readonly data: readonly DataUsed[]
  /** What a reader should know of this run, in the words of who ran it. */
  readonly note?: string
  readonly rows: readonly RowResult[]
  /** Learning curves, by network and data set: of the first run. */
  readonly curves: readonly {
    readonly data: string
    readonly size: number
    readonly title: string
    readonly lossName: string
    readonly scoreName: string
    readonly loss: readonly number[]
    readonly validation: readonly number[]
  }[]
}

const overRuns = ({ mean, sd }: Summary): OverRuns => ({ mean: rounded(mean), sd: rounded(sd) })

/** Of each run the means over its images; their mean and SD over the runs. */
export const scoresOverRuns = (
  means: readonly Readonly<Record<ScoreName, number>>[],
): Readonly<Record<ScoreName, OverRuns>> =>
  Object.fromEntries(
    SCORE_NAMES.map((name) => [name, overRuns(summarize(means.map((m) => m[name])))]),
  ) as Record<ScoreName, OverRuns>

/** What the jobs of an experiment found, row by row. */
export function resultsOf(
  experiment: Experiment,
  scale: Scale,
  plan: Plan,
  jobs: readonly JobResult[],
): ExperimentResults {
  const byKey = new Map(jobs.map((job) => [job.key, job]))
  const rows = plan.rows.map((planned) => rowOf(planned, byKey, experiment))
  return {
    fovea: 1,
    experiment: experiment.id,
    title: experiment.title,
    section: experiment.section,
    adapter: [...new Set(jobs.map((job) => job.adapter))].join('; '),
    seconds: jobs.reduce(
      (sum, j) => sum + j.scoringSeconds + j.networks.reduce((s, n) => s + n.seconds, 0),
      0,
    ),
    scale,
    data: experiment.data.map((slot) => ({ ...slot, ...usedOf(slot.key, plan, jobs) })),
    rows: rows.map((row, i) => ({ ...row, ...tested(plan.rows, rows, i) })),
    curves: curvesOf(plan, byKey),
  }
}

function usedOf(key: string, { jobs }: Plan, results: readonly JobResult[]): Partial<DataUsed> {
  const trained = jobs.find((job) => job.data === key)
  const result = trained && results.find((r) => r.key === trained.key)
  if (result) return { layout: result.layout, images: result.images }
  const scored = results.flatMap((r) => r.scored[key]?.[0]?.ids.length ?? [])[0]
  return scored === undefined ? {} : { scored }
}

function rowOf(
  { row, jobs, missing }: PlannedRow,
  byKey: ReadonlyMap<string, JobResult>,
  experiment: Experiment,
): RowResult {
  const { label, data, on, method, arm, network, size, share = 1, thesis } = row
  const known = { label, data, ...(on ? { on } : {}), method, arm, network, size, share, thesis }
  if (missing) return { ...known, missing, runs: [] }
  const runs = jobs.map((key) => {
    const job = byKey.get(key)!
    return { job, arm: job.scored[on ?? data]!.find((a) => a.key === arm)! }
  })
  const means = runs.map(
    ({ arm }) =>
      Object.fromEntries(SCORE_NAMES.map((name) => [name, rounded(meanOf(arm.scores[name]))])) as Record<
        ScoreName,
        number
      >,
  )
  const polar = runs.flatMap(({ arm }) => (arm.polarDice ? [meanOf(arm.polarDice)] : []))
  const errors = runs.flatMap(({ arm }) => (arm.originError ? [meanOf(arm.originError)] : []))
  return {
    ...known,
    runs: runs.map(({ job, arm: _ }, i) => ({
      ...{ key: job.key, seed: job.seed },
      ...(job.fold === undefined ? {} : { fold: job.fold }),
      means: means[i]!,
    })),
    scores: scoresOverRuns(means),
    ...surfaceOf(runs.map((r) => r.arm)),
    ...(polar.length > 0 ? { polarDice: overRuns(summarize(polar)) } : {}),
    ...(errors.length > 0 ? { originError: overRuns(summarize(errors)) } : {}),
    images: imagesOf(
      runs.map((r) => r.arm),
      experiment.scores[0]!,
    ),
    ...(runs[0]!.arm.thresholds ? { thresholds: meanThresholds(runs.map((r) => r.arm)) } : {}),
    precisionRecall: runs[0]!.arm.precisionRecall.map(({ threshold }, i) => ({
      threshold,
      precision: rounded(meanOf(runs.map((r) => r.arm.precisionRecall[i]!.precision))),
      recall: rounded(meanOf(runs.map((r) => r.arm.precisionRecall[i]!.recall))),
    })),
  }
}

/** Outlines over runs, where all of them have some. */
function surfaceOf(arms: readonly ArmResult[]): Pick<RowResult, 'surface'> {
  const surfaces = arms.flatMap(({ surface }) => surface ?? [])
  if (surfaces.length < arms.length) return {}
  const over = (columns: readonly (readonly (number | null)[])[]): OverRuns | undefined => {
    const means = columns.flatMap((column) => {
      const there = column.filter((v) => v !== null)
      return there.length > 0 ? [meanOf(there)] : []
    })
    return means.length > 0 ? overRuns(summarize(means)) : undefined
  }
  const hausdorff95 = over(surfaces.map((s) => s.hausdorff95))
  const meanSurfaceDistance = over(surfaces.map((s) => s.meanSurfaceDistance))
  return {
    surface: {
      unit: surfaces[0]!.unit,
      ...(hausdorff95 ? { hausdorff95 } : {}),
      ...(meanSurfaceDistance ? { meanSurfaceDistance } : {}),
      boundaryIou: over(surfaces.map((s) => s.boundaryIou))!,
      withoutDistance: surfaces.flatMap((s) => s.hausdorff95.filter((v) => v === null)).length,
    },
  }
}

const meanThresholds = (arms: readonly ArmResult[]): NonNullable<ArmResult['thresholds']> =>
  arms[0]!.thresholds!.map(({ low, high }, i) => {
    const mean = (name: 'precision' | 'recall' | 'dice') =>
      rounded(meanOf(arms.map((arm) => arm.thresholds![i]![name])))
    return { low, high, precision: mean('precision'), recall: mean('recall'), dice: mean('dice') }
  })

/** Columns over images; the mean of those runs that scored an image. */
function imagesOf(arms: readonly ArmResult[], score: ScoreName): NonNullable<RowResult['images']> {
  const ids = [...new Set(arms.flatMap((arm) => arm.ids))]
  const places = arms.map((arm) => new Map(arm.ids.map((id, i) => [id, i])))
  const column = (of: (arm: ArmResult) => readonly number[]): number[] =>
    ids.map((id) =>
      rounded(
        meanOf(
          arms.flatMap((arm, k) => {
            const i = places[k]!.get(id)
            return i === undefined ? [] : [of(arm)[i]!]
          }),
        ),
      ),
    )
  return {
    ids,
    score: column((arm) => arm.scores[score]),
    dice: column((arm) => arm.scores.dice),
    ...(arms[0]!.polarDice ? { polarDice: column((arm) => arm.polarDice!) } : {}),
    ...(arms[0]!.originError ? { originError: column((arm) => arm.originError!) } : {}),
    measured: column((arm) => arm.pixels.measured),
    truth: column((arm) => arm.pixels.truth),
  }
}

/** Wilcoxon's tests against the rows that differ in a row's baselines alone. */
function tested(
  plan: readonly PlannedRow[],
  rows: readonly RowResult[],
  i: number,
): Pick<RowResult, 'test' | 'furtherTests'> {
  const { row } = plan[i]!
  const identity = ({ data, on, method, arm, network, size, share, variant }: Row): string =>
    JSON.stringify([data, on, method, arm, network, size, share, variant])
  const against = (baseline: Baseline): RowTest[] => {
    const wanted = identity({ ...row, ...baseline } as Row)
    const other = rows[plan.findIndex((p) => identity(p.row) === wanted)]
    const found = other && pairedTest(rows[i]!, other, 'score')
    if (!found) return []
    const { images, medianDifference, sign, p } = found
    return [{ against: other.label, images, medianDifference: rounded(medianDifference), sign, p }]
  }
  const test = row.baseline ? against(row.baseline)[0] : undefined
  const furtherTests = (row.baselines ?? []).flatMap(against)
  return { ...(test ? { test } : {}), ...(furtherTests.length > 0 ? { furtherTests } : {}) }
}

/**
 * Wilcoxon's test of a column of two rows and the difference of its means, over the images that both have; undefined where
 * there are none, or a row lacks the column.
 */
export function pairedTest(
  { images: own }: RowResult,
  { images: other }: RowResult,
  column: 'score' | 'originError',
) {
  const [a, b] = [own?.[column], other?.[column]]
  if (!a || !b) return undefined
  const place = new Map(other!.ids.map((id, n) => [id, n]))
  const both = own!.ids.flatMap((id, n) => (place.has(id) ? [[a[n]!, b[place.get(id)!]!] as const] : []))
  if (both.length === 0) return undefined
  const [x, y] = [both.map(([v]) => v), both.map(([, v]) => v)]
  const { medianDifference, sign, p } = wilcoxonSignedRank(x, y)
  return { difference: meanOf(x) - meanOf(y), images: both.length, medianDifference, sign, p }
}

/** Of each data set and size, the networks of the first job that trained all of the set; of later ones what is new. */
function curvesOf({ jobs, rows }: Plan, byKey: ReadonlyMap<string, JobResult>): ExperimentResults['curves'] {
  const seen = new Set<string>()
  return jobs.flatMap(({ key, data, settings }) => {
    const { size, share, network = 'unet', method } = settings
    if (share < 1) return []
    // A run that serves several experiments may have trained more than this one's rows are about.
    const wanted = new Set(
      rows
        .filter((planned) => planned.jobs.includes(key))
        .flatMap(({ row }) => methodOf(row.method as MethodName).networks(settings))
        .map(({ name }) => name),
    )
    const networks = byKey.get(key)!.networks.filter(({ name }) => wanted.has(name))
    return networks.flatMap(({ name: _, bestEpoch: __, seconds: ___, ...curves }) => {
      const group = [data, size, network, method, curves.title].join()
      if (seen.has(group)) return []
      seen.add(group)
      return [{ data, size, ...curves }]
    })
  })
}

/** Layouts whose ids begin with a patient. */
const BY_PATIENT: ReadonlySet<string | undefined> = new Set(['patients', 'cardiac-fat', 'lits', 'avt'])

/** Patients numbered in place of the names of their folders: results may be published where data may not. */
export function withoutPatients(results: ExperimentResults): ExperimentResults {
  const layouts = new Map(results.data.map(({ key, layout }) => [key, layout]))
  const numbers = new Map<string, number>()
  const numbered = (id: string): string => {
    const [patient, ...rest] = id.split('/') as [string, ...string[]]
    if (!numbers.has(patient)) numbers.set(patient, numbers.size + 1)
    return [`patient ${numbers.get(patient)}`, ...rest].join('/')
  }
  return {
    ...results,
    rows: results.rows.map((row) =>
      row.images && BY_PATIENT.has(layouts.get(row.on ?? row.data))
        ? { ...row, images: { ...row.images, ids: row.images.ids.map(numbered) } }
        : row,
    ),
  }
}

/** Results with the names of the folders that were given, and a note. */
export const withSources = (
  results: ExperimentResults,
  { folders, note }: { readonly folders: ReadonlyMap<string, string>; readonly note?: string | undefined },
): ExperimentResults => ({
  ...results,
  data: results.data.map((used) => {
    const folder = folders.get(used.key)
    return folder === undefined ? used : { ...used, folder: basename(resolve(folder)) }
  }),
  ...(note ? { note } : {}),
})

/** Pretty JSON in which a list of numbers or names is one line. */
export const resultsText = (results: ExperimentResults): string =>
  `${JSON.stringify(results, null, 1).replace(/\[\s+([^[\]{}]*?)\s+\]/g, (_, inner: string) => `[${inner.replace(/\s*\n\s*/g, ' ')}]`)}\n`
