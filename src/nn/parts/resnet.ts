import type { Device } from '../../autograd/device.ts'
import { add } from '../../autograd/ops/add.ts'
import { maxPool2d } from '../../autograd/ops/max-pool2d.ts'
import { reshape } from '../../autograd/ops/reshape.ts'
import type { Slot } from '../../autograd/slots.ts'
import type { Tensor } from '../../autograd/tensor.ts'
import { FoveaError } from '../../gpu/errors.ts'
import type { ConvInit } from '../init.ts'
import { BatchNorm2d, Conv2d } from '../layers.ts'
import { Module } from '../module.ts'
import { checkCounts } from './checks.ts'

/** A ResNet of basic blocks by its numbers. */
export interface ResNetShape {
  /** Residual blocks of the four stages. */
  readonly blocks: readonly [number, number, number, number]
  /** Channels of the first stage; stage s has features · 2ˢ. */
  readonly features: number
}

const RESNETS = {
  resnet18: { blocks: [2, 2, 2, 2], features: 64 },
  resnet34: { blocks: [3, 4, 6, 3], features: 64 },
} as const satisfies Record<string, ResNetShape>

/** A ResNet by name, or a smaller one by its numbers. */
export type Encoder = keyof typeof RESNETS | ResNetShape

/** The numbers of an encoder. Throws a FoveaError that lists the names. */
export function resnetShape(network: string, encoder: Encoder): ResNetShape {
  const shape = typeof encoder === 'string' ? RESNETS[encoder] : encoder
  if (!shape || !Array.isArray(shape.blocks) || shape.blocks.length !== 4) {
    throw new FoveaError(
      `${network}: encoder is ${Object.keys(RESNETS)
        .map((n) => `'${n}'`)
        .join(' or ')}, or { blocks: [3, 4, 6, 3], features: 64 }; got ${JSON.stringify(encoder)}`,
    )
  }
  checkCounts(network, { 'encoder.features': shape.features })
  for (const n of shape.blocks) checkCounts(network, { 'each of encoder.blocks': n })
  return shape
}

/** Channels at strides 1, 2, 4, 8, 16, 32: of the image, and of the encoder's five maps. */
export const resnetChannels = (inChannels: number, { features: f }: ResNetShape): number[] => [
  inChannels,
  f,
  f,
  2 * f,
  4 * f,
  8 * f,
]

/**
 * Basic block of ResNet (He et al., 2016): relu(bn2(conv2(relu(bn1(conv1(x))))) + x), with x through a 1×1
 * convolution and batch norm where the shape changes. `dilation` widens both convolutions.
 */
class BasicBlock extends Module {
  readonly #conv1: Conv2d
  readonly #bn1: BatchNorm2d
  readonly #conv2: Conv2d
  readonly #bn2: BatchNorm2d
  readonly #downsample: Downsample | undefined

  constructor(
    device: Device,
    inChannels: number,
    features: number,
    { stride, dilation, project }: { stride: number; dilation: number; project: boolean },
    init: ConvInit,
  ) {
    super()
    const wide = { kernelSize: 3, padding: dilation, dilation, bias: false }
    this.#conv1 = this.part('conv1', new Conv2d(device, inChannels, features, { ...wide, stride }, init))
    this.#bn1 = this.part('bn1', new BatchNorm2d(device, features, { activation: 'relu' }))
    this.#conv2 = this.part('conv2', new Conv2d(device, features, features, wide, init))
    this.#bn2 = this.part('bn2', new BatchNorm2d(device, features))
    if (project)
      this.#downsample = this.part('downsample', new Downsample(device, inChannels, features, stride, init))
  }

  forward(x: Tensor): Tensor {
    const branch = this.#bn2.behind(this.#conv2, this.#bn1.behind(this.#conv1, x))
    return add(branch, this.#downsample?.forward(x) ?? x, { activation: 'relu' })
  }
}

class Downsample extends Module {
  readonly #conv: Conv2d
  readonly #norm: BatchNorm2d

  constructor(device: Device, inChannels: number, features: number, stride: number, init: ConvInit) {
    super()
    this.#conv = this.part(
      '0',
      new Conv2d(device, inChannels, features, { kernelSize: 1, stride, bias: false }, init),
    )
    this.#norm = this.part('1', new BatchNorm2d(device, features))
  }

  forward(x: Tensor): Tensor {
    return this.#norm.behind(this.#conv, x)
  }
}

/** Blocks one after another, called 0, 1, …; the first one changes stride and channels. */
class Stage extends Module {
  readonly #blocks: readonly BasicBlock[]

  constructor(
    device: Device,
    inChannels: number,
    features: number,
    { count, stride, dilation }: { count: number; stride: number; dilation: number },
    init: ConvInit,
  ) {
    super()
    // Where dilation stands in for the stride, the halving block projects all the same.
    const project = inChannels !== features
    this.#blocks = Array.from({ length: count }, (_, i) =>
      this.part(
        `${i}`,
        new BasicBlock(
          device,
          i === 0 ? inChannels : features,
          features,
          { stride: i === 0 ? stride : 1, dilation, project: i === 0 && project },
          init,
        ),
      ),
    )
  }

  forward(x: Tensor): Tensor {
    return this.#blocks.reduce((h, block) => this.segment((from) => block.forward(from), h), x)
  }
}

/**
 * ResNet without its classifier, as an encoder. (N, inChannels, H, W) gives five maps: after the stem (stride 2)
 * and after each stage (strides 4, 8, 16, 32). With `outputStride` 16 or 8 the last stages keep their size and
 * dilate instead (DeepLab). Names are torchvision's: `conv1`, `bn1`, `layer1` … `layer4`.
 */
export class ResNetEncoder extends Module {
  readonly #conv: Conv2d
  readonly #norm: BatchNorm2d
  readonly #stages: readonly Stage[]

  constructor(
    device: Device,
    inChannels: number,
    { blocks, features }: ResNetShape,
    init: ConvInit,
    { outputStride = 32 }: { readonly outputStride?: 8 | 16 | 32 } = {},
  ) {
    super()
    const stem = { kernelSize: 7, stride: 2, padding: 3, bias: false }
    this.#conv = this.part('conv1', new Conv2d(device, inChannels, features, stem, init))
    this.#norm = this.part('bn1', new BatchNorm2d(device, features, { activation: 'relu' }))
    this.#stages = blocks.map((count, s) => {
      const reach = s === 0 ? 4 : 4 * 2 ** s
      const dilation = Math.max(1, reach / outputStride)
      const stride = s === 0 || dilation > 1 ? 1 : 2
      const from = features * 2 ** Math.max(0, s - 1)
      return this.part(
        `layer${s + 1}`,
        new Stage(device, from, features * 2 ** s, { count, stride, dilation }, init),
      )
    })
  }

  /** `stemInto`: where the first map is to lie, for a later `concat`. */
  forward(x: Tensor, stemInto?: Slot): Tensor[] {
    const stem = this.#norm.behind(this.#conv, x, stemInto)
    let h = maxPool2d(stem, { kernelSize: 3, stride: 2, padding: 1 })
    const maps = [stem]
    for (const stage of this.#stages) {
      stage.activationCheckpointing = this.activationCheckpointing
      h = stage.forward(h)
      maps.push(h)
      // Gradients of a map from the next stage are summed before those from the decoder are added: the same
      // order, and so the same bits, whether the stage is recomputed or not.
      h = reshape(h, { shape: h.shape })
    }
    return maps
  }
}
