import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Device } from '../src/autograd/device.ts'
import { diceLoss } from '../src/autograd/ops/dice-loss.ts'
import type { Tensor } from '../src/autograd/tensor.ts'
import type { Io } from '../src/cli/io.ts'
import { runCommand } from '../src/cli/run.ts'
import { FoveaError } from '../src/gpu/errors.ts'
import { UNet } from '../src/nn/networks/unet.ts'
import { Adam } from '../src/nn/optim/adam.ts'
import { GradScaler } from '../src/nn/optim/grad-scaler.ts'
import { openDevice } from '../src/node/open.ts'
import { inPrecision, type Precision } from '../src/pipelines/precision.ts'

/** What mixed precision costs and saves beside float32: a training step of the U-Net, and the DSC it learns. */

const PRECISIONS: readonly Precision[] = ['float32', 'mixed']

export interface StepRow {
  readonly name: string
  readonly precision: Precision
  /** Of a step, interleaved with the other precision's. */
  readonly median: number
  readonly min: number
  readonly dispatches: number
  /** Activations and their gradients as planned, MB. */
  readonly activations: number
  /** All buffers at their peak, MB. */
  readonly peak: number
}

export interface StepSize {
  readonly features: number
  readonly batch: number
  readonly side: number
}

const megabytes = (bytes: number): number => bytes / 2 ** 20

function stepOf(device: Device, features: number, precision: Precision) {
  const net = new UNet(device, { features })
  const adam = new Adam(net.parameters())
  const scaler = precision === 'mixed' ? new GradScaler(device) : undefined
  return device.compile((x: Tensor, y: Tensor) => {
    adam.zeroGrad()
    const loss = inPrecision(device, precision, () => diceLoss(net.forward(x), y))
    if (scaler) scaler.backward(loss)
    else loss.backward()
    adam.step(scaler ? { scaler } : {})
    scaler?.update()
    return loss
  })
}

/** Opens a device for each precision, and times their steps in turn: what else the machine does falls on both. */
export async function benchSteps(
  adapter: string,
  { features, batch, side }: StepSize,
  rounds = 10,
): Promise<StepRow[]> {
  const count = batch * side * side
  const image = Float32Array.from({ length: count }, (_, i) => Math.sin(0.1 * i))
  const mask = Float32Array.from({ length: count }, (_, i) =>
    i % side > side / 3 && i % side < side / 1.5 ? 1 : 0,
  )
  const runs = await Promise.all(
    PRECISIONS.map(async (precision) => {
      const device = await openDevice({ adapter })
      const step = stepOf(device, features, precision)
      const args = [image, mask].map((data) => device.tensor(data, [batch, 1, side, side])) as [
        Tensor,
        Tensor,
      ]
      return { precision, device, step, args, times: [] as number[] }
    }),
  )
  for (let round = -2; round < rounds; round++) {
    for (const { device, step, args, times } of runs) {
      const start = performance.now()
      step(...args)
      await device.idle()
      if (round >= 0) times.push(performance.now() - start)
    }
  }
  return runs.map(({ precision, device, step, times }) => {
    times.sort((a, b) => a - b)
    const { dispatches, memory } = step.captures[0]!
    const row = {
      name: `unet${features} training step ${batch}x1x${side}x${side}`,
      precision,
      median: times[times.length >> 1]!,
      min: times[0]!,
      dispatches,
      activations: megabytes(memory.intermediates.planned),
      peak: megabytes(device.memory().peakBytes),
    }
    device.destroy()
    return row
  })
}

export interface DiceRow {
  readonly dataset: string
  readonly method: string
  readonly seed: number
  readonly precision: Precision
  /** Mean DSC over the held-out images. */
  readonly dice: number
  readonly seconds: number
}

interface Results {
  readonly seconds: number
  readonly datasets: readonly {
    readonly name: string
    readonly methods: readonly {
      readonly label: string
      readonly cartesian: { readonly dice: { readonly mean: number } }
    }[]
  }[]
}

/** `fovea train` in both precisions with each seed. Runs that are done already are read from their folder. */
export async function benchTraining(
  out: string,
  seeds: readonly number[],
  args: readonly string[],
  say: (text: string) => void,
): Promise<DiceRow[]> {
  const rows: DiceRow[] = []
  for (const seed of seeds) {
    for (const precision of PRECISIONS) {
      const folder = join(out, `${precision}-${seed}`)
      const file = join(folder, 'results.json')
      if (!existsSync(file)) {
        say(`seed ${seed}, ${precision}\n`)
        const io: Io = { out: () => {}, err: say, terminal: false, signal: new AbortController().signal }
        const own = ['--seed', String(seed), '--precision', precision, '--out', folder]
        const status = await runCommand(['train', ...args, ...own], io)
        if (status !== 0) throw new FoveaError(`fovea train ended with exit code ${status}`)
      }
      const { seconds, datasets } = JSON.parse(await readFile(file, 'utf8')) as Results
      for (const { name, methods } of datasets)
        for (const { label, cartesian } of methods)
          rows.push({ dataset: name, method: label, seed, precision, dice: cartesian.dice.mean, seconds })
    }
  }
  return rows
}

/** Mean and standard deviation over seeds (n − 1). */
export function spreadOf(values: readonly number[]): { mean: number; sd: number } {
  const mean = values.reduce((a, b) => a + b, 0) / values.length
  const squares = values.reduce((sum, v) => sum + (v - mean) ** 2, 0)
  return { mean, sd: values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : 0 }
}

const cell = (text: string | number, width: number): string => String(text).padStart(width)

export function stepTable(rows: readonly StepRow[]): string {
  const head = `${'work'.padEnd(40)}${cell('precision', 10)}${cell('median ms', 11)}${cell('min', 8)}${cell('launches', 10)}${cell('activations MB', 16)}${cell('peak MB', 9)}`
  const lines = rows.map(
    (r) =>
      `${r.name.padEnd(40)}${cell(r.precision, 10)}${cell(r.median.toFixed(1), 11)}${cell(r.min.toFixed(1), 8)}${cell(r.dispatches, 10)}${cell(r.activations.toFixed(1), 16)}${cell(r.peak.toFixed(1), 9)}`,
  )
  return [head, ...lines].join('\n')
}

export function diceTable(rows: readonly DiceRow[]): string {
  const kinds = [...new Set(rows.map((r) => `${r.dataset}: ${r.method}`))]
  const seeds = [...new Set(rows.map((r) => r.seed))]
  const head = `${'DSC'.padEnd(40)}${cell('precision', 10)}${seeds.map((s) => cell(`seed ${s}`, 9)).join('')}${cell('mean ± SD', 17)}`
  const lines = kinds.flatMap((kind) =>
    PRECISIONS.map((precision) => {
      const mine = rows.filter((r) => `${r.dataset}: ${r.method}` === kind && r.precision === precision)
      const { mean, sd } = spreadOf(mine.map((r) => r.dice))
      return `${kind.padEnd(40)}${cell(precision, 10)}${mine.map((r) => cell(r.dice.toFixed(3), 9)).join('')}${cell(`${mean.toFixed(3)} ± ${sd.toFixed(3)}`, 17)}`
    }),
  )
  return [head, ...lines].join('\n')
}
