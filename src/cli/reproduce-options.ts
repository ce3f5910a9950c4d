import { type Command, InvalidArgumentError, Option } from 'commander'
import { EXPERIMENTS } from '../experiments/catalogue.ts'
import type { Experiment, TrainingOf } from '../experiments/experiment.ts'
import { type Scale, SMALL, usualScale } from '../experiments/jobs.ts'
import { DataError } from '../gpu/errors.ts'
import { NETWORK_KINDS, type NetworkName } from '../runs/network-kinds.ts'
import { AUGMENTATION_NAMES } from '../runs/settings.ts'
import { adapterOption, count, positive, seed, shareOfAll, shareOrNone, tuneOption } from './options.ts'

/** What commander makes of the options of `fovea reproduce`. */
export interface ReproduceArguments {
  readonly list?: boolean
  readonly page?: string
  readonly results?: string
  readonly data?: readonly string[]
  readonly out: string
  readonly full?: boolean
  readonly networks?: readonly NetworkName[]
  readonly sizes?: readonly number[]
  readonly shares?: readonly number[]
  readonly features?: number
  readonly epochs?: number
  readonly batch?: number
  readonly lr?: number
  readonly schedule?: Scale['schedule']
  readonly augment?: Scale['augment']
  readonly seeds: readonly number[]
  readonly folds?: number
  readonly subset: number
  readonly skip: number
  readonly sigma?: number
  readonly reportOnly?: boolean
  readonly note?: string
  readonly checkpointActivations?: boolean
  readonly adapter: string
  readonly tune?: 'off' | 'cached' | 'measure'
  readonly json?: boolean
}

const several =
  <T>(one: (text: string) => T) =>
  (text: string, before: readonly T[] | undefined): T[] => [...(before ?? []), one(text)]

function folds(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 0 || value === 1)
    throw new InvalidArgumentError('It must be 0, or 2 or more.')
  return value
}

export function addReproduceOptions(command: Command): Command {
  return command
    .argument('[experiment]', 'a table or figure of the thesis, such as table-4.1')
    .option('--list', 'list the experiments and what can be run of them')
    .option(
      '--data <name=folder...>',
      "folders of the experiment's data sets; one folder without a name where it has one data set",
    )
    .option(
      '--out <folder>',
      'runs, results (ID.json) and reports (ID.html); the same command goes on',
      'runs/reproduce',
    )
    .option('--full', "the thesis's features, epochs, batch, learning rate, augmentation, split and folds")
    .addOption(
      new Option('--networks <names...>', 'of its networks, these').choices(Object.keys(NETWORK_KINDS)),
    )
    .option('--sizes <px...>', "sides of the networks' input, instead of its own", several(count))
    .option('--shares <parts...>', 'of its shares of the training set, these', several(shareOfAll))
    .option('--features <n>', `channels of the first level (default: ${SMALL.features})`, count)
    .option('--epochs <n>', 'default: as many as show each network some 900 images, 4 to 40', count)
    .option('--batch <n>', `images a step (default: ${SMALL.batch})`, count)
    .option('--lr <rate>', `learning rate of Adam (default: ${SMALL.lr})`, positive)
    .addOption(
      new Option('--schedule <name>', 'learning rate over the epochs (default: cosine)').choices([
        'constant',
        'cosine',
      ]),
    )
    .addOption(new Option('--augment <name>', '(default: none)').choices(AUGMENTATION_NAMES))
    .option(
      '--seeds <n...>',
      'of weights and order, a run each; the split stays (default: 42)',
      several(seed),
    )
    .option('--folds <k>', 'cross-validation by patient or image (default: one split, 80/10/10)', folds)
    .option('--subset <part>', 'part of the patients or images that is used at all', shareOfAll, 1)
    .option(
      '--skip <part>',
      'part of them that is passed over first: what a run with that --subset has used',
      shareOrNone,
      0,
    )
    .option(
      '--sigma <px>',
      "width of the heatmaps' Gaussians at 256 px (default: 8, of livers 16, as in the thesis)",
      positive,
    )
    .option('--report-only', 'no training and no scoring: results and report from the runs that are done')
    .option(
      '--checkpoint-activations',
      'activation checkpointing in training: half the memory, a third more time',
    )
    .option('--note <text>', 'kept in the results: what stands in for what, and the like')
    .option('--page <file>', 'write one page of Markdown from the JSON of --results, and nothing else')
    .option('--results <folder>', 'JSON files of experiments, for --page', 'docs/results')
    .addOption(adapterOption())
    .addOption(tuneOption())
    .option('--json', 'print the results as JSON on standard output')
}

