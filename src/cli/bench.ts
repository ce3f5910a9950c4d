import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Command } from 'commander'
import { measureCeiling } from '../../bench/ceiling.ts'
import { type Comparison, compare, type PeerReport } from '../../bench/compare.ts'
import { benchKernels, type KernelRow } from '../../bench/kernels.ts'
import { benchNetworks, type WorkRow } from '../../bench/networks.ts'
import { DataError } from '../gpu/errors.ts'
import { openDevice } from '../node/open.ts'

interface BenchOptions {
  readonly adapter?: string
  readonly only?: string
  readonly kernels: boolean
  readonly networks: boolean
  readonly peers?: boolean
  readonly features: string
  readonly batch: string
  readonly size: string
  readonly json?: boolean
}

const cell = (text: string | number, width: number): string => String(text).padStart(width)

const kernelLine = (r: KernelRow): string =>
  `${r.name.padEnd(52)}${cell(r.min.toFixed(3), 10)}${cell(r.gflops.toFixed(2), 10)}${cell(r.gbs.toFixed(2), 9)}${cell(`${(100 * r.share).toFixed(0)} %`, 8)}${r.nsPerPixel ? cell(`${r.nsPerPixel.toFixed(2)} ns/px`, 14) : ''}`

const workLine = (r: WorkRow): string =>
  `${r.name.padEnd(46)}${cell(r.ms.toFixed(1), 10)}${cell(r.min.toFixed(1), 9)}${cell(r.dispatches, 9)}${cell(r.submissions, 9)}${cell(r.newBuffers, 9)}${cell(r.jsMs.toFixed(2), 8)}${cell(r.firstMs.toFixed(0), 9)}`

/** `fovea bench`: kernels and networks against the adapter's ceiling and, in the same run, against peers. */
export function benchCommand(program: Command): void {
  program
    .command('bench')
    .description(
      'time kernels and networks, beside what the adapter gives at most and beside other libraries',
    )
    .option('--adapter <name>', 'auto, hardware, software, lavapipe, swiftshader or a part of a name')
    .option('--only <text>', 'kernels whose name contains this')
    .option('--no-kernels', 'leave the kernels out')
    .option('--no-networks', 'leave the networks out')
    .option('--peers', 'run tfjs, jax-js and ONNX Runtime on the same work (npm ci --prefix bench/peers)')
    .option('--features <n>', 'features of the U-Net', '16')
    .option('--batch <n>', 'images a batch', '4')
    .option('--size <n>', 'side of the images, pixels', '64')
    .option('--json', 'print JSON on standard output')
    .addHelpText(
      'after',
      `
Examples:
  fovea bench                                  every kernel and the U-Net
  fovea bench --only conv2d --no-networks      convolutions alone
  fovea bench --no-kernels --peers             the U-Net beside tfjs, jax-js and ONNX Runtime`,
    )
    .action(runBench)
}

async function runBench(options: BenchOptions): Promise<void> {
  const say = (line: string) => (options.json ? undefined : console.log(line))
  const device = await openDevice({ adapter: options.adapter ?? 'auto' })
  const adapter = device.adapter.name
  say(`adapter: ${adapter}`)
  const ceiling = await measureCeiling(device)
  say(`ceiling: ${ceiling.gflops.toFixed(1)} GFLOP/s multiply-adds, ${ceiling.gbs.toFixed(2)} GB/s copy\n`)
  let kernels: KernelRow[] = []
  if (options.kernels) {
    say(
      `${'kernel'.padEnd(52)}${cell('ms', 10)}${cell('GFLOP/s', 10)}${cell('GB/s', 9)}${cell('ceiling', 8)}`,
    )
    kernels = await benchKernels(device, ceiling, options.only, (r) => say(kernelLine(r)))
    say('')
  }
  let networks: WorkRow[] = []
  if (options.networks) {
    say(
      `${'work'.padEnd(46)}${cell('median ms', 10)}${cell('min', 9)}${cell('launches', 9)}${cell('submits', 9)}${cell('buffers', 9)}${cell('JS ms', 8)}${cell('first ms', 9)}`,
    )
    networks = await benchNetworks(device, {
      features: Number(options.features),
      batch: Number(options.batch),
      side: Number(options.size),
      onRow: (r) => say(workLine(r)),
    })
  }
  const peers = options.peers ? await runPeers(adapter, say) : []
  const comparison = compare(networks, peers)
  if (options.peers) sayComparison(comparison, peers, say)
  if (options.json)
    console.log(JSON.stringify({ adapter, ceiling, kernels, networks, peers, comparison }, null, 2))
  device.destroy()
}

/** Runs bench/peers in processes of their own, on the same driver. */
async function runPeers(adapter: string, say: (line: string) => void): Promise<PeerReport[]> {
  const script = resolve('bench/peers/run.mjs')
  if (!existsSync(script))
    throw new DataError('bench --peers: bench/peers is part of the repository; run it from a clone of fovea')
  const { runPeers: run } = (await import(pathToFileURL(script).href)) as {
    runPeers(options: object): Promise<PeerReport[]>
  }
  return run({
    adapter: /llvmpipe/i.test(adapter) ? 'lavapipe' : 'auto',
    onReport: (r: PeerReport) => say(`${r.peer} ${r.version ?? ''}: ${r.error ?? 'done'}`),
  })
}

function sayComparison(
  rows: readonly Comparison[],
  peers: readonly PeerReport[],
  say: (line: string) => void,
): void {
  say(`\n${'median ms'.padEnd(46)}${cell('fovea', 10)}${peers.map((p) => cell(p.peer, 28)).join('')}`)
  for (const r of rows) {
    const others = peers.map((p) => {
      const found = r.peers.find((x) => x.peer === p.peer)
      return cell(found ? `${found.ms.toFixed(1)} (${found.ratio.toFixed(1)}×)` : '–', 28)
    })
    say(`${r.name.padEnd(46)}${cell(r.fovea.toFixed(1), 10)}${others.join('')}`)
  }
}
