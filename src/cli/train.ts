import { join } from 'node:path'
import type { Command } from 'commander'
import { parseSafetensors } from '../nn/safetensors.ts'
import { writeFileAtomic } from '../node/atomic.ts'
import { refuseDataFolder } from '../node/out-folder.ts'
import { RunFolder } from '../node/run-folder.ts'
import { readWeights } from '../node/safetensors.ts'
import { Interrupted } from '../runs/host.ts'
import { METHODS, methodOf } from '../runs/methods/index.ts'
import { type RunContext, type TrainedNetwork, trainNetwork, withNetworks } from '../runs/networks.ts'
import { type DataPlan, entryOf, planData } from '../runs/plan.ts'
import { writeRunReport } from '../runs/report.ts'
import { type DataResult, resultsJson, scoresCsv } from '../runs/results.ts'
import type { Io } from './io.ts'
import { addTrainOptions, settingsOf, type TrainArguments } from './options.ts'
import { runHost } from './progress.ts'
import { recoveringDevice } from './session.ts'
import { printedTables } from './table.ts'

const listOfMethods = (): string =>
  Object.entries(METHODS)
    .map(([name, { title }]) => `  ${name.padEnd(15)}${title}`)
    .join('\n')

const EXAMPLES = `
Each folder is split into training, validation and test by patient or image (seeded, 80/10/10). Then:
${listOfMethods()}
The run folder gets config.json, a folder a network (metrics.jsonl, last and best weights), results.json,
scores.csv and report.html. Ctrl-C ends at the next step; the same command goes on, with --memory and
--checkpoint-activations as it likes: they change no result. An --out among images is refused.

Examples:
  fovea train --data data/lesion data/nuclei --out runs/demo
  fovea train --data shared/pericardium --depth-channel --out runs/depth
  fovea train --data data/lesion --size 256 --features 32 --epochs 60 --augment thesis --out runs/large
  fovea train --data data/lesion --network deeplabv3plus --features 64 --size 256 --pretrained resnet34.safetensors
  fovea train --data data/lesion --method centre-heatmap --heatmap-network hourglass --out runs/b
  fovea train --data data/nuclei --method several --out runs/several
  fovea train --data data/lesion --method cartesian --share 0.25 --json > results.json`

/** `fovea train`: trains, scores on held-out images, reports. */
export function trainCommand(program: Command, io: Io): void {
  addTrainOptions(
    program.command('train').description('train on folders of images and masks, score on held-out images'),
  )
    .addHelpText('after', EXAMPLES)
    .action((args: TrainArguments) => runTraining(args, io))
}

async function runTraining(args: TrainArguments, io: Io): Promise<void> {
  const started = performance.now()
  const settings = settingsOf(args)
  const plans = await planData(args.data, settings)
  for (const { name, dataset } of plans)
    for (const sentence of dataset.leftOut ?? []) io.err(`${name}: ${sentence}\n`)
  const out = args.out ?? join('runs', plans.map((p) => p.name).join('-'))
  await refuseDataFolder(
    out,
    plans.map(({ folder, dataset: { layout } }) => ({ folder, layout })),
  )
  // Weights and adapter before the run folder keeps the settings: with others of these the same command shall go on.
  if (settings.pretrained) parseSafetensors(await readWeights(settings.pretrained), settings.pretrained)
  const device = recoveringDevice(args.adapter, io, {
    tune: args.tune,
    memoryLimit: args.memory,
    subgroupMatrices: args.subgroupMatrices,
  })
  try {
    const activationCheckpointing = args.checkpointActivations ?? false
    const context: RunContext = { host: runHost(io), out, settings, device, activationCheckpointing }
    const adapter = (await device.get()).adapter.name
    io.err(`adapter: ${adapter}\n`)
    await RunFolder.open(out, { fovea: 1, data: plans.map(entryOf), settings })
    const results: DataResult[] = []
    for (const plan of plans) results.push(await runData(context, plan))
    const seconds = (performance.now() - started) / 1000
    const json = resultsJson(adapter, seconds, results)
    const text = `${JSON.stringify(json, null, 2)}\n`
    await writeFileAtomic(join(out, 'results.json'), text)
    await writeFileAtomic(join(out, 'scores.csv'), scoresCsv(results))
    const report = join(out, 'report.html')
    await writeRunReport(report, { adapter, seconds, settings, results })
    io.out(args.json ? text : `\n${results.map(printedTables).join('\n')}\n`)
    io.err(`${Math.round(seconds)} s. Report: ${report}\n`)
  } finally {
    device.close()
  }
}

/** Trains a data set's networks and scores them. */
async function runData(context: RunContext, plan: DataPlan): Promise<DataResult> {
  const { host, settings } = context
  const { train, validation, test, dataset } = plan
  host.note(
    `${plan.name}: ${train.length} training, ${validation.length} validation, ${test.length} test images, ` +
      `method ${plan.method}\n`,
  )
  const networks: TrainedNetwork[] = []
  for (const network of methodOf(plan.method).networks(settings)) {
    if (host.signal.aborted)
      throw new Interrupted('stopped between two networks; run the same command again to go on')
    networks.push(await trainNetwork(context, plan, network))
  }
  const { name, method } = plan
  const scored = await withNetworks(context, { name, method, channels: dataset.channels }, (device, nets) =>
    methodOf(method).score(device, nets, test, settings, host.signal),
  )
  return { plan, networks, scored }
}
