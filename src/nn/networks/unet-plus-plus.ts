import type { Device } from '../../autograd/device.ts'
import { channels } from '../../autograd/ops/channels.ts'
import { concat } from '../../autograd/ops/concat.ts'
import { interpolate } from '../../autograd/ops/interpolate.ts'
import { reshape } from '../../autograd/ops/reshape.ts'
import { checkOptions } from '../../autograd/options.ts'
import { Prng } from '../../autograd/random.ts'
import { concatSlots, type Slot } from '../../autograd/slots.ts'
import { bytesOf, elements, type Shape, type Tensor } from '../../autograd/tensor.ts'
import { FoveaError } from '../../gpu/errors.ts'
import { type ConvInit, kaimingNormal, kaimingUniform, xavierUniform } from '../init.ts'
import { Module } from '../module.ts'
import { checkCounts, checkImages } from '../parts/checks.ts'
import { ConvNormRelu, fitsJoined } from '../parts/conv-norm-relu.ts'
import { type Encoder, ResNetEncoder, resnetChannels, resnetShape } from '../parts/resnet.ts'
import { SegmentationHead } from '../parts/segmentation-head.ts'

export interface UNetPlusPlusOptions {
  readonly inChannels?: number
  readonly outChannels?: number
  /** Default 'resnet34'. `{ blocks, features }` gives a smaller one. */
  readonly encoder?: Encoder
  /** Channels of the five levels of the decoder, the deepest first. Default: 4, 2, 1, ½, ¼ times the encoder's features. */
  readonly decoderChannels?: readonly number[]
  /** Seed of the initial weights: same seed, same weights on every adapter. */
  readonly seed?: number
  /** See `Module.activationCheckpointing`. Default false. */
  readonly activationCheckpointing?: boolean
}

/** Twice as large by nearest neighbours, joined with what is skipped in, [3×3 convolution – batch norm – ReLU] twice. */
class DecoderBlock extends Module {
  readonly #conv1: ConvNormRelu
  readonly #conv2: ConvNormRelu

  constructor(device: Device, inChannels: number, outChannels: number, init: ConvInit) {
    super()
    const options = { kernelSize: 3, padding: 1 }
    this.#conv1 = this.part('conv1', new ConvNormRelu(device, inChannels, outChannels, options, init))
    this.#conv2 = this.part('conv2', new ConvNormRelu(device, outChannels, outChannels, options, init))
  }

  override forward(x: Tensor, skips: readonly Tensor[] = []): Tensor {
    return this.#conv2.forward(this.#conv1.forwardJoined([twice(x), ...skips]))
  }

  /** The same where the joined array is made of `slots`, with what was skipped in as channels of it. `into`: for x. */
  forwardIn(
    slots: readonly Slot[],
    x: Tensor,
    skips: readonly Tensor[],
    into: Slot | undefined,
  ): { readonly made: Tensor; readonly seen: Tensor } {
    const joined = concat([twice(x, slots[0]), ...skips], { axis: 1 })
    // Before the convolution, so that backward meets it after: then it can add to the convolution's gradient.
    const [first, all] = [x.shape[1]!, joined.shape[1]!]
    const seen = channels(joined, { first, count: all - first })
    return { made: this.#conv2.forward(this.#conv1.forward(joined), into), seen }
  }
}

function twice(x: Tensor, into?: Slot): Tensor {
  const [, , h, w] = x.shape
  return interpolate(x, { size: [2 * h!, 2 * w!], into })
}

/**
 * The same map for all that joins it: its gradients from there are summed before the one from where it is enlarged is
 * added. So the order, and with it the bits, are the same whether maps are joined in place or not.
 */
const inOneGradient = (x: Tensor): Tensor => reshape(x, { shape: x.shape })

const blockName = (i: number, l: number): string => `x_${i}_${l}`

/**
 * U-Net++ (Zhou et al., 2018) on a ResNet encoder: Res-U-Net++. (N, inChannels, H, W) gives probabilities
 * (N, outChannels, H, W); H and W are multiples of 32. Block x(i, l) is computed from x(i, l − 1), or for i = l
 * from the encoder, at twice the size, and sees all that lies at its own resolution: x(i + 1, l) … x(l, l) and
 * the encoder's map there.
 *
 *     encoder, stride 32 ─ x00 ─ x01 ─ x02 ─ x03 ─ x04 ─ head
 *     encoder, stride 16 ─────── x11 ─ x12 ─ x13          strides of the columns: 16, 8, 4, 2, 1
 *     encoder, stride  8 ───────────── x22 ─ x23
 *     encoder, stride  4 ─────────────────── x33
 *
 * Parameter names are those of segmentation_models.pytorch's UnetPlusPlus (`encoder.conv1.weight`,
 * `decoder.blocks.x_0_0.conv1.0.weight`, … `segmentation_head.0.bias`).
 */
export class UNetPlusPlus extends Module {
  /** Of a 32×32 image the encoder's last map has one value a channel. */
  override readonly leastTrainingBatch = 2
  readonly options: Required<Omit<UNetPlusPlusOptions, 'activationCheckpointing'>>
  readonly #encoder: ResNetEncoder
  readonly #blocks = new Map<string, DecoderBlock>()
  readonly #head: SegmentationHead

