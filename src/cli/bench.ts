import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Command, Option } from 'commander'
import { NETWORKS } from '../../bench/catalog.ts'
import { type Ceiling, higher, launchOverhead, measureCeiling } from '../../bench/ceiling.ts'
import { compare, type PeerReport } from '../../bench/compare.ts'
import { benchDealt, type Work as DealtWork } from '../../bench/dealt.ts'
import { environmentOf } from '../../bench/environment.ts'
import { benchInput } from '../../bench/input.ts'
import { benchKernels, casesNamed, type KernelRow } from '../../bench/kernels.ts'
import { measureQuickly } from '../../bench/measure.ts'
import {
  benchNetworks,
  buildNetwork,
  type NetworkCase,
  nameOf,
  PHASES,
  type WorkRow,
} from '../../bench/networks.ts'
import { benchObjects } from '../../bench/objects.ts'
import { benchPixels, type PixelsRow } from '../../bench/pixels.ts'
import { type NetworkProfile, profileNetwork, type RawProfile, withFloors } from '../../bench/profile.ts'
import { type Scene, sceneOf } from '../../bench/scenes.ts'
import { firstSteps, startTimes } from '../../bench/start.ts'
import { DataError } from '../gpu/errors.ts'
import { tune, type VariantTiming } from '../gpu/tune.ts'
import { openDevice } from '../node/open.ts'
import {
  type BenchOptions,
  casesOf,
  checkTogether,
  count,
  counts,
  deviceOptions,
  kernelPart,
  networks,
} from './bench-options.ts'
import {
  ceilingLine,
  comparisonText,
  dealtHead,
  dealtLine,
  inputText,
  kernelHead,
  kernelLine,
  objectsText,
  pixelsHead,
  pixelsLines,
  profileText,
  startText,
  workHead,
  workLine,
} from './bench-tables.ts'
import { type Io, unlessInterrupted } from './io.ts'
import { adapterOption, matricesOption, precisionOption } from './options.ts'

/** `fovea bench`: kernels and networks against the adapter's ceiling and, in the same run, against peers. */
export function benchCommand(program: Command, io: Io): void {
  program
    .command('bench')
    .description(
      'time kernels and networks, beside what the adapter gives at most and beside other libraries',
    )
    .addOption(adapterOption())
    .option('--only <text>', 'kernels whose name contains this', kernelPart, '')
    .option('--no-kernels', 'leave the kernels out')
    .option('--no-networks', 'leave the networks out')
    .option(
      '--profile',
      'time by kernel of the networks, each launch against its floor; in place of the rest',
    )
    .option('--start', 'time from the start of a process to the first training step; in place of the rest')
    .option(
      '--dealt',
      'networks with the workgroups of a launch dealt out while it runs and without, in turns; in place of the rest',
    )
    .option('--pixels', 'time a pixel of the networks over all sizes, in turns; in place of the rest')
    .addOption(new Option('--first-steps', 'what --start runs in processes of their own').hideHelp())
    .addOption(new Option('--one-by-one', 'with --first-steps: no kernel is compiled ahead').hideHelp())
    .option(
      '--input [folder]',
      'training steps fed from files beside steps on a batch that lies on the GPU (default: data/lesion); in place of the rest',
    )
    .option(
      '--objects',
      'methods that take an image apart by its 154 objects, by parts; in place of the rest',
    )
    .option('--data <folder>', '--objects: also those of a real image, the first with 100 or more')
    .option(
      '--peers',
      'run tfjs, jax-js, ONNX Runtime and PyTorch (on the processor) on the same work (npm ci --prefix bench/peers)',
    )
    .option('--tune', 'measure every variant of every op first and take the fastest')
    .option('--large', 'convolutions large enough for a graphics processor, too')
    .option('--network <names>', `of ${Object.keys(NETWORKS).join(', ')}`, networks, ['unet'])
    .option('--features <n,…>', 'channels of the first level, for networks that have a width', counts, [16])
    .option('--channels <n>', 'channels of the images', count, 1)
    .option('--batch <n,…>', 'images a batch', counts, [4])
    .option('--size <px,…>', 'sides of the images, pixels', counts, [64])
    .addOption(precisionOption('arithmetic of the networks').default('float32'))
    .addOption(matricesOption())
    .option('--quick', 'measure for about a twentieth of the time: figures are rough')
    .option('--json', 'print JSON on standard output')
    .addHelpText(
      'after',
      `
Times are medians and least values of several runs, in milliseconds. Lists have commas between their values.

Examples:
  fovea bench                                  every kernel and the U-Net
  fovea bench --only conv2d --no-networks      convolutions alone
  fovea bench --no-kernels --peers             the U-Net beside tfjs, jax-js, ONNX Runtime and PyTorch
  fovea bench --profile --size 64,128,256      by kernel against its floor, and time a pixel
  fovea bench --pixels --size 64,128,256,512   whether time a pixel is the same at all sizes
  fovea bench --input --size 256 --features 8  what training waits for images
  fovea bench --objects --features 8 --batch 1 crops and polar images of many objects
  fovea bench --start                          compile time: shader cache of the driver empty and full`,
    )
    .action((options: BenchOptions) => runBench(options, io))
}

