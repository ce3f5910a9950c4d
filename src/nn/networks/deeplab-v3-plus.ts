import type { Device } from '../../autograd/device.ts'
import { adaptiveAvgPool2d } from '../../autograd/ops/avg-pool2d.ts'
import { concat } from '../../autograd/ops/concat.ts'
import { dropout } from '../../autograd/ops/dropout.ts'
import { interpolate } from '../../autograd/ops/interpolate.ts'
import { checkOptions } from '../../autograd/options.ts'
import { Prng } from '../../autograd/random.ts'
import { concatSlots } from '../../autograd/slots.ts'
import type { Tensor } from '../../autograd/tensor.ts'
import { FoveaError, ShapeError } from '../../gpu/errors.ts'
import { type ConvInit, kaimingNormal, kaimingUniform, xavierUniform } from '../init.ts'
import { BatchNorm2d } from '../layers.ts'
import { Module } from '../module.ts'
import { checkCounts, checkImages } from '../parts/checks.ts'
import { ConvNormRelu, SeparableConv2d } from '../parts/conv-norm-relu.ts'
import { type Encoder, ResNetEncoder, resnetChannels, resnetShape } from '../parts/resnet.ts'
import { enlarge, SegmentationHead } from '../parts/segmentation-head.ts'

export interface DeepLabV3PlusOptions {
  readonly inChannels?: number
  readonly outChannels?: number
  /** Default 'resnet34'. `{ blocks, features }` gives a smaller one. */
  readonly encoder?: Encoder
  /** Pixels of the image a pixel of the encoder's last map, along a side. Default 16. */
  readonly outputStride?: 8 | 16
  /** Dilation of the three atrous convolutions. Default 12, 24, 36. */
  readonly atrousRates?: readonly [number, number, number]
  /** Channels of the decoder. Default: 4 times the encoder's features (256). */
  readonly decoderChannels?: number
  /** Channels to which the stride-4 map is reduced. Default: ¾ of the encoder's features (48). */
  readonly skipChannels?: number
  /** Probability with which an element behind the pyramid is dropped in training. Default 0.5. */
  readonly dropout?: number
  /** Seed of the initial weights: same seed, same weights on every adapter. */
  readonly seed?: number
  /** See `Module.activationCheckpointing`. Default false. */
  readonly activationCheckpointing?: boolean
}

/**
 * Atrous spatial pyramid pooling (Chen et al., 2018): a 1×1 convolution, three separable 3×3 convolutions with
 * growing dilation, and the mean of the whole map, side by side; a 1×1 convolution and dropout behind them.
 */
class AtrousPyramid extends Module {
  readonly #branches: readonly ConvNormRelu[]
  readonly #pooled: ConvNormRelu
  readonly #project: ConvNormRelu

