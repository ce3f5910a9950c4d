import { resolve } from 'node:path'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { parseBytes } from '../gpu/bytes.ts'
import { DataError } from '../gpu/errors.ts'
import { TUNE_MODES, type TuneMode } from '../gpu/tuner.ts'
import { METHODS } from '../runs/methods/index.ts'
import { HEATMAP_NETWORKS, heatmapKindOf, kindOf, NETWORK_KINDS, STACKS } from '../runs/network-kinds.ts'
import { AUGMENTATION_NAMES, type Settings } from '../runs/settings.ts'

/** What commander makes of the options below. */
export interface TrainArguments
  extends Omit<Settings, 'epochs' | 'patience' | 'plateau' | 'transfer' | 'box'> {
  readonly box?: 'hard' | 'soft'
  readonly data: readonly string[]
  readonly out?: string
  readonly epochs?: number
  readonly patience?: number
  readonly plateau?: number
  readonly transfer?: boolean
  readonly adapter: string
  readonly tune?: TuneMode
  /** Most bytes on the GPU. */
  readonly memory?: number
  readonly checkpointActivations?: boolean
  readonly subgroupMatrices?: boolean
  readonly json?: boolean
  /** Thresholds of the fusion. */
  readonly t1: number
  readonly t2: number
}

const number =
  (what: string, fits: (value: number) => boolean) =>
  (text: string): number => {
    const value = Number(text)
    if (text.trim() === '' || !fits(value)) throw new InvalidArgumentError(`It must be ${what}.`)
    return value
  }

export const count = number('a whole number of at least 1', (v) => Number.isInteger(v) && v >= 1)
const part = number('a number over 0 and under 1', (v) => v > 0 && v < 1)
export const seed = number('a whole number of at least 0', (v) => Number.isSafeInteger(v) && v >= 0)
const side = number('a multiple of 16, in pixels', (v) => Number.isInteger(v) && v >= 16 && v % 16 === 0)
const notNegative = number('a number of at least 0', (v) => v >= 0 && Number.isFinite(v))
export const positive = number('a number over 0', (v) => v > 0 && Number.isFinite(v))
export const shareOrNone = number('a number of at least 0 and under 1', (v) => v >= 0 && v < 1)
export const shareOfAll = number('a number over 0 and up to 1', (v) => v > 0 && v <= 1)

function memory(text: string): number {
  const bytes = parseBytes(text)
  if (bytes === undefined) throw new InvalidArgumentError('It must be a size such as 8GB or 512MB.')
  return bytes
}

function fold(text: string): { index: number; of: number } {
  const [k, n] = (/^(\d+)\/(\d+)$/.exec(text) ?? []).slice(1).map(Number)
  if (!k || !n || n < 2 || k > n) throw new InvalidArgumentError('It must be k/n, such as 1/2 and 2/2.')
  return { index: k - 1, of: n }
}

export const adapterOption = (): Option =>
  new Option(
    '--adapter <name>',
    'auto, hardware, software, lavapipe, swiftshader or a part of a name',
  ).default('auto')

export const tuneOption = (): Option =>
  new Option(
    '--tune <from>',
    'choices of kernels: off, defaults of fovea, cached (by fovea tune), measure (what is unknown)',
  ).choices(TUNE_MODES)

export const precisionOption = (what: string): Option =>
  new Option(
    '--precision <name>',
    `${what}: float32, or mixed: activations in float16, for adapters with shader-f16`,
  ).choices(['float32', 'mixed'])

export const matricesOption = (): Option =>
  new Option(
    '--subgroup-matrices',
    "multiply by the adapter's subgroup matrices (experimental; an error where it offers none)",
  )

/** Adds the options of sliding-window inference. */
export const addWindowOptions = (command: Command): Command =>
  command
    .option(
      '--sliding-window <px>',
      'images in their own size go through in overlapping tiles of this side, averaged; methods cartesian and eat',
      count,
    )
    .option('--overlap <part>', 'of a tile with its neighbour (default: 0.5)', shareOrNone)