async function runBench(options: BenchOptions, io: Io): Promise<void> {
  checkTogether(options)
  const cases = casesOf('bench', options)
  const peers = options.peers ? peersScript() : undefined
  const scene = options.data === undefined ? undefined : await sceneOf(options.data)
  const say = (line: string) => {
    if (!options.json && !options.firstSteps) io.out(`${line}\n`)
  }
  const device = await openDevice(deviceOptions(options))
  try {
    measureQuickly(options.quick === true)
    if (options.firstSteps) {
      io.out(`${JSON.stringify(await firstSteps(device, cases[0]!, !options.oneByOne))}\n`)
      return
    }
    if (options.precision === 'mixed' && (options.networks || options.profile)) device.assertHalf('bench')
    const environment = environmentOf(device)
    say(`adapter: ${environment.adapter}`)
    const measured = measureAll(device, options, { cases, scene, peers }, say)
    const figures = await unlessInterrupted(io, measured, 'stopped before everything was measured')
    const result = { ...environment, ...(options.quick && { quick: true }), ...figures }
    if (options.json) io.out(`${JSON.stringify(result, rounded, 1)}\n`)
  } finally {
    measureQuickly(false)
    device.destroy()
  }
}

/** Five digits are more than any of these numbers has. */
const rounded = (_: string, value: unknown): unknown =>
  typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value

type OpenDevice = Awaited<ReturnType<typeof openDevice>>
type Say = (line: string) => void

/** What the options name, found before anything is measured. */
interface Work {
  readonly cases: readonly NetworkCase[]
  readonly scene: Scene | undefined
  /** The script that runs the peers. */
  readonly peers: string | undefined
}

async function measureAll(
  device: OpenDevice,
  options: BenchOptions,
  { cases, scene, peers: script }: Work,
  say: Say,
): Promise<object> {
  if (options.start) {
    const start = startOf(options, cases[0]!)
    say(`\n${startText(start)}`)
    return { start }
  }
  if (options.dealt) {
    say(dealtHead)
    return { dealt: await benchDealt(device, worksOf(options, cases), { onRow: (r) => say(dealtLine(r)) }) }
  }
  if (options.pixels) {
    say(pixelsHead)
    const onRows = (rows: readonly PixelsRow[]) => say(pixelsLines(rows))
    return { pixels: await benchPixels(device, cases, { onRows }) }
  }
  if (options.input) {
    const folder = options.input === true ? 'data/lesion' : options.input
    const input = await benchInput(device, folder, cases[0]!)
    say(inputText(input))
    return { input }
  }
  if (options.objects) {
    const objects = await benchObjects(device, cases[0]!)
    if (scene) objects.push(...(await benchObjects(device, cases[0]!, scene)))
    say(objectsText(objects))
    return { ceiling: await measureCeiling(device), objects }
  }
  const ceiling = await measureCeiling(device)
  if (options.profile) return profileAll(device, options, ceiling, cases, say)
  say(ceilingLine(ceiling))
  say('')
  if (options.tune && options.networks) await tuneAll(device, cases, say)
  const kernels: KernelRow[] = options.kernels ? await kernelsOf(device, options, ceiling, say) : []
  const rows: WorkRow[] = options.networks ? await networksOf(device, cases, say) : []
  const peers = script ? await runPeers(script, device.adapter.name, say) : []
  const comparison = compare(rows, peers)
  if (script) say(comparisonText(comparison, peers))
  return { ceiling, kernels, networks: rows, peers, comparison }
}

async function kernelsOf(
  device: OpenDevice,
  { only, tune, large }: BenchOptions,
  ceiling: Ceiling,
  say: Say,
) {
  say(kernelHead)
  const rows = await benchKernels(device, ceiling, { only, tune, large, onRow: (r) => say(kernelLine(r)) })
  say('')
  return rows
}

