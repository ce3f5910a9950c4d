import type { Device } from '../autograd/device.ts'
import { diceLoss } from '../autograd/ops/dice-loss.ts'
import { sigmoid } from '../autograd/ops/sigmoid.ts'
import { Prng } from '../autograd/random.ts'
import type { Tensor } from '../autograd/tensor.ts'
import { Conv2d } from '../nn/layers.ts'
import { Module } from '../nn/module.ts'
import { Adam } from '../nn/optim/adam.ts'
import { overlayPng } from '../node/report.ts'
import { scoreMask } from '../pipelines/scores.ts'
import type { Report } from '../report/report.ts'
import { Interrupted } from '../runs/host.ts'
import type { Experiment } from './experiment.ts'
import type { Scale } from './jobs.ts'
import { type ExperimentResults, type RowResult, scoresOverRuns } from './results.ts'

/** Points a side of the square that the network classifies, −1 … 1 each way. */
const POINTS = 64
/** Of the disc that is to be told from its surroundings. */
const DISC = { x: 0.15, y: -0.1, radius: 0.5 }
const STEPS = 300
const LEARNING_RATE = 2e-2

/** Two hidden layers over two coordinates: a perceptron on points, as 1×1 convolutions over their grid. */
class Perceptron extends Module {
  readonly #first: Conv2d
  readonly #second: Conv2d
  readonly #last: Conv2d

  constructor(device: Device, width: number, seed: number) {
    super()
    const prng = new Prng(seed)
    const uniform = () => prng.uniform()
    const layer = (name: string, inputs: number, outputs: number): Conv2d =>
      this.part(name, new Conv2d(device, inputs, outputs, { kernelSize: 1 }, uniform))
    this.#first = layer('first', 2, width)
    this.#second = layer('second', width, width)
    this.#last = layer('last', width, 1)
  }

  forward(x: Tensor): Tensor {
    const hidden = this.#first.forward(x, { activation: 'relu' })
    return sigmoid(this.#last.forward(this.#second.forward(hidden, { activation: 'relu' })))
  }
}

const centre = (i: number): number => (2 * (i + 0.5)) / POINTS - 1

/** (1, 2, H, W): x and y; or, about an origin, radius and angle / π. */
function coordinates(origin?: readonly [x: number, y: number]): Float32Array {
  const plane = POINTS * POINTS
  const values = new Float32Array(2 * plane)
  for (let i = 0; i < plane; i++) {
    const [x, y] = [centre(i % POINTS), centre(Math.floor(i / POINTS))]
    const [dx, dy] = origin ? [x - origin[0], y - origin[1]] : [0, 0]
    values[i] = origin ? Math.hypot(dx, dy) : x
    values[plane + i] = origin ? Math.atan2(dy, dx) / Math.PI : y
  }
  return values
}

/** (1, 1, H, W): 1 inside the disc. */
const disc = (): Float32Array =>
  Float32Array.from({ length: POINTS * POINTS }, (_, i) =>
    Math.hypot(centre(i % POINTS) - DISC.x, centre(Math.floor(i / POINTS)) - DISC.y) < DISC.radius ? 1 : 0,
  )

/** The origin that lies `away` of the disc's radius from its centre, to the right. */
const originAt = (away: number): [number, number] => [DISC.x + away * DISC.radius, DISC.y]

/**
 * Trains a small network to tell the points of a disc from the others and gives its map.
 *
 * @param width units of each hidden layer
 * @returns probabilities (H, W)
 */
async function boundary(
  device: Device,
  { input, width, seed }: { readonly input: Float32Array; readonly width: number; readonly seed: number },
): Promise<Float32Array> {
  const net = new Perceptron(device, width, seed)
  const optimizer = new Adam(net.parameters(), { lr: LEARNING_RATE })
  const x = device.tensor(input, [1, 2, POINTS, POINTS])
  const y = device.tensor(disc(), [1, 1, POINTS, POINTS])
  const step = device.compile((points: Tensor, truth: Tensor) => {
    optimizer.zeroGrad()
    const loss = diceLoss(net.forward(points), truth)
    loss.backward()
    optimizer.step()
    return loss
  })
  try {
    for (let i = 0; i < STEPS; i++) step(x, y)
    const map = device.noGrad(() => net.forward(x))
    const data = await map.data()
    map.dispose()
    return Float32Array.from(data)
  } finally {
    step.dispose()
    x.dispose()
    y.dispose()
    net.dispose()
  }
}

/** Units of each hidden layer. */
const WIDTHS = [2, 4, 8]

/** How far the origin lies from the centre, in radii of the disc; undefined: Cartesian coordinates. */
const COORDINATES = [undefined, 0, 0.25, 0.5, 1, 1.5]

/** Maps are drawn this many times as large. */
const PICTURE = 320

/** Results as those of any experiment, a run a seed, and pictures of the first seed's maps. */
export async function runBoundaries(
  device: Device,
  experiment: Experiment,
  scale: Scale,
  signal?: AbortSignal,
) {
  const started = performance.now()
  const rows: RowResult[] = []
  const pictures: NonNullable<Report['overlays']>[number][] = []
  const truth = disc()
  for (const width of WIDTHS) {
    const figures: { caption: string; png: Uint8Array }[] = []
    for (const away of COORDINATES) {
      const input = coordinates(away === undefined ? undefined : originAt(away))
      const name = away === undefined ? 'Cartesian' : `polar, origin ${away} radii from the centre`
      const runs: RowResult['runs'][number][] = []
      for (const seed of scale.seeds) {
        if (signal?.aborted) throw new Interrupted('stopped; the same command begins anew')
        const map = await boundary(device, { input, width, seed })
        const { accuracy: _, ...means } = scoreMask(map, truth)
        runs.push({ key: `${width}-${away}-${seed}`, seed, means })
        if (runs.length > 1) continue
        const image = { image: map, channels: 1, height: POINTS, width: POINTS }
        const png = await overlayPng(image, truth, map, { range: [0, 1], minSide: PICTURE })
        figures.push({ caption: `${name}, DSC ${means.dice.toFixed(3)}`, png })
      }
      rows.push({
        label: `perceptron of ${width} units a layer, ${name}`,
        ...{
          data: 'points',
          method: 'perceptron',
          arm: 'map',
          network: 'perceptron',
          size: POINTS,
          share: 1,
        },
        ...{ thesis: {}, runs, scores: scoresOverRuns(runs.map((run) => run.means)) },
      })
    }
    pictures.push({ title: `${width} units a layer: the map of the first seed`, figures })
  }
  const { id, title, section } = experiment
  const results: ExperimentResults = {
    ...{ fovea: 1, experiment: id, title, section, adapter: device.adapter.name },
    ...{ seconds: Math.round((performance.now() - started) / 1000), scale, data: [], rows, curves: [] },
  }
  return { results, pictures }
}