  constructor(
    readonly device: Device,
    given: UNetPlusPlusOptions = {},
  ) {
    super()
    checkOptions(
      'UNetPlusPlus',
      given,
      [],
      ['inChannels', 'outChannels', 'encoder', 'decoderChannels', 'seed', 'activationCheckpointing'],
    )
    const {
      inChannels = 1,
      outChannels = 1,
      encoder = 'resnet34',
      decoderChannels,
      seed = 42,
      activationCheckpointing = false,
    } = given
    this.activationCheckpointing = activationCheckpointing
    checkCounts('UNetPlusPlus', { inChannels, outChannels })
    const shape = resnetShape('UNetPlusPlus', encoder)
    const decoder =
      decoderChannels ?? [4, 2, 1, 1 / 2, 1 / 4].map((k) => Math.max(1, Math.floor(k * shape.features)))
    if (decoder.length !== 5)
      throw new FoveaError(
        `UNetPlusPlus: decoderChannels has ${decoder.length} numbers; give 5, the deepest level first`,
      )
    for (const n of decoder) checkCounts('UNetPlusPlus', { 'each of decoderChannels': n })
    this.options = { inChannels, outChannels, encoder, decoderChannels: decoder, seed }
    const prng = new Prng(seed)
    this.#encoder = this.part('encoder', new ResNetEncoder(device, inChannels, shape, kaimingNormal(prng)))
    this.#addDecoder(resnetChannels(inChannels, shape), decoder, kaimingUniform(prng))
    const head = { kernelSize: 3, scale: 1 }
    this.#head = this.part(
      'segmentation_head',
      new SegmentationHead(device, decoder.at(-1)!, outChannels, head, xavierUniform(prng)),
    )
    this.pack()
  }

  #addDecoder(encoder: readonly number[], decoder: readonly number[], init: ConvInit): void {
    const add = (i: number, l: number, inChannels: number, outChannels: number) => {
      const block = new DecoderBlock(this.device, inChannels, outChannels, init)
      this.#blocks.set(blockName(i, l), this.part(`decoder.blocks.${blockName(i, l)}`, block))
    }
    // Channels of the encoder at strides 32, 16, 8, 4, 2.
    const deep = encoder.slice(1).reverse()
    const layers = deep.length - 1
    for (let l = 0; l < layers; l++) {
      const skip = deep[l + 1]!
      for (let i = 0; i <= l; i++) {
        const from = i === 0 && l > 0 ? decoder[l - 1]! : deep[l]!
        add(i, l, from + skip * (l + 1 - i), i === 0 ? decoder[l]! : skip)
      }
    }
    add(0, layers, decoder[layers - 1]!, decoder[layers]!)
  }

  forward(x: Tensor): Tensor {
    checkImages('UNetPlusPlus', x, this.options.inChannels, 32)
    this.#encoder.activationCheckpointing = this.activationCheckpointing
    const slots = this.#slots(x)
    const deep = this.#encoder.forward(x, slots?.at(-1)?.at(-1)?.[1]).reverse()
    const layers = deep.length - 1
    // x(0, l − 1) … x(l − 1, l − 1), and the encoder's map that x(l, l) is computed from.
    let column: Tensor[] = []
    for (let l = 0; l < layers; l++) {
      const from = [...column, deep[l]!]
      const skip = inOneGradient(deep[l + 1]!)
      column = slots ? this.#columnIn(slots[l]!, l, from, skip) : this.#column(l, from, skip)
    }
    const last = this.#blocks.get(blockName(0, layers))!
    return this.#head.forward(this.segment((h) => last.forward(h), column[0]!))
  }

  /** x(0, l) … x(l, l). */
  #column(l: number, from: readonly Tensor[], skip: Tensor): Tensor[] {
    const made: Tensor[] = []
    let seen = [skip]
    for (let i = l; i >= 0; i--) {
      const block = this.#blocks.get(blockName(i, l))!
      made[i] = this.segment((h, ...skips) => block.forward(h, skips), from[i]!, ...seen)
      seen = [inOneGradient(made[i]!), ...seen]
    }
    return made
  }

  /**
   * The same without joining from scratch: what x(i, l) sees beside x(i + 1, l) is all that x(i + 1, l) saw, which lies
   * side by side already and moves as one piece; it does move, since another map stands before it.
   */
  #columnIn(slots: readonly (readonly Slot[])[], l: number, from: readonly Tensor[], skip: Tensor): Tensor[] {
    const made: Tensor[] = []
    let skips = [skip]
    for (let i = l; i >= 0; i--) {
      const block = this.#blocks.get(blockName(i, l))!
      const { made: y, seen } = block.forwardIn(slots[i]!, from[i]!, skips, slots[i - 1]?.[1])
      made[i] = y
      skips = [inOneGradient(y), seen]
    }
    return made
  }

  /**
   * For each block x(i, l), as slots[l][i], the places of what it joins: x(i, l − 1) enlarged, x(i + 1, l), the rest.
   * None where memory is what counts, where the adapter cannot bind what is joined, and in an exported graph, which
   * joins what the paper joins.
   */
  #slots(x: Tensor): Slot[][][] | undefined {
    const { device } = this
    if (this.activationCheckpointing || device.tracing) return undefined
    const { inChannels, encoder, decoderChannels } = this.options
    const deep = resnetChannels(inChannels, resnetShape('UNetPlusPlus', encoder)).slice(1).reverse()
    const [n, , h, w] = x.shape as [number, number, number, number]
    const columns = deep.slice(1).map((skip, l) => {
      const stride = 2 ** (deep.length - 1 - l)
      const shape = (channels: number) => [n, channels, h / stride, w / stride]
      return Array.from({ length: l + 1 }, (_, i) => {
        const from = i === 0 && l > 0 ? decoderChannels[l - 1]! : deep[l]!
        const rest = i === l ? [] : [skip * (l - i)]
        return [from, skip, ...rest].map(shape)
      })
    })
    const bytes = (shapes: Shape[]) =>
      bytesOf(
        shapes.reduce((sum, s) => sum + elements(s), 0),
        'float32',
      )
    if (!columns.flat().every((shapes) => fitsJoined(device, bytes(shapes)))) return undefined
    return columns.map((column) => column.map((shapes) => concatSlots(device, shapes)))
  }
}
