import type { Device } from '../../autograd/device.ts'
import { add } from '../../autograd/ops/add.ts'
import { concat } from '../../autograd/ops/concat.ts'
import { mean } from '../../autograd/ops/mean.ts'
import { mul } from '../../autograd/ops/mul.ts'
import { reshape } from '../../autograd/ops/reshape.ts'
import { tanh } from '../../autograd/ops/tanh.ts'
import { Prng } from '../../autograd/random.ts'
import type { Tensor } from '../../autograd/tensor.ts'
import { FoveaError } from '../../gpu/errors.ts'
import { BatchNorm2d, Conv2d } from '../layers.ts'
import { Module } from '../module.ts'

/** Options of `ParameterHead`. */
export interface ParameterHeadOptions {
  readonly inChannels?: number
  /** Channels of the first level; each further one doubles them. */
  readonly features?: number
  /** Levels of stride 2. */
  readonly levels?: number
  readonly seed?: number
  /** What ϕ is where the network says nothing, and how far from it each parameter may go. */
  readonly centre: readonly number[]
  readonly reach: readonly number[]
}

/**
 * Regresses transform parameters straight from the image, without a map: [3×3 convolution of stride 2 – batch norm – ReLU]
 * a level, the mean over pixels, a linear layer that begins at zero, and
 *
 *     ϕ = centre + reach · tanh(·)
 *
 * (N, inChannels, H, W) gives (N, K), K as many as `centre` has. A mean over pixels forgets where they were, so two
 * channels of coordinates in [−1, 1] are put beside the image.
 */
export class ParameterHead extends Module {
  readonly #levels: { conv: Conv2d; norm: BatchNorm2d }[] = []
  readonly #linear: Conv2d

  constructor(
    readonly device: Device,
    private readonly options: ParameterHeadOptions,
  ) {
    super()
    const { inChannels = 1, features = 8, levels = 4, seed = 42, centre, reach } = options
    if (centre.length === 0 || centre.length !== reach.length)
      throw new FoveaError(
        `ParameterHead: one centre and one reach a parameter, got ${centre.length} and ${reach.length}`,
      )
    const prng = new Prng(seed)
    const uniform = () => prng.uniform()
    for (let l = 0; l < levels; l++) {
      const from = l === 0 ? inChannels + 2 : features * 2 ** (l - 1)
      const to = features * 2 ** l
      const shape = { kernelSize: 3, stride: 2, padding: 1, bias: false }
      const conv = this.part(`conv${l + 1}`, new Conv2d(device, from, to, shape, uniform))
      const norm = this.part(`norm${l + 1}`, new BatchNorm2d(device, to, { activation: 'relu' }))
      this.#levels.push({ conv, norm })
    }
    const last = features * 2 ** (levels - 1)
    this.#linear = this.part('linear', new Conv2d(device, last, centre.length, { kernelSize: 1 }, uniform))
    for (const p of this.#linear.parameters()) p.set(new Float32Array(p.size))
    this.pack()
  }

  forward(x: Tensor): Tensor {
    const { centre, reach } = this.options
    let h = concat([x, coordinates(x)], { axis: 1 })
    for (const { conv, norm } of this.#levels) h = norm.behind(conv, h)
    const pooled = mean(h, { axes: [2, 3], keepDims: true })
    const phi = reshape(tanh(this.#linear.forward(pooled)), { shape: [x.shape[0]!, centre.length] })
    const row = (values: readonly number[]) => x.device.tensor(values, [1, values.length])
    return add(mul(phi, row(reach)), row(centre))
  }
}

/** x and y in [−1, 1] as channels of an image of that shape. */
function coordinates(x: Tensor): Tensor {
  const [n, , h, w] = x.shape as [number, number, number, number]
  const at = (i: number, side: number) => (2 * i + 1) / side - 1
  const values = Float32Array.from({ length: n * 2 * h * w }, (_, k) => {
    const pixel = k % (h * w)
    return Math.floor(k / (h * w)) % 2 === 0 ? at(pixel % w, w) : at(Math.floor(pixel / w), h)
  })
  return x.device.tensor(values, [n, 2, h, w])
}
