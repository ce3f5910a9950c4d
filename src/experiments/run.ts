import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DataError } from '../gpu/errors.ts'
import { makeFolder, writeFileAtomic } from '../node/atomic.ts'
import { openDataset } from '../node/folders.ts'
import { RunFolder } from '../node/run-folder.ts'
import type { RecoveringDevice } from '../pipelines/recover.ts'
import { Interrupted, type RunHost } from '../runs/host.ts'
import { methodOf } from '../runs/methods/index.ts'
import type { Scored } from '../runs/methods/method.ts'
import { type RunContext, type TrainedNetwork, trainNetwork, withNetworks } from '../runs/networks.ts'
import { type DataPlan, entryOf, planOne, planWhole } from '../runs/plan.ts'
import { casesOf } from '../runs/report.ts'
import type { Experiment } from './experiment.ts'
import { type ArmResult, armOf, rounded } from './image-scores.ts'
import type { Job, Plan } from './jobs.ts'

/** What one job found. */
export interface JobResult {
  readonly key: string
  readonly adapter: string
  readonly seed: number
  readonly fold?: number
  readonly images: { readonly train: number; readonly validation: number; readonly test: number }
  readonly layout: string
  readonly networks: readonly {
    readonly name: string
    readonly title: string
    readonly bestEpoch: number
    readonly seconds: number
    readonly lossName: string
    readonly scoreName: string
    readonly loss: readonly number[]
    readonly validation: readonly number[]
  }[]
  /** By the data set that was scored: its own held-out images, or all of another one. */
  readonly scored: Readonly<Record<string, readonly ArmResult[]>>
  readonly scoringSeconds: number
}

/** Where an experiment's runs are kept and how they are run. */
export interface Work {
  readonly host: RunHost
  readonly device: RecoveringDevice
  readonly out: string
  readonly experiment: Experiment
  /** Folders of data sets by key. */
  readonly folders: ReadonlyMap<string, string>
  readonly activationCheckpointing?: boolean
}

const folderOf = ({ out }: Pick<Work, 'out'>, job: Pick<Job, 'key'>): string => join(out, 'runs', job.key)
const resultFile = (work: Pick<Work, 'out'>, key: string): string =>
  join(folderOf(work, { key }), 'result.json')

/** Pictures of one arm of a job. */
export const pictureFile = (out: string, key: string, on: string, arm: string, which: string): string =>
  join(folderOf({ out }, { key }), 'overlays', `${on}-${arm}-${which}.png`)

/** The result of a job that is done. */
export async function readResult(work: Pick<Work, 'out'>, key: string): Promise<JobResult | undefined> {
  const file = resultFile(work, key)
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new DataError(`${file}: cannot be read (${(cause as Error).message})`, { cause })
  }
  try {
    return JSON.parse(text) as JobResult
  } catch (cause) {
    throw new DataError(`${file}: is no JSON; delete it, and the same command scores the run again`, {
      cause,
    })
  }
}

/** The data sets that a job is to be scored on: its own held-out images, and all of others. */
const wantedOf = ({ data, on }: Job): string[] => [data, ...on]

/** Whether all that a job is to be scored on has been scored. */
const isComplete = (result: JobResult, job: Job): boolean =>
  wantedOf(job).every((name) => name in result.scored)

/**
 * Trains every job that is not done, then looks at test images: each job's once, when all trainings are over. A job that
 * was scored on some data sets is scored on those that are new.
 */
export async function runJobs(work: Work, { jobs }: Plan): Promise<JobResult[]> {
  const trained: { job: Job; training: Training; known: JobResult | undefined }[] = []
  const results = new Map<string, JobResult>()
  const left: { i: number; job: Job; known: JobResult | undefined }[] = []
  for (const [i, job] of jobs.entries()) {
    const known = await readResult(work, job.key)
    if (known && isComplete(known, job)) results.set(job.key, known)
    else left.push({ i, job, known })
  }
  await tryFolders(
    work,
    left.map(({ job }) => job),
  )
  for (const { i, job, known } of left) {
    work.host.note(`${job.key} (${i + 1} of ${jobs.length})\n`)
    trained.push({ job, training: await trainJob(work, job), known })
  }
  for (const { job, training, known } of trained) {
    if (work.host.signal.aborted) throw new Interrupted('stopped; run the same command again to go on')
    results.set(job.key, await scoreJob(work, job, training, known))
  }
  return jobs.map(({ key }) => results.get(key)!)
}