function networksOf(device: OpenDevice, cases: readonly NetworkCase[], say: Say): Promise<WorkRow[]> {
  say(workHead)
  return benchNetworks(device, cases, { onRow: (r) => say(workLine(r)) })
}

/**
 * Each case on a device of its own: memory and first calls are its own, too. The ceilings are measured again after
 * each, and the best of all counts: a neighbour of the machine must not make a kernel look better than it is.
 */
async function profileAll(
  device: OpenDevice,
  options: BenchOptions,
  first: Ceiling,
  cases: readonly NetworkCase[],
  say: Say,
): Promise<{ ceiling: Ceiling; overheadUs: number; profiles: NetworkProfile[] }> {
  const overheadUs = await launchOverhead(device)
  say(workHead)
  let ceiling = first
  const taken: RawProfile[] = []
  for (const each of cases) {
    const own = await openDevice(deviceOptions(options))
    try {
      if (options.tune) await tuneAll(own, [each], say)
      taken.push(...(await profileNetwork(own, each, { onRow: (r) => say(workLine(r)) })))
    } finally {
      own.destroy()
    }
    ceiling = higher(ceiling, await measureCeiling(device))
  }
  const profiles = taken.map((raw) => withFloors(raw, ceiling))
  say(`\n${ceilingLine(ceiling)}`)
  say(`launch: ${overheadUs.toFixed(1)} µs for one more of a kernel that does nothing\n`)
  for (const profile of profiles) say(profileText(profile))
  return { ceiling, overheadUs, profiles }
}

/** Lets the tuner choose the convolutions of these networks by measurement. */
async function tuneAll(device: OpenDevice, cases: readonly NetworkCase[], say: Say): Promise<void> {
  const timings: VariantTiming[] = []
  for (const each of cases) {
    const built = buildNetwork(device, each)
    timings.push(...(await tune(device, built.phase('training step'))))
    built.dispose()
  }
  say(`tuned: ${timings.filter((t) => t.chosen).length} ops\n`)
}

/** What `--dealt` compares: both phases of networks, and kernels. */
const worksOf = (
  { networks, kernels, only, large }: BenchOptions,
  cases: readonly NetworkCase[],
): DealtWork[] => [
  ...(networks ? cases : []).flatMap((each) =>
    PHASES.map((phase) => ({
      name: nameOf(each, phase),
      setup: (device: OpenDevice) => {
        const built = buildNetwork(device, each)
        return { call: built.phase(phase), dispose: () => built.dispose() }
      },
    })),
  ),
  ...(kernels ? casesNamed(only, large ?? false) : []).map((c) => ({
    name: c.name,
    setup: (device: OpenDevice) => {
      const call = c.setup(device)
      return { call, dispose: () => call.dispose?.() }
    },
  })),
]

function startOf(options: BenchOptions, each: NetworkCase) {
  const { network, features, inChannels, batch, side, precision } = each
  const script = resolve('dist/cli.js')
  if (!existsSync(script))
    throw new DataError(
      'bench --start: it runs dist/cli.js; run it from a clone of fovea, after npm run build',
    )
  const { adapter } = options
  const same = { network, features, channels: inChannels, batch, size: side, precision, adapter }
  const flags = Object.entries(same).flatMap(([name, value]) => [`--${name}`, String(value)])
  return startTimes([script, 'bench', '--first-steps', ...flags])
}

/** The script that runs the peers, where all is there that it needs. */
function peersScript(): string {
  const script = resolve('bench/peers/run.mjs')
  if (!existsSync(script))
    throw new DataError('bench --peers: bench/peers is part of the repository; run it from a clone of fovea')
  if (!existsSync(resolve('bench/peers/node_modules')))
    throw new DataError('bench --peers: the peers are not installed; run `npm ci --prefix bench/peers` first')
  return script
}

/** Runs bench/peers in processes of their own, on the same driver. */
async function runPeers(script: string, adapter: string, say: Say): Promise<PeerReport[]> {
  const { runPeers: run } = (await import(pathToFileURL(script).href)) as {
    runPeers(options: object): Promise<PeerReport[]>
  }
  return run({
    adapter: /llvmpipe/i.test(adapter) ? 'lavapipe' : 'auto',
    onReport: (r: PeerReport) => say(`${r.peer} ${r.version ?? ''}: ${r.error ?? 'done'}`),
  })
}
