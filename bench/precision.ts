import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { diceLoss } from '../src/autograd/ops/dice-loss.ts'
import type { Tensor } from '../src/autograd/tensor.ts'
import type { Io } from '../src/cli/io.ts'
import { runCommand } from '../src/cli/run.ts'
import { FoveaError } from '../src/gpu/errors.ts'
import { UNet } from '../src/nn/networks/unet.ts'
import { openDevice } from '../src/node/open.ts'
import { inPrecision, type Precision } from '../src/pipelines/precision.ts'
import { buildNetwork } from './networks.ts'

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

/** Opens a device for each precision, and times their steps in turn: what else the machine does falls on both. */
export async function benchSteps(
  adapter: string,
  { features, batch, side }: StepSize,
  rounds = 10,
): Promise<StepRow[]> {
  const runs = await Promise.all(
    PRECISIONS.map(async (precision) => {
      const device = await openDevice({ adapter })
      const built = buildNetwork(device, { network: 'unet', features, inChannels: 1, batch, side, precision })
      return { precision, device, built, step: built.phase('training step'), times: [] as number[] }
    }),
  )
  for (let round = -2; round < rounds; round++) {
    for (const { device, step, times } of runs) {
      const start = performance.now()
      step()
      await device.idle()
      if (round >= 0) times.push(performance.now() - start)
    }
  }
  return runs.map(({ precision, device, built, times }) => {
    times.sort((a, b) => a - b)
    const { dispatches, memory } = built.steps['training step'].captures[0]!
    const row = {
      name: `unet${features} training step ${built.size}`,
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

export interface ErrorRow {
  readonly name: string
  /** Largest difference of a probability from float32's. */
  readonly output: number
  /** ‖g − g₃₂‖ / ‖g₃₂‖ over the gradients of all weights. */
  readonly gradient: number
  /** Cosine of the angle between both. */
  readonly cosine: number
}

/**
 * Predictions and gradients of a U-Net (fresh weights, training mode) in mixed precision, with and without a scaled
 * loss, against those in float32. The last row is float32 itself with an input that is off by one in 4096: how far
 * rounding alone moves a network's gradient, since ReLUs and maxima switch.
 */
export async function benchErrors(adapter: string, { features, batch, side }: StepSize): Promise<ErrorRow[]> {
  const device = await openDevice({ adapter })
  const count = batch * side * side
  const fill = (f: (u: number, v: number) => number): Tensor =>
    device.tensor(
      Float32Array.from({ length: count }, (_, i) =>
        f((i % side) / side, (Math.floor(i / side) % side) / side),
      ),
      [batch, 1, side, side],
    )
  const target = fill((u, v) => (Math.hypot(u - 0.5, v - 0.5) < 0.3 ? 1 : 0))
  const run = async (precision: Precision, scale: number, off: number) => {
    const net = new UNet(device, { features })
    const image = fill(
      (u, v) =>
        Math.sin(17 * u) * Math.cos(11 * v) + 0.3 * Math.sin(97 * u * v) + off * Math.sin(1009 * (u + v * v)),
    )
    const p = inPrecision(device, precision, () => net.forward(image)).keep()
    diceLoss(p, target).backward(device.full([], scale))
    const grads: number[] = []
    for (const t of net.parameters())
      for (const g of (await t.grad!.data()) as Float32Array) grads.push(g / scale)
    const output = (await p.data()) as Float32Array
    for (const t of [p, image]) t.dispose()
    net.dispose()
    return { output, grads }
  }
  const full = await run('float32', 1, 0)
  const others = [
    { what: 'mixed, loss × 1', precision: 'mixed', scale: 1, off: 0 },
    { what: 'mixed, loss × 65536', precision: 'mixed', scale: 2 ** 16, off: 0 },
    { what: 'float32, input off', precision: 'float32', scale: 1, off: 2 ** -12 },
  ] as const
  const rows: ErrorRow[] = []
  for (const { what, precision, scale, off } of others) {
    const { output, grads } = await run(precision, scale, off)
    let [difference, own, both, theirs] = [0, 0, 0, 0]
    full.grads.forEach((g, i) => {
      const h = grads[i]!
      difference += (h - g) ** 2
      own += g * g
      both += g * h
      theirs += h * h
    })
    rows.push({
      name: `unet${features} ${batch}x1x${side}x${side} ${what}`,
      output: output.reduce((most, v, i) => Math.max(most, Math.abs(v - full.output[i]!)), 0),
      gradient: Math.sqrt(difference / own),
      cosine: both / Math.sqrt(own * theirs),
    })
  }
  device.destroy()
  return rows
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

export function errorTable(rows: readonly ErrorRow[]): string {
  const head = `${'against float32'.padEnd(44)}${cell('largest Δp', 12)}${cell('gradient', 12)}${cell('cosine', 10)}`
  const lines = rows.map(
    (r) =>
      `${r.name.padEnd(44)}${cell(r.output.toExponential(1), 12)}${cell(r.gradient.toExponential(1), 12)}${cell(r.cosine.toFixed(5), 10)}`,
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
