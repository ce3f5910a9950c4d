import type { Device } from '../../autograd/device.ts'
import { add } from '../../autograd/ops/add.ts'
import { interpolate } from '../../autograd/ops/interpolate.ts'
import { maxPool2d } from '../../autograd/ops/max-pool2d.ts'
import { checkOptions } from '../../autograd/options.ts'
import { Prng } from '../../autograd/random.ts'
import type { Tensor } from '../../autograd/tensor.ts'
import { FoveaError } from '../../gpu/errors.ts'
import type { Uniform } from '../init.ts'
import { BatchNorm2d, Conv2d } from '../layers.ts'
import { Module } from '../module.ts'
import { checkCounts, checkImages } from '../parts/checks.ts'

export interface StackedHourglassOptions {
  readonly inChannels?: number
  /** Heatmaps a stack. */
  readonly outChannels?: number
  /** Hourglasses one after another. Default 8. */
  readonly stacks?: number
  /** Channels of the hourglasses, an even number. Default 256. */
  readonly features?: number
  /** How often an hourglass halves its input. Default 4. */
  readonly depth?: number
  /** Channels of the 7×7 stem, an even number; its residual blocks have twice as many. Default 64. */
  readonly stemFeatures?: number
  /** Seed of the initial weights: same seed, same weights on every adapter. */
  readonly seed?: number
  /** See `Module.activationCheckpointing`. Default false. */
  readonly activationCheckpointing?: boolean
}

interface BlockOptions {
  readonly kernelSize?: number
  readonly stride?: number
  /** Batch norm and ReLU behind it. */
  readonly norm?: boolean
}

/** A convolution with bias that keeps the size, or divides it by its stride; with `norm`, batch norm and ReLU. */
class ConvBlock extends Module {
  readonly #conv: Conv2d
  readonly #norm: BatchNorm2d | undefined

  constructor(
    device: Device,
    inChannels: number,
    outChannels: number,
    { kernelSize = 1, stride = 1, norm = false }: BlockOptions,
    uniform: Uniform,
  ) {
    super()
    const options = { kernelSize, stride, padding: (kernelSize - 1) / 2 }
    this.#conv = this.part('conv', new Conv2d(device, inChannels, outChannels, options, uniform))
    if (norm) this.#norm = this.part('bn', new BatchNorm2d(device, outChannels, { activation: 'relu' }))
  }

  forward(x: Tensor): Tensor {
    return this.#norm?.behind(this.#conv, x) ?? this.#conv.forward(x)
  }

  /** `norm` of what it makes of x; see `BatchNorm2d.behind`. */
  before(norm: BatchNorm2d, x: Tensor): Tensor {
    return norm.behind(this.#conv, x)
  }
}

/**
 * Pre-activation bottleneck (He et al., 2016): x + conv3(relu(bn3(conv2(relu(bn2(conv1(relu(bn1(x)))))))), with
 * kernels 1, 3, 1 and half the channels inside. `skip_layer` fits x to another number of channels; where that
 * does not change it has weights and is not used, as in the network that the names come from.
 */
class Residual extends Module {
  readonly #norms: readonly BatchNorm2d[]
  readonly #convs: readonly ConvBlock[]
  readonly #skip: ConvBlock | undefined

  constructor(device: Device, inChannels: number, outChannels: number, uniform: Uniform) {
    super()
    const half = outChannels / 2
    const widths = [inChannels, half, half, outChannels] as const
    const norms: BatchNorm2d[] = []
    const convs: ConvBlock[] = []
    for (const k of [1, 2, 3] as const) {
      const from = widths[k - 1]!
      const options = { kernelSize: k === 2 ? 3 : 1 }
      norms.push(this.part(`bn${k}`, new BatchNorm2d(device, from, { activation: 'relu' })))
      convs.push(this.part(`conv${k}`, new ConvBlock(device, from, widths[k], options, uniform)))
    }
    this.#norms = norms
    this.#convs = convs
    const skip = this.part('skip_layer', new ConvBlock(device, inChannels, outChannels, {}, uniform))
    if (inChannels !== outChannels) this.#skip = skip
  }

  forward(x: Tensor): Tensor {
    const [bn1, bn2, bn3] = this.#norms
    const [conv1, conv2, conv3] = this.#convs
    const inside = conv2!.before(bn3!, conv1!.before(bn2!, bn1!.forward(x)))
    return add(conv3!.forward(inside), this.#skip?.forward(x) ?? x)
  }
}

/** One hourglass: up1(x) + twice as large(low3(low2(low1(half as large(x))))), where low2 is the next smaller hourglass. */
class Hourglass extends Module {
  readonly #up1: Residual
  readonly #low: readonly (Residual | Hourglass)[]

  constructor(device: Device, features: number, depth: number, uniform: Uniform) {
    super()
    const residual = () => new Residual(device, features, features, uniform)
    this.#up1 = this.part('up1', residual())
    this.#low = [
      this.part('low1', residual()),
      this.part('low2', depth > 1 ? new Hourglass(device, features, depth - 1, uniform) : residual()),
      this.part('low3', residual()),
    ]
  }