/** The experiment that is named. */
export function experimentNamed(id: string): Experiment {
  const found = EXPERIMENTS.find((e) => e.id === id)
  if (found) return found
  throw new DataError(`${id}: no such experiment; there are ${EXPERIMENTS.map((e) => e.id).join(', ')}`)
}

/** How an experiment is run, from the command line. */
export function scaleOf(args: ReproduceArguments, experiment: Experiment): Scale {
  const usual = usualScale(experiment, args.full ?? false)
  const { seeds = usual.seeds } = args
  const twice = seeds.find((seed, i) => seeds.indexOf(seed) < i)
  if (twice !== undefined)
    throw new DataError(
      `--seeds ${seeds.join(' ')}: ${twice} is named twice, and would count as two runs; name it once`,
    )
  if (args.skip + args.subset > 1 + 1e-9)
    throw new DataError(
      `--skip ${args.skip} and --subset ${args.subset} are more than the whole; together they may be 1 at most`,
    )
  const { sets, batchAt, plateau } = usual
  const sizes = args.sizes ?? usual.sizes
  return {
    features: args.features ?? usual.features,
    epochs: args.epochs ?? usual.epochs,
    batch: args.batch ?? usual.batch,
    lr: args.lr ?? usual.lr,
    schedule: args.schedule ?? usual.schedule,
    augment: args.augment ?? usual.augment,
    seeds,
    folds: args.folds ?? usual.folds,
    subset: args.subset,
    ...(args.skip === 0 ? {} : { skip: args.skip }),
    ...(args.full ? { full: true as const } : {}),
    ...(plateau === undefined ? {} : { plateau }),
    ...(sets ? { sets: withoutGiven(sets, args) } : {}),
    ...(batchAt && args.batch === undefined ? { batchAt } : {}),
    ...(sizes ? { sizes } : {}),
    ...(args.sigma === undefined ? {} : { sigma: args.sigma }),
    ...(args.networks ? { networks: args.networks } : {}),
    ...(args.shares ? { shares: args.shares } : {}),
  }
}

/** What the thesis has by data set, less what the command line gives for all. */
const withoutGiven = (sets: TrainingOf, { epochs, batch, lr }: ReproduceArguments): TrainingOf => {
  const given = Object.entries({ epochs, batch, heatmapBatch: batch, lr }).flatMap(([name, v]) =>
    v === undefined ? [] : [name],
  )
  return Object.fromEntries(
    Object.entries(sets).map(([data, own]) => [
      data,
      Object.fromEntries(Object.entries(own!).filter(([name]) => !given.includes(name))),
    ]),
  )
}

/** Folders by the name of the data set. Throws a DataError where a name is none of the experiment's. */
export function foldersOf(given: readonly string[], { id, data }: Experiment): Map<string, string> {
  const keys = data.map(({ key }) => key)
  if (keys.length === 0 && given.length > 0)
    throw new DataError(`--data ${given[0]}: ${id} is about points and takes no images; leave it out`)
  const folders = new Map<string, string>()
  for (const text of given) {
    const at = text.indexOf('=')
    const name = at < 0 && keys.length === 1 ? keys[0]! : text.slice(0, Math.max(0, at))
    if (!keys.includes(name))
      throw new DataError(`--data ${text}: ${id} wants NAME=FOLDER, with a name of ${keys.join(', ')}`)
    if (folders.has(name)) throw new DataError(`--data ${text}: ${name} is given twice; give one folder`)
    folders.set(name, text.slice(at + 1))
  }
  return folders
}