  constructor(
    device: Device,
    inChannels: number,
    channels: number,
    private readonly options: { readonly rates: readonly number[]; readonly dropout: number },
    init: ConvInit,
  ) {
    super()
    const { rates } = options
    const point = { kernelSize: 1 }
    const atrous = rates.map((rate) => ({ kernelSize: 3, padding: rate, dilation: rate, separable: true }))
    this.#branches = [point, ...atrous].map((branch, i) =>
      this.part(`convs.${i}`, new ConvNormRelu(device, inChannels, channels, branch, init)),
    )
    this.#pooled = this.part(
      `convs.${rates.length + 1}`,
      new ConvNormRelu(device, inChannels, channels, { ...point, at: 1 }, init),
    )
    const joined = (rates.length + 2) * channels
    this.#project = this.part('project', new ConvNormRelu(device, joined, channels, point, init))
  }

  forward(x: Tensor): Tensor {
    const [n, , h, w] = x.shape
    if (this.training && n! < 2) {
      throw new ShapeError(
        'DeepLabV3Plus',
        `training needs at least 2 images a batch, got ${n}: its image pooling leaves one value a channel and image to batch norm; use a larger batch, or eval()`,
      )
    }
    const mean = this.#pooled.forward(adaptiveAvgPool2d(x, { outputSize: 1 }))
    const everywhere = interpolate(mean, { size: [h!, w!], mode: 'bilinear' })
    const shape = [n!, mean.shape[1]!, h!, w!]
    const slots = concatSlots(x.device, [...this.#branches.map(() => shape), shape])
    const maps = [...this.#branches.map((branch, i) => branch.forward(x, slots[i])), everywhere]
    const projected = this.#project.forward(concat(maps, { axis: 1 }))
    const { dropout: p } = this.options
    return this.training && p > 0 ? dropout(projected, { p }) : projected
  }
}

/**
 * DeepLabV3+ (Chen et al., 2018) on a ResNet encoder. (N, inChannels, H, W) gives probabilities
 * (N, outChannels, H, W); H and W are multiples of the output stride. The last map of the encoder goes through
 * an atrous pyramid, is enlarged to stride 4, joined with the encoder's stride-4 map, and enlarged to the image.
 * In training a batch has at least two images.
 *
 * Parameter names are those of segmentation_models.pytorch's DeepLabV3Plus (`encoder.conv1.weight`,
 * `decoder.aspp.0.convs.1.0.0.weight`, … `segmentation_head.0.bias`).
 */
export class DeepLabV3Plus extends Module {
  /** Its image pooling leaves one value a channel and image to batch norm. */
  override readonly leastTrainingBatch = 2
  readonly options: Required<Omit<DeepLabV3PlusOptions, 'activationCheckpointing'>>
  readonly #encoder: ResNetEncoder
  readonly #pyramid: AtrousPyramid
  readonly #behind: SeparableConv2d
  readonly #behindNorm: BatchNorm2d
  readonly #skip: ConvNormRelu
  readonly #fuse: ConvNormRelu
  readonly #head: SegmentationHead

  constructor(
    readonly device: Device,
    given: DeepLabV3PlusOptions = {},
  ) {
    super()
    checkOptions(
      'DeepLabV3Plus',
      given,
      [],
      [
        'inChannels',
        'outChannels',
        'encoder',
        'outputStride',
        'atrousRates',
        'decoderChannels',
        'skipChannels',
        'dropout',
        'seed',
        'activationCheckpointing',
      ],
    )
    const {
      inChannels = 1,
      outChannels = 1,
      encoder = 'resnet34',
      outputStride = 16,
      atrousRates = [12, 24, 36],
      decoderChannels,
      skipChannels,
      dropout: p = 0.5,
      seed = 42,
      activationCheckpointing = false,
    } = given
    this.activationCheckpointing = activationCheckpointing
    const shape = resnetShape('DeepLabV3Plus', encoder)
    const channels = decoderChannels ?? 4 * shape.features
    const reduced = skipChannels ?? Math.ceil(0.75 * shape.features)
    checkCounts('DeepLabV3Plus', {
      inChannels,
      outChannels,
      decoderChannels: channels,
      skipChannels: reduced,
    })
    for (const rate of atrousRates) checkCounts('DeepLabV3Plus', { 'each of atrousRates': rate })
    if (outputStride !== 8 && outputStride !== 16)
      throw new FoveaError(`DeepLabV3Plus: outputStride is 8 or 16, got ${outputStride}`)
    if (!(p >= 0 && p < 1)) throw new FoveaError(`DeepLabV3Plus: dropout is a probability under 1, got ${p}`)
    this.options = {
      ...{ inChannels, outChannels, encoder, outputStride, atrousRates, seed, dropout: p },
      ...{ decoderChannels: channels, skipChannels: reduced },
    }
    const prng = new Prng(seed)
    const init = kaimingUniform(prng)
    this.#encoder = this.part(
      'encoder',
      new ResNetEncoder(device, inChannels, shape, kaimingNormal(prng), { outputStride }),
    )
    const widths = resnetChannels(inChannels, shape)
    const pyramid = { rates: atrousRates, dropout: p }
    this.#pyramid = this.part(
      'decoder.aspp.0',
      new AtrousPyramid(device, widths[5]!, channels, pyramid, init),
    )
    const three = { kernelSize: 3, padding: 1 }
    this.#behind = this.part('decoder.aspp.1', new SeparableConv2d(device, channels, channels, three, init))
    this.#behindNorm = this.part('decoder.aspp.2', new BatchNorm2d(device, channels, { activation: 'relu' }))
    this.#skip = this.part(
      'decoder.block1',
      new ConvNormRelu(device, widths[2]!, reduced, { kernelSize: 1 }, init),
    )
    this.#fuse = this.part(
      'decoder.block2',
      new ConvNormRelu(device, channels + reduced, channels, { ...three, separable: true }, init),
    )
    const head = { kernelSize: 1, scale: 4 }
    this.#head = this.part(
      'segmentation_head',
      new SegmentationHead(device, channels, outChannels, head, xavierUniform(prng)),
    )
    this.pack()
  }

  forward(x: Tensor): Tensor {
    const { inChannels, outputStride } = this.options
    checkImages('DeepLabV3Plus', x, inChannels, outputStride)
    this.#encoder.activationCheckpointing = this.activationCheckpointing
    const maps = this.#encoder.forward(x)
    const pyramid = this.segment((deep) => this.#pyramid.forward(deep), maps.at(-1)!)
    const fused = this.segment((far, near) => this.#join(far, near), pyramid, maps[1]!)
    return this.#head.forward(fused)
  }

  /** What the pyramid found, enlarged to stride 4 and joined with the encoder's map there. */
  #join(pyramid: Tensor, near: Tensor): Tensor {
    const context = this.#behind.before(this.#behindNorm, pyramid)
    const enlarged = enlarge(context, this.options.outputStride / 4)
    return this.#fuse.forward(concat([enlarged, this.#skip.forward(near)], { axis: 1 }))
  }
}
