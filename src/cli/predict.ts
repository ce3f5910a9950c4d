import { join, parse } from 'node:path'
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { Device } from '../autograd/device.ts'
import { prepareSample, type SampleData } from '../data/dataset.ts'
import type { Image } from '../data/image.ts'
import { resizeImage } from '../data/resize.ts'
import { DataError } from '../gpu/errors.ts'
import { writeFileAtomic } from '../node/atomic.ts'
import { defaultNormalization, FAT } from '../node/folders.ts'
import { readImage, readImageSize } from '../node/image.ts'
import { findImages } from '../node/layouts.ts'
import { refuseToReplace } from '../node/out-folder.ts'
import { writeMask } from '../node/png.ts'
import { overlayPng } from '../node/report.ts'
import { readVolume } from '../node/volume/read.ts'
import type { Precision } from '../pipelines/precision.ts'
import type { MaskScores } from '../pipelines/score-masks.ts'
import { Interrupted } from '../runs/host.ts'
import { methodOf } from '../runs/methods/index.ts'
import { imageSizeOf, type Networks } from '../runs/methods/method.ts'
import { type RunContext, withNetworks } from '../runs/networks.ts'
import type { DataEntry } from '../runs/plan.ts'
import { predictMasks, type Refinement } from '../runs/predict.ts'
import { entryNamed, readRun } from '../runs/saved-run.ts'
import type { Settings } from '../runs/settings.ts'
import { checkWindow, type WindowArguments, withWindow } from '../runs/sliding-window.ts'
import type { Io } from './io.ts'
import { adapterOption, addWindowOptions, count, precisionOption } from './options.ts'
import {
  checkVolumes,
  findVolumes,
  type PredictedVolume,
  predictVolume,
  scanMaskOf,
} from './predict-volume.ts'
import { runHost } from './progress.ts'
import { recoveringDevice } from './session.ts'
import { Unread } from './unread.ts'

interface PredictArguments extends Refinement, WindowArguments {
  readonly run: string
  readonly out: string
  readonly dataset?: string
  readonly overlay?: boolean
  readonly precision?: Precision
  readonly adapter: string
  readonly json?: boolean
  readonly window?: readonly [number, number]
  readonly above: 'white' | 'black'
  readonly slices?: readonly [number, number]
  readonly series?: string
  readonly bySlice?: boolean
  readonly truth?: string
}

/** Images in one forward pass. */
const BATCH = 8

/** `fovea predict`: masks of new images. */
export function predictCommand(program: Command, io: Io): void {
  addWindowOptions(program.command('predict'))
    .description("write masks of new images and scans, by a run's networks and method")
    .argument(
      '<image, scan or folder>',
      'PNG, JPEG, TIFF or BMP; NIfTI, NRRD, DICOM, or a folder with the slices of a series; masks beside images are left out',
    )
    .requiredOption('--run <folder>', 'run folder, the --out of fovea train')
    .requiredOption(
      '--out <folder>',
      'where NAME_mask.png goes, black and white, in the size of the image; of scans NAME_mask.nii.gz',
    )
    .option('--dataset <name>', "which of the run's data sets, where there are several")
    .option('--overlay', 'write NAME_overlay.png, too: the outline over the image')
    .addOption(
      new Option(
        '--flip <axes>',
        'average with mirror images: left and right, up and down, or both; 2 or 4 passes',
      ).choices(['x', 'y', 'xy']),
    )
    .option(
      '--keep-largest <k>',
      'only the k largest components of each image (4-connected) or scan (6-connected, in three dimensions)',
      count,
    )
    .option(
      '--fill-holes',
      'fill what steps along the axes cannot reach from the border, before the largest components are kept',
    )
    .option('--by-slice', 'scans: holes and components slice by slice, not in three dimensions')
    .option('--window <low,high>', 'scans: HU of black and white in the images of training', pair('--window'))
    .addOption(
      new Option('--above <colour>', 'scans: what lies over the window; black for slices of fat')
        .choices(['white', 'black'])
        .default('white'),
    )
    .option('--slices <first,last>', 'scans: only these, from 0 at the bottom; the others stay empty', slices)
    .option('--series <name>', 'scans: which series of a DICOM folder, by a part of its UID or description')
    .option('--truth <file>', 'scans: a mask on the same grid to score against')
    .addOption(precisionOption("arithmetic, instead of the run's own"))
    .addOption(adapterOption())
    .option('--json', 'print the list of masks as JSON on standard output')
    .addHelpText(
      'after',
      `
Polar runs take the origin from the Cartesian network, of centre-heatmap from the heatmap; crops run
segment-then-segment at full size.
With a depth channel, a folder is one patient's slices in numeric order.
With --sliding-window objects must be as large in px as they were in training: for runs on images cut out of larger ones.
A scan goes through slice by slice; its mask has the scan's own grid.

Examples:
  fovea predict --run runs/demo --dataset lesion photo.jpg --out masks --overlay
  fovea predict --run runs/demo --dataset nuclei data/nuclei --out masks
  fovea predict --run runs/mine new --out masks --flip xy --keep-largest 1 --fill-holes
  fovea predict --run runs/tiles whole-slides --out masks --sliding-window 256 --overlap 0.5
  fovea predict --run runs/liver scan.nii.gz --out masks --truth liver.nii.gz --keep-largest 1
  fovea predict --run runs/eat dicom/ --window=-200,-30 --above black --slices 12,54 --out masks`,
    )
    .action((path: string, args: PredictArguments) => runPrediction(path, args, io))
}