/** The options of `fovea train`. */
export function addTrainOptions(command: Command): Command {
  return command
    .requiredOption(
      '--data <folders...>',
      'folders of images and masks; each is trained and scored by itself',
    )
    .option('--out <folder>', 'run folder; the same command resumes it (default: runs/NAMES of the data)')
    .addOption(
      new Option('--method <name>', 'auto: crops where objects are told apart (instances), else polar')
        .choices(['auto', ...Object.keys(METHODS)])
        .default('auto'),
    )
    .addOption(
      new Option(
        '--network <name>',
        'unet, Res-U-Net++ or DeepLabV3+, the last two on a ResNet-34 of that width',
      )
        .choices(Object.keys(NETWORK_KINDS))
        .default('unet'),
    )
    .option(
      '--pretrained <file>',
      "safetensors from which the first network takes what fits: a run's best weights, torchvision's ResNet-34",
    )
    .option('--size <px>', "side of the networks' input, a multiple of 16 (unetplusplus: 32)", side, 64)
    .option('--features <n>', 'channels of the first level (thesis: 32; ResNet-34: 64)', count, 8)
    .option('--epochs <n>', 'default: as many as show each network some 900 images, 4 to 40', count)
    .option('--batch <n>', 'images a step (thesis: 8)', count, 4)
    .option('--lr <rate>', 'learning rate of Adam (thesis: 1e-3)', positive, 2e-3)
    .option('--weight-decay <rate>', 'L2 weight decay', notNegative, 0)
    .option('--seed <n>', 'of weights, split, order and augmentation', seed, 42)
    .option('--share <part>', 'part of the training images that is used', shareOfAll, 1)
    .option('--patience <n>', 'epochs without a better validation DSC after which training ends', count)
    .option(
      '--plateau <n>',
      'epochs without a better one after which the learning rate falls to a tenth',
      count,
    )
    .addOption(
      new Option(
        '--schedule <name>',
        'learning rate over the epochs: half a cosine to 0, or constant (thesis)',
      )
        .choices(['constant', 'cosine'])
        .default('cosine'),
    )
    .addOption(
      new Option(
        '--augment <name>',
        'flips, shifts, scaling, rotation, grid distortion as in the thesis: 4.3.3, 4.4 (aorta), 5.1 (crops), 6.4 (depth)',
      )
        .choices(AUGMENTATION_NAMES)
        .default('none'),
    )
    .addOption(
      new Option('--origins <names...>', 'polar: where the origins of the scored images come from')
        .choices(['truth', 'cartesian'])
        .default(['truth', 'cartesian']),
    )
    .addOption(
      new Option(
        '--heatmap-network <name>',
        'centre-heatmap: what finds the centres; the hourglass is eight times as wide as --features',
      )
        .choices(HEATMAP_NETWORKS)
        .default('hourglass'),
    )
    .option('--stacks <n>', 'hourglasses one after another (thesis: 8)', count, STACKS)
    .option(
      '--sigma <px>',
      'of the Gaussians about centres, for images of 256 px (thesis: 8; liver: 16)',
      positive,
      8,
    )
    .option('--t1 <value>', 'several: pixels of the fused map above it may be kept', shareOrNone, 0)
    .option('--t2 <value>', 'several: of those, components that somewhere exceed it are', shareOrNone, 0.4)
    .option(
      '--resolution <px>',
      'end-to-end: side of the images that crops are cut from (thesis: 1024; default: 4 times --size)',
      count,
    )
    .addOption(
      new Option(
        '--box <name>',
        "end-to-end: hard, around the coarse mask (thesis), or soft, of the map's spread, with a gradient",
      )
        .choices(['hard', 'soft'])
        .default('hard'),
    )
    .option('--transfer', 'the second network starts from the weights of the first (default: crops only)')
    .option('--no-transfer', 'it starts from random weights')
    .option('--depth-channel', "slices by patient: append each slice's depth as a channel", false)
    .addOption(precisionOption('arithmetic of the networks').default('float32'))
    .option('--validation <part>', 'share of the groups for validation', part, 0.1)
    .option('--test <part>', 'share of the groups for the scores', part, 0.1)
    .option('--fold <k/n>', 'instead: the k-th of n parts of the groups, such as 1/2', fold)
    .addOption(adapterOption())
    .addOption(tuneOption())
    .addOption(matricesOption())
    .option(
      '--memory <size>',
      'most that training may take on the GPU, such as 8GB (default: on a CPU driver the memory there is, else no limit)',
      memory,
    )
    .option(
      '--checkpoint-activations',
      'activation checkpointing: half the memory, a third more time, the same results',
    )
    .option('--json', 'print the results as JSON on standard output')
}

/** Settings from the command line. */
export function settingsOf(args: TrainArguments): Settings {
  const { method, size, features, batch, lr, weightDecay, seed, share, augment, origins, depthChannel } = args
  const schedule = args.plateau === undefined ? args.schedule : 'constant'
  const { network = 'unet', pretrained } = args
  const kinds = [kindOf(network), ...(method === 'centre-heatmap' ? [heatmapKindOf(args)] : [])]
  for (const { step, title } of kinds) {
    if (size % step !== 0)
      throw new DataError(
        `--size ${size}: ${title} wants a multiple of ${step}; pass --size ${Math.ceil(size / step) * step}`,
      )
  }
  if (args.t2 < args.t1) throw new DataError(`--t2 ${args.t2} is below --t1 ${args.t1}; swap them`)
  // Left out where they are the defaults, so that runs from before there was a choice can be resumed.
  const chosen = {
    ...(network === 'unet' ? {} : { network }),
    ...(pretrained === undefined ? {} : { pretrained: resolve(pretrained) }),
    ...(args.resolution === undefined ? {} : { resolution: args.resolution }),
    ...(args.fold === undefined ? {} : { fold: args.fold }),
    ...(args.box === 'soft' ? { box: args.box } : {}),
    ...(args.precision === 'mixed' ? { precision: args.precision } : {}),
    ...(args.heatmapNetwork === 'hourglass' ? {} : { heatmapNetwork: args.heatmapNetwork }),
    ...(args.t1 === 0 && args.t2 === 0.4 ? {} : { hysteresis: { low: args.t1, high: args.t2 } }),
    ...(args.stacks === STACKS ? {} : { stacks: args.stacks }),
    ...(args.sigma === 8 ? {} : { sigma: args.sigma }),
  }
  const { validation, test, epochs = null, patience = null, plateau = null, transfer = null } = args
  const shared = { method, size, features, epochs, batch, lr, weightDecay, seed, share, patience, plateau }
  const rest = { origins, transfer, depthChannel, validation, test }
  return { ...shared, ...chosen, schedule, augment, ...rest }
}
