import type { Device } from '../../autograd/device.ts'
import { concat } from '../../autograd/ops/concat.ts'
import { sigmoid } from '../../autograd/ops/sigmoid.ts'
import { checkOptions } from '../../autograd/options.ts'
import { Prng } from '../../autograd/random.ts'
import { concatSlots, type Slot } from '../../autograd/slots.ts'
import { formatShape, type Tensor } from '../../autograd/tensor.ts'
import { FoveaError, ShapeError } from '../../gpu/errors.ts'
import type { Uniform } from '../init.ts'
import { BatchNorm2d, Conv2d, ConvTranspose2d } from '../layers.ts'
import { Module } from '../module.ts'

export interface UNetOptions {
  readonly inChannels?: number
  readonly outChannels?: number
  /** Channels of the first level; level l has features · 2ˡ. */
  readonly features?: number
  /** Seed of the initial weights: same seed, same weights on every adapter. */
  readonly seed?: number
  /** See `Module.activationCheckpointing`. Default false. */
  readonly activationCheckpointing?: boolean
}

const OPTIONS = ['inChannels', 'outChannels', 'features', 'seed', 'activationCheckpointing']

/** Levels that halve the image; sides must be multiples of 2 to that power. */
const LEVELS = 4

/** [3×3 convolution without bias – batch norm – ReLU] twice. */
class Block extends Module {
  readonly #conv1: Conv2d
  readonly #norm1: BatchNorm2d
  readonly #conv2: Conv2d
  readonly #norm2: BatchNorm2d

  constructor(device: Device, inChannels: number, features: number, name: string, uniform: Uniform) {
    super()
    const options = { kernelSize: 3, padding: 1, bias: false }
    this.#conv1 = this.part(`${name}conv1`, new Conv2d(device, inChannels, features, options, uniform))
    this.#norm1 = this.part(`${name}norm1`, new BatchNorm2d(device, features, { activation: 'relu' }))
    this.#conv2 = this.part(`${name}conv2`, new Conv2d(device, features, features, options, uniform))
    this.#norm2 = this.part(`${name}norm2`, new BatchNorm2d(device, features, { activation: 'relu' }))
  }

  /** `into`: where the result is to lie, for a later `concat`. */
  forward(x: Tensor, into?: Slot): Tensor {
    return this.#norm2.behind(this.#conv2, this.#norm1.behind(this.#conv1, x), into)
  }

  /** `forward`, and its 2×2 maxima. */
  pooled(x: Tensor, into?: Slot): readonly [Tensor, Tensor] {
    return this.#norm2.pooledBehind(this.#conv2, this.#norm1.behind(this.#conv1, x), into)
  }
}

/**
 * U-Net (Ronneberger et al., 2015) with four levels and batch norm. (N, inChannels, H, W) gives probabilities
 * (N, outChannels, H, W); H and W are multiples of 16. Parameter names are those of the PyTorch network of
 * the thesis (`encoder1.enc1conv1.weight` … `conv.bias`), so that state dicts move both ways.
 */
export class UNet extends Module {
  readonly options: Required<Omit<UNetOptions, 'activationCheckpointing'>>
  readonly #encoders: Block[] = []
  readonly #bottleneck: Block
  readonly #ups: ConvTranspose2d[] = []
  readonly #decoders: Block[] = []
  readonly #head: Conv2d

  constructor(
    readonly device: Device,
    options: UNetOptions = {},
  ) {
    super()
    checkOptions('UNet', options, [], OPTIONS)
    const { inChannels = 1, outChannels = 1, features = 32, seed = 42 } = options
    this.activationCheckpointing = options.activationCheckpointing ?? false
    for (const [name, value] of Object.entries({ inChannels, outChannels, features })) {
      if (!Number.isInteger(value) || value < 1)
        throw new FoveaError(`UNet: ${name} must be a whole number of at least 1, got ${value}`)
    }
    this.options = { inChannels, outChannels, features, seed }
    const prng = new Prng(seed)
    const uniform = () => prng.uniform()
    const width = (level: number) => features * 2 ** level
    for (let l = 0; l < LEVELS; l++) {
      const from = l === 0 ? inChannels : width(l - 1)
      this.#encoders.push(
        this.part(`encoder${l + 1}`, new Block(device, from, width(l), `enc${l + 1}`, uniform)),
      )
    }
    this.#bottleneck = this.part(
      'bottleneck',
      new Block(device, width(LEVELS - 1), width(LEVELS), 'bottleneck', uniform),
    )
    for (let l = LEVELS - 1; l >= 0; l--) {
      this.#ups[l] = this.part(
        `upconv${l + 1}`,
        new ConvTranspose2d(device, width(l + 1), width(l), { kernelSize: 2, stride: 2 }, uniform),
      )
      this.#decoders[l] = this.part(
        `decoder${l + 1}`,
        new Block(device, 2 * width(l), width(l), `dec${l + 1}`, uniform),
      )
    }
    this.#head = this.part('conv', new Conv2d(device, features, outChannels, { kernelSize: 1 }, uniform))
    this.pack()
  }

  forward(x: Tensor): Tensor {
    this.#check(x)
    const skips: Tensor[] = []
    // A slot holds the memory of the whole concatenation: with checkpointing none before the decoder that joins its maps.
    const slots = this.activationCheckpointing ? [] : this.#encoders.map((_, l) => this.#slots(x, l))
    let h = x
    this.#encoders.forEach((encoder, l) => {
      const [skip, pooled] = this.segment((from) => encoder.pooled(from, slots[l]?.[1]), h)
      skips.push(skip)
      h = pooled
    })
    h = this.segment((from) => this.#bottleneck.forward(from), h)
    for (let l = LEVELS - 1; l >= 0; l--) {
      h = this.segment(
        (low, skip) => {
          const [up] = slots[l] ?? this.#slots(x, l)
          return this.#decoders[l]!.forward(concat([this.#ups[l]!.forward(low, up), skip], { axis: 1 }))
        },
        h,
        skips[l]!,
      )
    }
    return sigmoid(this.#head.forward(h))
  }

  /** Places of the upsampled and the skip in the concatenation of a level. */
  #slots(x: Tensor, level: number): Slot[] {
    const [n, , h, w] = x.shape as [number, number, number, number]
    const shape = [n, this.options.features * 2 ** level, h / 2 ** level, w / 2 ** level]
    return concatSlots(this.device, [shape, shape])
  }

  #check(x: Tensor): void {
    const { inChannels } = this.options
    const [, c, h, w] = x.shape
    if (x.rank !== 4 || c !== inChannels) {
      throw new ShapeError('UNet', `expects (N, ${inChannels}, H, W), got ${formatShape(x.shape)}`)
    }
    const step = 2 ** LEVELS
    if (h! % step !== 0 || w! % step !== 0 || h === 0 || w === 0) {
      throw new ShapeError(
        'UNet',
        `H and W must be multiples of ${step}, got ${formatShape(x.shape)}; resize or pad the image`,
      )
    }
  }
}