async function runPrediction(path: string, args: PredictArguments, io: Io): Promise<void> {
  const run = await readRun(args.run)
  const entry = entryNamed(run, args.run, args.dataset)
  const { precision } = args
  const settings = withWindow({ ...run.settings, ...(precision ? { precision } : {}) }, entry.method, args)
  const scans = await findVolumes(path)
  checkVolumes(path, scans, args)
  const files = scans.length > 0 ? [] : await findImages(path)
  refuseSameNames(files)
  if (settings.slidingWindow)
    for (const file of files) {
      const size = await readImageSize(file).catch(() => undefined)
      // What cannot be read is told when its turn comes.
      if (size) checkWindow(file, size, settings)
    }
  await refuseToReplace(path, args.out, [...files.map(maskOf), ...scans.map(scanMaskOf)])
  const device = recoveringDevice(args.adapter, io)
  // Anew for each device, where one is lost and all begins again.
  let unread = new Unread()
  try {
    io.err(`adapter: ${(await device.get()).adapter.name}\n`)
    const context: RunContext = { host: runHost(io), out: args.run, settings, device }
    if (scans.length > 0) {
      const volumes = await withNetworks(context, entry, async (gpu, nets) => {
        const made: PredictedVolume[] = []
        unread = new Unread()
        for (const scan of scans) {
          const { series } = args
          const onLeftOut = (sentence: string) => io.err(`${sentence}\n`)
          const volume = await unread.read(() =>
            readVolume(scan, { onLeftOut, ...(series === undefined ? {} : { series }) }),
          )
          if (volume) made.push(await predictVolume(gpu, nets, scan, { volume, entry, settings, args, io }))
        }
        return made
      })
      if (args.json) io.out(`${JSON.stringify({ masks: volumes }, null, 2)}\n`)
      else io.out(volumes.map(described).join(''))
      return unread.refuse(scans.length, args.out)
    }
    const masks = await withNetworks(context, entry, (gpu, nets) => {
      unread = new Unread()
      return predictAll(gpu, nets, { files, unread, entry, settings, args, io })
    })
    if (args.json) io.out(`${JSON.stringify({ masks }, null, 2)}\n`)
    else io.out(`${masks.length} ${masks.length === 1 ? 'mask' : 'masks'} in ${args.out}\n`)
    unread.refuse(files.length, args.out)
  } finally {
    device.close()
  }
}

const described = ({ mask, voxels, millilitres, shape, scores }: PredictedVolume): string =>
  `${mask}: ${shape.join('×')} voxels, ${voxels} of them inside, ${millilitres.toFixed(1)} ml` +
  `${scores ? `, ${scored(scores)}` : ''}\n`

function scored({ dice, iou, hausdorff95, meanSurfaceDistance, boundaryIou }: MaskScores): string {
  const distances = Number.isFinite(hausdorff95)
    ? `Hausdorff 95 % ${hausdorff95.toFixed(2)} mm, mean surface distance ${meanSurfaceDistance.toFixed(2)} mm`
    : 'no distance as one of the two masks is empty'
  return `DSC ${dice.toFixed(3)}, IoU ${iou.toFixed(3)}, ${distances}, boundary IoU ${boundaryIou.toFixed(3)}`
}

