import { DataError } from '../gpu/errors.ts'
import { type MethodName, methodOf } from '../runs/methods/index.ts'
import { kindOf, type NetworkName } from '../runs/network-kinds.ts'
import type { Settings } from '../runs/settings.ts'
import { EXPERIMENTS, unavailable } from './catalogue.ts'
import type { Experiment, FullSettings, Row, TrainingOf } from './experiment.ts'

/** How an experiment is run. */
export interface Scale {
  readonly features: number
  /** null: from the number of training images. */
  readonly epochs: number | null
  readonly batch: number
  readonly lr: number
  readonly schedule: Settings['schedule']
  readonly augment: Settings['augment']
  readonly seeds: readonly number[]
  /** 0: one split into 80/10/10. */
  readonly folds: number
  /** Part of the patients or images that is used at all. */
  readonly subset: number
  /** Part of them that is passed over first; left out: none. */
  readonly skip?: number
  /** Left out: the rows' own. */
  readonly sizes?: readonly number[]
  /** Width of the heatmaps' Gaussians at 256 px, px; left out: the thesis's. */
  readonly sigma?: number
  readonly networks?: readonly NetworkName[]
  readonly shares?: readonly number[]
  /** Epochs without a better validation score after which the learning rate falls to a tenth; left out: it stays. */
  readonly plateau?: number
  /** What differs by data set, and the batch at some sizes, in the thesis. */
  readonly sets?: TrainingOf
  readonly batchAt?: FullSettings['batchAt']
  /** The thesis's own: eight stacks of hourglasses, crops from images of 1,024 px. */
  readonly full?: true
}

/** What a small run has where nothing is said. */
export const SMALL = { features: 8, batch: 4, lr: 2e-3, schedule: 'cosine', augment: 'none' } as const

/** How an experiment is run where no option says otherwise: small, or with the thesis's settings. */
export function usualScale({ full, folds = 0, bySize }: Experiment, asInThesis: boolean): Scale {
  const common = { seeds: [42], subset: 1 }
  return asInThesis
    ? { ...common, ...full, schedule: 'constant', folds, full: true }
    : { ...common, ...SMALL, epochs: null, folds: 0, ...(bySize ? {} : { sizes: [64] }) }
}

/** What options of `fovea reproduce` set, in the order in which a command names them. */
const OPTIONS = [
  'networks',
  'sizes',
  'shares',
  'features',
  'epochs',
  'batch',
  'lr',
  'schedule',
  'augment',
  'sigma',
  'skip',
  'subset',
  'folds',
  'seeds',
] as const satisfies readonly (keyof Scale)[]

/**
 * The command that runs an experiment at a scale: the options of `fovea reproduce` that are not as usual.
 *
 * @param folders data sets and their folders
 */
export function commandOf(
  experiment: Experiment,
  scale: Scale,
  folders: readonly (readonly [key: string, folder: string])[],
): string {
  const usual = usualScale(experiment, scale.full ?? false)
  const changed = OPTIONS.filter(
    (name) => (scale[name] ?? null) !== null && JSON.stringify(scale[name]) !== JSON.stringify(usual[name]),
  )
  return [
    `fovea reproduce ${experiment.id}`,
    ...(folders.length > 0 ? [`--data ${folders.map(([key, folder]) => `${key}=${folder}`).join(' ')}`] : []),
    ...(scale.full ? ['--full'] : []),
    ...changed.map((name) => `--${name} ${[scale[name]].flat().join(' ')}`),
  ].join(' ')
}

/** The split does not move with the seed of weights and order, so that runs of several seeds score the same images. */
export const SPLIT_SEED = 42

/** One training of a method's networks, from which one row or several are read. */
export interface Job {
  /** Names its folder. */
  readonly key: string
  readonly data: string
  readonly settings: Settings & { readonly method: MethodName }
  readonly seed: number
  /** From 1, with folds. */
  readonly fold?: number
  /** Data sets that are scored besides its own held-out images. */
  readonly on: readonly string[]
}

/** A row, the jobs that it is read from, or why there are none. */
export interface PlannedRow {
  readonly row: Row
  readonly jobs: readonly string[]
  readonly missing?: string
}

export interface Plan {
  readonly rows: readonly PlannedRow[]
  readonly jobs: readonly Job[]
}

/** The rows of an experiment at a scale: other sizes in place of the thesis's, some networks and shares only. */
export function rowsAt({ rows, bySize }: Experiment, scale: Scale): Row[] {
  const { sizes, networks, shares } = scale
  const kept = rows.filter(
    ({ network, share = 1 }) => (networks?.includes(network) ?? true) && (shares?.includes(share) ?? true),
  )
  if (!sizes) return kept
  const seen = new Map<string, Row>()
  for (const row of kept)
    for (const size of sizes) {
      const thesis = bySize && row.size !== size ? {} : row.thesis
      const { thesis: _, size: __, ...rest } = row
      const key = JSON.stringify([rest, size])
      // A row of this very size keeps its value.
      if (!seen.has(key) || row.size === size) seen.set(key, { ...row, size, thesis })
    }
  return [...seen.values()].sort((a, b) => (bySize ? order(kept, a) - order(kept, b) || a.size - b.size : 0))
}

/** Rows of one data set together, then by size. */
const order = (rows: readonly Row[], { data, on, network }: Row): number =>
  rows.findIndex((r) => r.data === data && r.on === on && r.network === network)

const nameOf = (value: unknown): string => String(value).replace(/[^\w.-]/g, '')

