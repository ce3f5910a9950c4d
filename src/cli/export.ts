import { extname, join } from 'node:path'
import type { Command } from 'commander'
import { DataError } from '../gpu/errors.ts'
import type { Module } from '../nn/module.ts'
import { safetensorsFrom } from '../nn/state.ts'
import { writeFileAtomic } from '../node/atomic.ts'
import { exportOnnx } from '../onnx/export.ts'
import { JointNetwork } from '../pipelines/joint-network.ts'
import { methodOf } from '../runs/methods/index.ts'
import { type RunContext, withNetworks } from '../runs/networks.ts'
import { networkFolder } from '../runs/plan.ts'
import { entryNamed, readRun } from '../runs/saved-run.ts'
import type { Io } from './io.ts'
import { adapterOption } from './options.ts'
import { runHost } from './progress.ts'
import { recoveringDevice } from './session.ts'

interface ExportArguments {
  readonly run: string
  readonly out: string
  readonly dataset?: string
  readonly network?: string
  readonly foldBatchNorm: boolean
  readonly adapter: string
}

/** `fovea export`: a run's best weights for other programs. */
export function exportCommand(program: Command, io: Io): void {
  program
    .command('export')
    .description("write one of a run's networks as .onnx (network and weights) or .safetensors (weights)")
    .requiredOption('--run <folder>', 'run folder, the --out of fovea train')
    .requiredOption('--out <file>', 'NAME.onnx or NAME.safetensors')
    .option('--dataset <name>', "which of the run's data sets, where there are several")
    .option(
      '--network <name>',
      "which of its networks: cartesian, polar, heatmap, rough, fine, or NAME.PART of one that is several, such as end-to-end.fine (default: the method's last)",
    )
    .option('--no-fold-batch-norm', 'ONNX: keep batch norms as operators of their own')
    .addOption(adapterOption())
    .addHelpText(
      'after',
      `
ONNX: input "input" (batch, channels, height, width) as the network sees images, output "output" with probabilities;
batch and size are free. Safetensors: names of PyTorch's state dict.

Examples:
  fovea export --run runs/demo --dataset lesion --network polar --out polar.onnx
  fovea export --run runs/mine --out weights.safetensors`,
    )
    .action((args: ExportArguments) => runExport(args, io))
}

/** The network itself, or the part of it that is wanted. */
function chosen(
  net: Module,
  { run, name, wanted, format }: { run: string; name: string; wanted: string; format: string },
): Module {
  const parts: Readonly<Record<string, Module>> = net instanceof JointNetwork ? net.networks : {}
  const names = Object.keys(parts).map((part) => `${name}.${part}`)
  if (wanted !== name) {
    const part = parts[wanted.slice(name.length + 1)]
    if (part) return part
    throw new DataError(
      `${run} has no network ${wanted}; of ${name} it has ${names.join(', ') || 'no parts'}`,
    )
  }
  if (format === '.onnx' && names.length > 0)
    throw new DataError(
      `${name} is several networks with a transform between them, which ONNX has no operators for; export them one by one ` +
        `(--network ${names.join(', --network ')}), or all its weights as .safetensors`,
    )
  return net
}

/** Channels that the first convolution takes: a part may see more than the images have. */
const inputChannels = (net: Module): number =>
  net.namedParameters().find(([, { rank }]) => rank === 4)![1].shape[1]!

async function runExport(args: ExportArguments, io: Io): Promise<void> {
  const format = extname(args.out)
  if (format !== '.onnx' && format !== '.safetensors')
    throw new DataError(`--out ${args.out}: name a file that ends in .onnx or .safetensors`)
  const run = await readRun(args.run)
  const entry = entryNamed(run, args.run, args.dataset)
  const names = methodOf(entry.method)
    .networks(run.settings)
    .map((n) => n.name)
  const wanted = args.network ?? names.at(-1)!
  const name = names.find((n) => wanted === n || wanted.startsWith(`${n}.`))
  if (!name)
    throw new DataError(`${args.run} has no network ${wanted} for ${entry.name}; it has ${names.join(', ')}`)
  const device = recoveringDevice(args.adapter, io)
  try {
    const context: RunContext = { host: runHost(io), out: args.run, settings: run.settings, device }
    const { size } = run.settings
    const bytes = await withNetworks(context, entry, async (_, nets) => {
      const net = chosen(nets[name]!, { run: args.run, name, wanted, format })
      if (format === '.safetensors')
        return safetensorsFrom(net.stateDict(), { network: net.constructor.name })
      const { foldBatchNorm } = args
      const channels = net === nets[name] ? entry.channels : inputChannels(net)
      return exportOnnx(net, { channels, height: size, width: size, foldBatchNorm })
    })
    await writeFileAtomic(args.out, bytes)
    io.err(`${join(networkFolder(args.run, entry.name, name), 'best.safetensors')} as ${args.out}\n`)
  } finally {
    device.close()
  }
}