/** Two numbers in order, from the command line. */
const pair =
  (option: string) =>
  (text: string): readonly [number, number] => {
    const [low, high, ...more] = text.split(',').map(Number)
    if (more.length > 0 || !Number.isFinite(low) || !Number.isFinite(high) || low! >= high!)
      throw new InvalidArgumentError(
        `It must be two numbers, the lower one first, such as ${option}=-200,-30.`,
      )
    return [low!, high!]
  }

function slices(text: string): readonly [number, number] {
  const [first, last, ...more] = text.split(',').map(Number)
  if (more.length > 0 || ![first, last].every((z) => Number.isInteger(z) && z! >= 0) || first! > last!)
    throw new InvalidArgumentError('It must be two whole numbers from 0, such as 12,54.')
  return [first!, last!]
}

/** Name of an image without its folder, its extension and the data sets' `_image`. */
const nameOf = (file: string): string => parse(file).name.replace(/_image$/, '')

const maskOf = (file: string): string => `${nameOf(file)}_mask.png`

function refuseSameNames(files: readonly string[]): void {
  const seen = new Map<string, string>()
  for (const file of files) {
    const name = nameOf(file)
    const other = seen.get(name)
    if (other) throw new DataError(`${other} and ${file} would write the same mask; predict them apart`)
    seen.set(name, file)
  }
}

interface Work {
  readonly files: readonly string[]
  readonly unread: Unread
  readonly entry: DataEntry
  readonly settings: Settings
  readonly args: PredictArguments
  readonly io: Io
}

interface PredictedMask {
  readonly image: string
  readonly mask: string
  /** Foreground pixels. */
  readonly area: number
}

async function predictAll(device: Device, nets: Networks, work: Work): Promise<PredictedMask[]> {
  const { files, unread, entry, settings, args, io } = work
  const results: PredictedMask[] = []
  for (let i = 0; i < files.length; i += BATCH) {
    if (io.signal.aborted)
      throw new Interrupted(
        `stopped after ${results.length} of ${files.length} masks; those in ${args.out} are whole`,
      )
    const read = await Promise.all(
      files.slice(i, i + BATCH).map(async (file, k) => {
        const image = await unread.read(() => readImage(file))
        return image ? [{ file, image, data: prepare(image, (i + k) / files.length, entry, settings) }] : []
      }),
    )
    const batch = read.flat()
    const images = batch.map(({ data }) => data)
    const maps = await predictMasks(device, methodOf(entry.method), settings, nets, images, args)
    for (const [k, { file, image, data }] of batch.entries()) {
      const [, height, width] = image.shape
      const map = resizeImage(maps[k]!, [1, data.height, data.width], [height, width])
      results.push(await writeOne(file, image, map, args))
    }
    io.err(`${Math.min(i + BATCH, files.length)}/${files.length} images\n`)
  }
  return results
}

function prepare(image: Image, depth: number, entry: DataEntry, settings: Settings): SampleData {
  const { depthChannel } = settings
  const size = imageSizeOf(methodOf(entry.method), settings)
  return prepareSample(
    { image },
    {
      channels: entry.channels - (depthChannel ? 1 : 0),
      normalize: defaultNormalization(entry.layout),
      range: methodOf(entry.method).range && FAT.windowed,
      ...(size === undefined ? {} : { size: [size, size] as const }),
      ...(depthChannel ? { depth } : {}),
    },
  )
}

async function writeOne(
  file: string,
  { data, shape: [channels, height, width] }: Image,
  map: Float32Array,
  args: PredictArguments,
): Promise<PredictedMask> {
  const name = nameOf(file)
  const mask = join(args.out, maskOf(file))
  await writeMask(mask, map, { height, width })
  if (args.overlay) {
    // Without a truth, one outline: an empty mask stands in.
    const none = new Float32Array(map.length)
    const png = await overlayPng({ image: data, channels, height, width }, none, map)
    await writeFileAtomic(join(args.out, `${name}_overlay.png`), png)
  }
  return { image: file, mask, area: map.reduce((n, v) => n + (v > 0.5 ? 1 : 0), 0) }
}
