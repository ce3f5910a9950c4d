import { realpath } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import type { Dataset, Sample } from '../data/dataset.ts'
import { kFold, splitDataset } from '../data/split.ts'
import { DataError } from '../gpu/errors.ts'
import { defaultNormalization, openDataset } from '../node/folders.ts'
import { type MethodName, methodOf } from './methods/index.ts'
import { imageSizeOf } from './methods/method.ts'
import type { Settings } from './settings.ts'

/** One data set of a run: what is trained and scored on it, and where its networks are kept. */
export interface DataPlan {
  /** Unique in the run; the name of its subfolder. */
  readonly name: string
  readonly folder: string
  readonly method: MethodName
  readonly dataset: Dataset
  readonly train: readonly Sample[]
  readonly validation: readonly Sample[]
  readonly test: readonly Sample[]
}

/** A data set as config.json keeps it. */
export interface DataEntry {
  readonly name: string
  readonly folder: string
  readonly method: MethodName
  readonly layout: string
  readonly channels: number
}

/** Opens the folders of a run, each under a name of its own, and splits them by group. */
export async function planData(folders: readonly string[], settings: Settings): Promise<DataPlan[]> {
  const plans: DataPlan[] = []
  const real = await Promise.all(folders.map((folder) => realpath(folder).catch(() => resolve(folder))))
  const twice = real.findIndex((path, i) => real.indexOf(path) < i)
  if (twice >= 0) throw new DataError(`--data ${folders[twice]}: this folder is named twice; name it once`)
  const { validation, test } = settings
  if (validation + test >= 1) {
    throw new DataError(
      `--validation ${validation} and --test ${test} leave no images for training; together they must stay under 1`,
    )
  }
  for (const folder of folders) {
    const base = basename(resolve(folder))
    const same = plans.filter((p) => p.name === base || p.name.startsWith(`${base}-`)).length
    plans.push(await planOne(folder, same === 0 ? base : `${base}-${same + 1}`, settings))
  }
  return plans
}

/** How a method sees images of a data set. */
function viewOf(method: MethodName, settings: Settings) {
  const { range } = methodOf(method)
  const size = imageSizeOf(methodOf(method), settings)
  return {
    depthChannel: settings.depthChannel,
    ...(size === undefined ? {} : { size }),
    ...(range ? { range } : {}),
  }
}

/** Opens one data set of a run and splits it: by shares, or into a fold's test part and the rest. */
export async function planOne(
  folder: string,
  name: string,
  settings: Settings,
  open: typeof openDataset = openDataset,
): Promise<DataPlan> {
  const whole = await open(folder, { depthChannel: settings.depthChannel })
  const method = methodFor(whole, settings)
  const view = viewOf(method, settings)
  const dataset =
    view.size === undefined && !view.range
      ? whole
      : await open(folder, { ...view, channels: coloursOf(whole, settings) })
  return { name, folder: resolve(folder), method, dataset, ...split(folder, dataset.samples, settings) }
}

/** The first part of the groups in the order that a seed gives them, and the rest. */
const parted = (samples: readonly Sample[], part: number, seed: number) =>
  splitDataset(samples, { fractions: { first: part, rest: 1 - part }, seed })

function split(folder: string, all: readonly Sample[], settings: Settings) {
  const { validation, test, fold, dataShare = 1, dataSkip = 0, splitSeed: seed = settings.seed } = settings
  // In two steps, so that what is passed over is, to the image, what a run of that share has used.
  const left = dataSkip > 0 ? parted(all, dataSkip, seed).rest : all
  const share = dataShare / (1 - dataSkip)
  const samples = share < 1 - 1e-9 ? parted(left, share, seed).first : left
  const groups = new Set(samples.map((s) => s.group)).size
  const wanted = fold ? Math.max(3, fold.of) : 3
  if (groups < wanted) {
    throw new DataError(
      fold
        ? `${folder}: ${groups} images or patients leave a part of a ${fold.of}-fold cross-validation empty; at least ${wanted} are needed`
        : `${folder}: ${groups} images or patients cannot be split into training, validation and test; at least 3 are needed`,
    )
  }
  if (!fold) {
    const fractions = { train: 1 - validation - test, validation, test }
    return splitDataset(samples, { fractions, seed })
  }
  const { train: rest, test: held } = kFold(samples, fold.of, seed)[fold.index]!
  if (new Set(rest.map((s) => s.group)).size < 2)
    throw new DataError(
      `${folder}: fold ${fold.index + 1} of ${fold.of} leaves one image or patient for training and validation; at least 2 are needed`,
    )
  return {
    ...splitDataset(rest, { fractions: { train: 1 - validation, validation }, seed }),
    test: held,
  }
}

const coloursOf = (dataset: Dataset, { depthChannel }: Settings): 1 | 3 =>
  (dataset.channels - (depthChannel ? 1 : 0)) as 1 | 3

function methodFor(dataset: Dataset, { method, size }: Settings): MethodName {
  if (method !== 'auto') return method
  const [height, width] = dataset.samples[0]!.originalSize
  const worthCropping = dataset.layout === 'instances' && Math.max(height, width) > size
  return worthCropping ? 'crops' : 'polar'
}

/** What config.json keeps of a data set. */
export const entryOf = ({ name, folder, method, dataset }: DataPlan): DataEntry => ({
  name,
  folder,
  method,
  layout: dataset.layout,
  channels: dataset.channels,
})

/** Folder of a network of the run. */
export const networkFolder = (out: string, data: string, network: string): string => join(out, data, network)

/** Another folder for the networks of a run: all of it is held out. */
export async function planWhole(
  folder: string,
  entry: DataEntry,
  settings: Settings,
  open: typeof openDataset = openDataset,
): Promise<DataPlan> {
  const dataset = await open(folder, {
    ...viewOf(entry.method, settings),
    channels: (entry.channels - (settings.depthChannel ? 1 : 0)) as 1 | 3,
    normalize: defaultNormalization(entry.layout),
  })
  const { name, method } = entry
  return { name, folder: resolve(folder), method, dataset, train: [], validation: [], test: dataset.samples }
}
