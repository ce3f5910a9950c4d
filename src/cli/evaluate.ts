import type { Command } from 'commander'
import { DataError } from '../gpu/errors.ts'
import type { Precision } from '../pipelines/precision.ts'
import { methodOf } from '../runs/methods/index.ts'
import { type RunContext, withNetworks } from '../runs/networks.ts'
import { type DataEntry, type DataPlan, planData, planWhole } from '../runs/plan.ts'
import { type DataResult, resultsJson } from '../runs/results.ts'
import { entryNamed, readRun, type SavedRun } from '../runs/saved-run.ts'
import type { Settings } from '../runs/settings.ts'
import { checkWindow, type WindowArguments, withWindow } from '../runs/sliding-window.ts'
import type { Io } from './io.ts'
import { adapterOption, addWindowOptions, precisionOption } from './options.ts'
import { runHost } from './progress.ts'
import { recoveringDevice } from './session.ts'
import { printedTables } from './table.ts'

interface EvaluateArguments extends WindowArguments {
  readonly run: string
  readonly data?: string
  readonly dataset?: string
  readonly precision?: Precision
  readonly adapter: string
  readonly json?: boolean
}

/** `fovea evaluate`: scores a run's best weights again. */
export function evaluateCommand(program: Command, io: Io): void {
  addWindowOptions(program.command('evaluate'))
    .description("score a run's best weights on its held-out images, or on another folder")
    .requiredOption('--run <folder>', 'run folder, the --out of fovea train')
    .option('--data <folder>', 'score all images of this folder instead of the held-out ones')
    .option('--dataset <name>', "which of the run's data sets (needed with --data where there are several)")
    .addOption(precisionOption("arithmetic, instead of the run's own"))
    .addOption(adapterOption())
    .option('--json', 'print the results as JSON on standard output')
    .addHelpText(
      'after',
      `
Examples:
  fovea evaluate --run runs/demo                                         the held-out images again
  fovea evaluate --run runs/demo --dataset lesion --data more/lesions    out of sample
  fovea evaluate --run runs/tiles --data whole-slides --sliding-window 256 --overlap 0.5
  fovea evaluate --run runs/demo --json | jq '.datasets[0].methods'`,
    )
    .action((args: EvaluateArguments) => runEvaluation(args, io))
}

async function runEvaluation(args: EvaluateArguments, io: Io): Promise<void> {
  const started = performance.now()
  const run = await readRun(args.run)
  const plans = await plansOf(run, args)
  const device = recoveringDevice(args.adapter, io)
  try {
    const adapter = (await device.get()).adapter.name
    io.err(`adapter: ${adapter}\n`)
    const results: DataResult[] = []
    for (const { entry, plan, settings } of plans) {
      const context: RunContext = { host: runHost(io), out: args.run, settings, device }
      const scored = await withNetworks(context, entry, (gpu, nets) => {
        const { length } = plan.test
        io.err(`${plan.name}: scoring ${length} ${length === 1 ? 'image' : 'images'}\n`)
        return methodOf(entry.method).score(gpu, nets, plan.test, settings, io.signal)
      })
      results.push({ plan, networks: [], scored })
    }
    const seconds = (performance.now() - started) / 1000
    if (args.json) io.out(`${JSON.stringify(resultsJson(adapter, seconds, results), null, 2)}\n`)
    else io.out(`\n${results.map(printedTables).join('\n')}\n`)
  } finally {
    device.close()
  }
}

interface Planned {
  readonly entry: DataEntry
  readonly plan: DataPlan
  /** The run's own, with what the command asks for. */
  readonly settings: Settings
}

/** The run's own data sets, or another folder by the networks of one of them. */
async function plansOf(run: SavedRun, args: EvaluateArguments): Promise<Planned[]> {
  const { run: folder, data, dataset, precision } = args
  const settingsFor = ({ method }: DataEntry): Settings =>
    withWindow({ ...run.settings, ...(precision ? { precision } : {}) }, method, args)
  const all = data === undefined && dataset === undefined
  const entries = all ? run.data : [entryNamed(run, folder, dataset)]
  const plans: Planned[] = []
  for (const entry of entries) {
    const settings = settingsFor(entry)
    const plan =
      data === undefined ? await planOwn(entry, settings, folder) : await planWhole(data, entry, settings)
    for (const {
      id,
      originalSize: [height, width],
    } of plan.test)
      checkWindow(id, { height, width }, settings)
    plans.push({ entry, plan, settings })
  }
  return plans
}

/** The run's own folder, split as in training. */
async function planOwn(entry: DataEntry, settings: Settings, run: string): Promise<DataPlan> {
  const [plan] = await planData([entry.folder], { ...settings, method: entry.method })
  if (plan!.dataset.channels !== entry.channels)
    throw new DataError(
      `${entry.folder}: its images have ${plan!.dataset.channels} channels now, the run ${run} saw ${entry.channels}; restore the folder or pass --data`,
    )
  return { ...plan!, name: entry.name }
}