/** Opens and splits what the jobs need: a folder that cannot be used is refused before the first training, not after it. */
async function tryFolders(work: Work, jobs: readonly Job[]): Promise<void> {
  const seen = new Set<string>()
  for (const { data, on, settings } of jobs) {
    if (seen.has(data) && on.every((name) => seen.has(name))) continue
    const own = await planOne(work.folders.get(data)!, data, settings, openerOf(work, data))
    for (const sentence of own.dataset.leftOut ?? []) work.host.note(`${data}: ${sentence}\n`)
    for (const name of on)
      await planWhole(work.folders.get(name)!, entryOf(own), settings, openerOf(work, name))
    for (const name of [data, ...on]) seen.add(name)
  }
}

/** Opens a folder; of one that holds several data sets the one that the experiment means by `key`. */
const openerOf =
  ({ experiment }: Work, key: string): typeof openDataset =>
  async (folder, options) => {
    const { collection } = experiment.data.find((slot) => slot.key === key)!
    const dataset = await openDataset(folder, options)
    return collection && dataset.layout === 'waterloo'
      ? openDataset(folder, { ...options, collection })
      : dataset
  }

interface Training {
  readonly plan: DataPlan
  readonly networks: readonly TrainedNetwork[]
  readonly context: RunContext
}

async function trainJob(work: Work, job: Job): Promise<Training> {
  const { host, device, activationCheckpointing = false } = work
  const { settings, data } = job
  const out = folderOf(work, job)
  const plan = await planOne(work.folders.get(data)!, data, settings, openerOf(work, data))
  // The file that `fovea evaluate --run` and `fovea predict --run` read.
  await RunFolder.open(out, { fovea: 1, data: [entryOf(plan)], settings })
  const context: RunContext = { host, out, settings, device, activationCheckpointing }
  const networks: TrainedNetwork[] = []
  for (const network of methodOf(plan.method).networks(settings)) {
    if (host.signal.aborted) throw new Interrupted('stopped; run the same command again to go on')
    networks.push(await trainNetwork(context, plan, network))
  }
  return { plan, networks, context }
}

async function scoreJob(
  work: Work,
  job: Job,
  { plan, networks, context }: Training,
  known: JobResult | undefined,
): Promise<JobResult> {
  const started = performance.now()
  const { settings, key, seed, fold, data } = job
  const entry = entryOf(plan)
  const scored: Record<string, readonly ArmResult[]> = { ...known?.scored }
  for (const name of wantedOf(job)) {
    if (name in scored) continue
    const held =
      name === data
        ? plan
        : { ...(await planWhole(work.folders.get(name)!, entry, settings, openerOf(work, name))), name }
    const arms = await withNetworks(context, entry, (device, nets) =>
      methodOf(plan.method).score(device, nets, held.test, settings, work.host.signal),
    )
    const results: ArmResult[] = []
    for (const arm of arms) {
      results.push(await armOf(arm, held.test))
      await keepPictures(work, job, name, { plan: held, networks: [], scored: [arm] }, arm)
    }
    scored[name] = results
  }
  const { train, validation, test, dataset } = plan
  const seconds = Math.round((performance.now() - started) / 1000)
  const result: JobResult = {
    ...{ key, adapter: (await work.device.get()).adapter.name, seed },
    ...(fold === undefined ? {} : { fold }),
    images: { train: train.length, validation: validation.length, test: test.length },
    layout: dataset.layout,
    networks: networks.map(({ name, title, bestEpoch, seconds, lossName, scoreName, history }) => ({
      ...{ name, title, bestEpoch, seconds: Math.round(seconds), lossName, scoreName },
      loss: history.map((m) => rounded(m.trainLoss)),
      validation: history.map((m) => rounded(m.validationScore)),
    })),
    scored,
    scoringSeconds: seconds + (known?.scoringSeconds ?? 0),
  }
  await writeFileAtomic(resultFile(work, key), `${JSON.stringify(result)}\n`)
  return result
}

/** The best, the median and the worst image of an arm, for the report. */
async function keepPictures(
  work: Work,
  job: Job,
  on: string,
  result: Parameters<typeof casesOf>[0],
  arm: Scored,
): Promise<void> {
  if (!work.experiment.figures.includes('overlays')) return
  await makeFolder(join(folderOf(work, job), 'overlays'))
  const { figures } = await casesOf(result, arm)
  for (const { which, png } of figures)
    await writeFileAtomic(pictureFile(work.out, job.key, on, arm.key, which), png)
}