  forward(x: Tensor): Tensor {
    const low = this.#low.reduce((h, part) => part.forward(h), maxPool2d(x, { kernelSize: 2 }))
    const [, , h, w] = x.shape
    return add(this.#up1.forward(x), interpolate(low, { size: [h!, w!] }))
  }
}

/** An hourglass and what follows it. `merge` leads to the next one; the last has none. */
interface Stack {
  readonly hourglass: Hourglass
  readonly residual: Residual
  readonly feature: ConvBlock
  readonly out: ConvBlock
  readonly merge?: { readonly feature: ConvBlock; readonly prediction: ConvBlock }
}

/**
 * Stacked hourglass network (Newell et al., 2016), for heatmaps of points. (N, inChannels, H, W) gives one tensor
 * (N, outChannels, H/4, W/4) a stack, the last one the best: raw values, no sigmoid. H and W are multiples of
 * 4 · 2^depth (64). Each stack's input is the one before plus its features and its prediction, both through
 * 1×1 convolutions. Train it on the mean of the stacks' losses.
 *
 * Parameter names are those of the PyTorch network of the thesis (`pre.0.conv.weight`,
 * `hgs.0.0.up1.bn1.weight`, … `merge_preds.0.conv.conv.bias`).
 */
export class StackedHourglass extends Module {
  readonly options: Required<Omit<StackedHourglassOptions, 'activationCheckpointing'>>
  readonly #stem: readonly [ConvBlock, Residual, Residual, Residual]
  readonly #stacks: readonly Stack[]

  constructor(
    readonly device: Device,
    given: StackedHourglassOptions = {},
  ) {
    super()
    checkOptions(
      'StackedHourglass',
      given,
      [],
      [
        'inChannels',
        'outChannels',
        'stacks',
        'features',
        'depth',
        'stemFeatures',
        'seed',
        'activationCheckpointing',
      ],
    )
    const {
      inChannels = 1,
      outChannels = 1,
      stacks = 8,
      features = 256,
      depth = 4,
      stemFeatures = 64,
      seed = 42,
      activationCheckpointing = false,
    } = given
    this.activationCheckpointing = activationCheckpointing
    checkCounts('StackedHourglass', { inChannels, outChannels, stacks, features, depth, stemFeatures })
    for (const [name, n] of Object.entries({ features, stemFeatures })) {
      if (n % 2 !== 0)
        throw new FoveaError(`StackedHourglass: ${name} must be even: its blocks halve them; got ${n}`)
    }
    this.options = { inChannels, outChannels, stacks, features, depth, stemFeatures, seed }
    const prng = new Prng(seed)
    const uniform = () => prng.uniform()
    const conv = (from: number, to: number, options: BlockOptions = {}) =>
      new ConvBlock(device, from, to, options, uniform)
    const residual = (from: number, to: number) => new Residual(device, from, to, uniform)
    const wide = 2 * stemFeatures
    this.#stem = [
      this.part('pre.0', conv(inChannels, stemFeatures, { kernelSize: 7, stride: 2, norm: true })),
      this.part('pre.1', residual(stemFeatures, wide)),
      // Part 2 is the pooling.
      this.part('pre.3', residual(wide, wide)),
      this.part('pre.4', residual(wide, features)),
    ]
    const each = <T>(make: (i: number) => T, count = stacks): T[] =>
      Array.from({ length: count }, (_, i) => make(i))
    // In the order of PyTorch's state dict: all hourglasses, then all features, …
    const hourglasses = each((i) => this.part(`hgs.${i}.0`, new Hourglass(device, features, depth, uniform)))
    const behind = each((i) => ({
      residual: this.part(`features.${i}.0`, residual(features, features)),
      feature: this.part(`features.${i}.1`, conv(features, features, { norm: true })),
    }))
    const outs = each((i) => this.part(`outs.${i}`, conv(features, outChannels)))
    const mergeFeatures = each(
      (i) => this.part(`merge_features.${i}.conv`, conv(features, features)),
      stacks - 1,
    )
    const mergePredictions = each(
      (i) => this.part(`merge_preds.${i}.conv`, conv(outChannels, features)),
      stacks - 1,
    )
    this.#stacks = each((i) => ({
      hourglass: hourglasses[i]!,
      ...behind[i]!,
      out: outs[i]!,
      ...(i < stacks - 1 ? { merge: { feature: mergeFeatures[i]!, prediction: mergePredictions[i]! } } : {}),
    }))
    this.pack()
  }

  forward(x: Tensor): Tensor[] {
    const { inChannels, depth } = this.options
    checkImages('StackedHourglass', x, inChannels, 4 * 2 ** depth)
    const [stem, widen, keep, narrow] = this.#stem
    let h = this.segment((images) => {
      const half = maxPool2d(widen.forward(stem.forward(images)), { kernelSize: 2 })
      return narrow.forward(keep.forward(half))
    }, x)
    return this.#stacks.map((stack) => {
      const [heatmap, next] = this.segment((from) => runStack(stack, from), h)
      h = next ?? h
      return heatmap!
    })
  }
}

/** A stack's heatmap and, but for the last, the next one's input. */
function runStack({ hourglass, residual, feature, out, merge }: Stack, h: Tensor): Tensor[] {
  const seen = feature.forward(residual.forward(hourglass.forward(h)))
  const heatmap = out.forward(seen)
  if (!merge) return [heatmap]
  return [heatmap, add(add(h, merge.prediction.forward(heatmap)), merge.feature.forward(seen))]
}