function jobOf(row: Row, scale: Scale, seed: number, fold?: number): Job {
  const { data, network, size, share = 1, variant = {} } = row
  const { features, schedule, augment, folds, subset, skip, plateau = null } = scale
  const {
    epochs,
    lr,
    heatmapBatch,
    validation = 0.1,
    test = 0.1,
    ...own
  } = { ...scale, ...scale.sets?.[data] }
  const batch = scale.batchAt?.[size] ?? own.batch
  const sigma =
    scale.sigma !== undefined && row.method === 'centre-heatmap' ? { sigma: scale.sigma } : undefined
  const settings: Job['settings'] = {
    ...{ method: row.method as MethodName, size, features, epochs, batch, lr, weightDecay: 0, seed, share },
    ...(network === 'unet' ? {} : { network }),
    ...{ patience: null, plateau, schedule, augment, origins: ['truth', 'cartesian'], transfer: null },
    ...{ depthChannel: false, validation, test, splitSeed: SPLIT_SEED },
    ...(fold === undefined ? {} : { fold: { index: fold - 1, of: folds } }),
    ...(subset < 1 ? { dataShare: subset } : {}),
    ...(skip ? { dataSkip: skip } : {}),
    ...(scale.full && row.method === 'centre-heatmap'
      ? { stacks: 8, ...(heatmapBatch === undefined ? {} : { heatmapBatch }) }
      : {}),
    ...(scale.full && row.method === 'end-to-end' ? { resolution: 1024, jointRate: 1 } : {}),
    ...variant,
    ...sigma,
  }
  const key = [
    ...[data, row.method, network, `${size}px`, `${features}f`, epochs === null ? 'auto' : `${epochs}e`],
    ...(share < 1 ? [`${100 * share}pc`] : []),
    ...(subset < 1 ? [`subset${subset}`] : []),
    ...(skip ? [`skip${skip}`] : []),
    ...(augment === 'none' ? [] : [augment]),
    ...(scale.full ? ['full'] : []),
    ...Object.entries({ ...variant, ...sigma }).map(([name, value]) => `${name}-${nameOf(value)}`),
    `seed${seed}`,
    ...(fold === undefined ? [] : [`fold${fold}of${folds}`]),
  ].join('-')
  return { key, data, settings, seed, ...(fold === undefined ? {} : { fold }), on: [] }
}

/**
 * What has to be trained for an experiment.
 *
 * @param folders data sets that there are folders for
 * @throws DataError when a size does not fit a network
 */
export function planExperiment(experiment: Experiment, scale: Scale, folders: ReadonlySet<string>): Plan {
  const jobs = new Map<string, Job>()
  const rows = rowsAt(experiment, scale).map((row): PlannedRow => {
    const missing = withoutFolder(row, folders) ?? unavailable(row)
    if (missing) return { row, jobs: [], missing }
    const { step, title } = kindOf(row.network)
    if (row.size % step !== 0)
      throw new DataError(
        `--sizes ${row.size}: ${title} wants multiples of ${step}; pass --sizes ${Math.ceil(row.size / step) * step}`,
      )
    const folds = scale.folds === 0 ? [undefined] : Array.from({ length: scale.folds }, (_, i) => i + 1)
    const keys = scale.seeds.flatMap((seed) =>
      folds.map((fold) => {
        const job = jobOf(row, scale, seed, fold)
        const known = jobs.get(job.key) ?? job
        const on = row.on && !known.on.includes(row.on) ? [...known.on, row.on] : known.on
        jobs.set(job.key, { ...known, on })
        return job.key
      }),
    )
    return { row, jobs: keys }
  })
  return { rows, jobs: [...jobs.values()] }
}

/** Why a row lacks its images, or undefined. */
export const withoutFolder = (
  { data, on }: Pick<Row, 'data' | 'on'>,
  folders: ReadonlySet<string>,
): string | undefined => {
  const lacking = [data, ...(on ? [on] : [])].find((key) => !folders.has(key))
  return lacking === undefined ? undefined : `no folder for ${lacking} was given`
}

/** The jobs of the thesis's experiments at a scale that are not of the plan: what another command may have run. */
export function jobsOfOthers(plan: Plan, scale: Scale, folders: ReadonlySet<string>): Job[] {
  const own = new Set(plan.jobs.map(({ key }) => key))
  const networks = [...new Set(plan.rows.map(({ row }) => row.network))]
  const others = EXPERIMENTS.filter(({ timed, references }) => !timed && !references).flatMap(
    (experiment) => planExperiment(experiment, { ...scale, networks }, folders).jobs,
  )
  return [...new Map(others.map((job) => [job.key, job])).values()].filter(({ key }) => !own.has(key))
}

/** The plan without jobs whose every arm another job gives with the same settings: approach B trains all of approach A. */
export function sharing({ rows, jobs }: Plan): Plan {
  // How heatmaps are made is nothing to networks that make none.
  const rest = ({
    settings: { method: _, sigma: __, stacks: ___, heatmapBatch: ____, ...settings },
    data,
    on,
  }: Job) => JSON.stringify([settings, data, on])
  const covers = (a: Job, b: Job): boolean =>
    a !== b &&
    methodOf(a.settings.method).arms.length > methodOf(b.settings.method).arms.length &&
    methodOf(b.settings.method).arms.every((arm) => methodOf(a.settings.method).arms.includes(arm))
  const alike = new Map<string, Job[]>()
  for (const job of jobs) alike.set(rest(job), [...(alike.get(rest(job)) ?? []), job])
  const instead = new Map<string, string>()
  for (const group of alike.values())
    for (const job of group) {
      const other = group.find((candidate) => covers(candidate, job))
      if (other) instead.set(job.key, other.key)
    }
  const shared = rows.map((planned) => ({
    ...planned,
    jobs: planned.jobs.map((key) => instead.get(key) ?? key),
  }))
  const used = new Set(shared.flatMap((planned) => planned.jobs))
  return { jobs: jobs.filter(({ key }) => used.has(key)), rows: shared }
}
