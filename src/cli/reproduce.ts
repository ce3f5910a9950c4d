import { join } from 'node:path'
import type { Command } from 'commander'
import { runBoundaries } from '../experiments/boundaries.ts'
import { EXPERIMENTS, unavailable } from '../experiments/catalogue.ts'
import type { Experiment } from '../experiments/experiment.ts'
import { type Job, jobsOfOthers, type Plan, planExperiment, sharing } from '../experiments/jobs.ts'
import { writeResultsPage } from '../experiments/page.ts'
import { writeExperimentReport } from '../experiments/report.ts'
import {
  type ExperimentResults,
  resultsOf,
  resultsText,
  withoutPatients,
  withSources,
} from '../experiments/results.ts'
import { type JobResult, readResult, runJobs, type Work } from '../experiments/run.ts'
import { comparison, outlines, shownRows } from '../experiments/tables.ts'
import { runTimes } from '../experiments/times.ts'
import { DataError } from '../gpu/errors.ts'
import { writeFileAtomic } from '../node/atomic.ts'
import { refuseDataFolder } from '../node/out-folder.ts'
import type { RecoveringDevice } from '../pipelines/recover.ts'
import type { Report } from '../report/report.ts'
import type { Io } from './io.ts'
import { runHost } from './progress.ts'
import {
  addReproduceOptions,
  experimentNamed,
  foldersOf,
  type ReproduceArguments,
  scaleOf,
} from './reproduce-options.ts'
import { recoveringDevice } from './session.ts'
import { formatTable } from './table.ts'

const EXAMPLES = `
Each row of an experiment is a method, a network, a size and a share of the training set; every seed and fold of it is a
run of its own under OUT/runs, as fovea train writes them. All trainings are done before the first test image is looked at.
Ctrl-C ends at the next step; the same command goes on. Rows without a folder or a method are named, with the reason.

Examples:
  fovea reproduce --list
  fovea reproduce table-4.1 --data lesion=ISIC2018 --networks unet --sizes 96 --seeds 1 2 3
  fovea reproduce table-5.2 --data cells=data/nuclei --sizes 32 64
  fovea reproduce table-5.4 --data cells=data/nuclei
  fovea reproduce fig-4.13 --data lesion=ISIC2018 --folds 3
  fovea reproduce table-4.1 --data polyp=CVC-ClinicDB lesion=ISIC2018 --full
  fovea reproduce --page docs/results.md --results docs/results`

/** `fovea reproduce`: the thesis's experiments, ours beside its numbers. */
export function reproduceCommand(program: Command, io: Io): void {
  addReproduceOptions(
    program
      .command('reproduce')
      .description("run one of the thesis's experiments, print ours beside its numbers"),
  )
    .addHelpText('after', EXAMPLES)
    .action((id: string | undefined, args: ReproduceArguments) => runReproduction(id, args, io))
}

async function runReproduction(id: string | undefined, args: ReproduceArguments, io: Io): Promise<void> {
  if (args.list) return list(args, io)
  if (args.page !== undefined) {
    const count = await writeResultsPage(args.page, args.results!)
    return io.err(`${args.page}: ${count} ${count === 1 ? 'experiment' : 'experiments'}\n`)
  }
  if (id === undefined) throw new DataError('reproduce: which experiment? See fovea reproduce --list')
  const experiment = experimentNamed(id)
  const scale = scaleOf(args, experiment)
  const folders = foldersOf(args.data ?? [], experiment)
  await refuseDataFolder(
    args.out,
    [...folders.values()].map((folder) => ({ folder })),
  )
  if (experiment.points) {
    const { results, pictures } = await onDevice(args, io, (device) =>
      device.run((gpu) => runBoundaries(gpu, experiment, scale, io.signal)),
    )
    return finish(experiment, results, args, io, pictures)
  }
  const sources = { folders, note: args.note }
  if (experiment.timed) {
    if (folders.size === 0)
      throw new DataError(`${id}: nothing is timed without images; ${wanted(experiment)}`)
    return finish(
      experiment,
      withSources(
        await onDevice(args, io, (device) =>
          device.run((gpu) => runTimes(gpu, experiment, scale, { folders, host: runHost(io) })),
        ),
        sources,
      ),
      args,
      io,
    )
  }
  const plan = planExperiment(experiment, scale, new Set(folders.keys()))
  for (const line of missingLines(plan)) io.err(`${line}\n`)
  if (plan.jobs.length === 0)
    throw new DataError(`${id}: nothing of it can be run; ${needs(experiment, plan)}`)
  // Runs that other experiments left in the same folder serve, too: those of approach B have all of approach A.
  const others: Job[] = []
  for (const job of jobsOfOthers(plan, scale, new Set(folders.keys())))
    if (await readResult(args, job.key)) others.push(job)
  const whole = { ...plan, jobs: [...plan.jobs, ...others] }
  const done = args.reportOnly
    ? await finished(args.out, whole)
    : await trainAndScore(experiment, sharing(whole), folders, args, io)
  const results = withoutPatients(resultsOf(experiment, scale, done.plan, done.jobs))
  await finish(experiment, withSources(results, sources), args, io)
}

/** Writes and prints the results. */
async function finish(
  experiment: Experiment,
  results: ExperimentResults,
  args: ReproduceArguments,
  io: Io,
  pictures?: Report['overlays'],
): Promise<void> {
  const { out } = args
  const text = resultsText(results)
  await writeFileAtomic(join(out, `${experiment.id}.json`), text)
  const report = join(out, `${experiment.id}.html`)
  await writeExperimentReport(report, out, experiment, results, pictures)
  io.out(args.json ? text : `\n${printed(experiment, results)}\n`)
  io.err(`Report: ${report}\n`)
}

/** A device for the length of a call. */
async function onDevice<T>(
  args: ReproduceArguments,
  io: Io,
  call: (device: RecoveringDevice) => Promise<T>,
): Promise<T> {
  const device = recoveringDevice(args.adapter, io, { tune: args.tune })
  try {
    io.err(`adapter: ${(await device.get()).adapter.name}\n`)
    return await call(device)
  } finally {
    device.close()
  }
}

const trainAndScore = (
  experiment: Experiment,
  plan: Plan,
  folders: ReadonlyMap<string, string>,
  args: ReproduceArguments,
  io: Io,
): Promise<{ plan: Plan; jobs: JobResult[] }> =>
  onDevice(args, io, async (device) => {
    const { out, checkpointActivations: activationCheckpointing = false } = args
    const work: Work = { host: runHost(io), device, out, experiment, folders, activationCheckpointing }
    return { plan, jobs: await runJobs(work, plan) }
  })

/** The runs that are done, of rows that share theirs or have their own; rows that want another one are marked. */
async function finished(out: string, own: Plan): Promise<{ plan: Plan; jobs: JobResult[] }> {
  const shared = sharing(own)
  const jobs: JobResult[] = []
  for (const { key } of own.jobs) {
    const result = await readResult({ out }, key)
    if (result) jobs.push(result)
  }
  if (jobs.length === 0)
    throw new DataError(`${out}: no run of this experiment is done; leave out --report-only`)
  const scored = new Map(jobs.map((job) => [job.key, job.scored]))
  const rows = own.rows.map((planned, i) => {
    const on = planned.row.on ?? planned.row.data
    const there = [shared.rows[i]!, planned].map((p) =>
      p.jobs.filter((key) => scored.get(key)?.[on] !== undefined),
    )
    // Shared runs may be fewer, where a method that trains more was run for some seeds only.
    const used = there[0]!.length >= there[1]!.length ? there[0]! : there[1]!
    const missing = planned.missing ?? (used.length === 0 ? 'not run yet' : undefined)
    return { ...planned, jobs: used, ...(missing ? { missing } : {}) }
  })
  const used = new Set(rows.flatMap((row) => row.jobs))
  return {
    jobs: jobs.filter(({ key }) => used.has(key)),
    plan: { jobs: own.jobs.filter(({ key }) => used.has(key)), rows },
  }
}

/** Why rows are not run: a line a reason. */
function missingLines({ rows }: Plan): string[] {
  const reasons = new Map<string, number>()
  for (const { missing } of rows) if (missing) reasons.set(missing, (reasons.get(missing) ?? 0) + 1)
  return [...reasons].map(([reason, n]) => `${reason}: ${n} of ${rows.length} rows are not run`)
}

function needs({ data }: Experiment, { rows }: Plan): string {
  if (rows.length === 0) return 'no row has these networks and shares'
  const methods = [...new Set(rows.map(({ row }) => unavailable(row)))]
  if (methods.every((reason) => reason !== undefined)) return methods.join('; ')
  return wanted({ data })
}

const wanted = ({ data }: Pick<Experiment, 'data'>): string =>
  `pass --data ${data.map(({ key, title }) => `${key}=FOLDER (${title})`).join(' ')}`

function list(args: ReproduceArguments, io: Io): void {
  if (args.json) {
    io.out(`${JSON.stringify({ experiments: EXPERIMENTS }, null, 2)}\n`)
    return
  }
  const rows = EXPERIMENTS.map(({ id, title, data, rows }) => {
    const ready = rows.filter((row) => !unavailable(row)).length
    return [
      id,
      title,
      data.map(({ key }) => key).join(' '),
      ready === rows.length ? `${ready}` : `${ready} of ${rows.length}`,
    ]
  })
  io.out(formatTable(['experiment', 'title', 'data', 'rows'], rows))
  const reasons = new Set(EXPERIMENTS.flatMap(({ rows }) => rows.flatMap((row) => unavailable(row) ?? [])))
  for (const reason of reasons) io.out(`${reason}\n`)
}

const printed = (experiment: Experiment, results: ExperimentResults): string => {
  const shown = shownRows(results)
  return [comparison(experiment, shown), ...outlines(experiment, shown)]
    .map(({ title, columns, rows }) => `${title}\n${formatTable(columns, rows)}`)
    .join('\n')
}
