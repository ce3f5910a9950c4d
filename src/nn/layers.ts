import type { Device } from '../autograd/device.ts'
import { type BatchNormOptions, batchNorm, batchNormMaxPool2d } from '../autograd/ops/batch-norm.ts'
import { convTranspose2d } from '../autograd/ops/conv-transpose2d.ts'
import { conv2d } from '../autograd/ops/conv2d.ts'
import { maxPool2d } from '../autograd/ops/max-pool2d.ts'
import type { Slot } from '../autograd/slots.ts'
import type { Shape, Tensor } from '../autograd/tensor.ts'
import { FoldedWeights } from './fold.ts'
import { type ConvInit, constantParameter, type Uniform, uniformParameter } from './init.ts'
import { Module } from './module.ts'

export interface Conv2dOptions {
  readonly kernelSize: number
  readonly stride?: number
  readonly padding?: number
  readonly dilation?: number
  readonly groups?: number
  readonly bias?: boolean
  /** Computed in the same launch. */
  readonly activation?: 'relu'
}

/** What `Conv2d` computes with instead of its own weights. */
interface ConvWeights {
  readonly weight?: Tensor
  readonly bias?: Tensor | undefined
  readonly activation?: 'relu' | undefined
  /** Where the result is to lie, for a later `concat`. */
  readonly into?: Slot | undefined
}

/** Convolution with its weight (out, in/groups, k, k) and, by default, a bias. They begin as PyTorch's, or by `init`. */
export class Conv2d extends Module {
  readonly weight: Tensor
  readonly bias: Tensor | undefined

  constructor(
    device: Device,
    inChannels: number,
    outChannels: number,
    private readonly options: Conv2dOptions,
    init: Uniform | ConvInit,
  ) {
    super()
    const { kernelSize: k, groups = 1 } = options
    const fanIn = (inChannels / groups) * k * k
    const begin = (name: 'weight' | 'bias', shape: Shape) =>
      typeof init === 'function'
        ? uniformParameter(device, shape, fanIn, init)
        : device.parameter(init[name](shape), shape)
    this.weight = this.addParameter('weight', begin('weight', [outChannels, inChannels / groups, k, k]))
    if (options.bias ?? true) this.bias = this.addParameter('bias', begin('bias', [outChannels]))
  }

  forward(x: Tensor, { weight = this.weight, bias = this.bias, activation, into }: ConvWeights = {}): Tensor {
    const { stride = 1, padding = 0, dilation = 1, groups = 1 } = this.options
    return conv2d(x, weight, {
      bias,
      stride,
      padding,
      dilation,
      groups,
      activation: activation ?? this.options.activation,
      into,
    })
  }
}

/** Transposed convolution with weight (in, out, k, k) and bias. */
export class ConvTranspose2d extends Module {
  readonly weight: Tensor
  readonly bias: Tensor

  constructor(
    device: Device,
    inChannels: number,
    outChannels: number,
    private readonly options: {
      readonly kernelSize: number
      readonly stride: number
      readonly activation?: 'relu'
    },
    uniform: Uniform,
  ) {
    super()
    const k = options.kernelSize
    const fanIn = outChannels * k * k
    this.weight = this.addParameter(
      'weight',
      uniformParameter(device, [inChannels, outChannels, k, k], fanIn, uniform),
    )
    this.bias = this.addParameter('bias', uniformParameter(device, [outChannels], fanIn, uniform))
  }

  /** `into`: where the result is to lie, for a later `concat`. */
  forward(x: Tensor, into?: Slot): Tensor {
    const { stride, activation } = this.options
    return convTranspose2d(x, this.weight, { bias: this.bias, stride, activation, into })
  }
}

/** Batch normalisation over (N, H, W), with an optional ReLU in the same launch. */
export class BatchNorm2d extends Module {
  readonly #folded = new Map<Conv2d, FoldedWeights>()
  readonly weight: Tensor
  readonly bias: Tensor
  readonly runningMean: Tensor
  readonly runningVar: Tensor

  constructor(
    device: Device,
    channels: number,
    private readonly options: {
      readonly activation?: 'relu'
      readonly momentum?: number
      readonly eps?: number
    } = {},
  ) {
    super()
    this.weight = this.addParameter('weight', constantParameter(device, [channels], 1))
    this.bias = this.addParameter('bias', constantParameter(device, [channels], 0))
    this.runningMean = this.addBuffer('running_mean', constantParameter(device, [channels], 0, false))
    this.runningVar = this.addBuffer('running_var', constantParameter(device, [channels], 1, false))
  }

  /** `into`: where the result is to lie, for a later `concat`. */
  forward(x: Tensor, into?: Slot): Tensor {
    return batchNorm(x, this.#applied(into))
  }

  #applied(into: Slot | undefined): BatchNormOptions {
    const { weight, bias, runningMean, runningVar, training } = this
    return {
      into,
      weight,
      bias,
      runningMean,
      runningVar,
      training,
      momentum: 0.1,
      eps: 1e-5,
      ...this.options,
    }
  }

  /**
   * `forward` of what `conv` makes of x. In evaluation without gradients (`eval()`, `noGrad`) it is one convolution:
   * the batch norm is folded into its weights, which follow when weights or running statistics change.
   */
  behind(conv: Conv2d, x: Tensor, into?: Slot): Tensor {
    return this.#folding(conv, x, into) ?? this.forward(conv.forward(x), into)
  }

  /** `behind`, and the 2×2 maxima of it. In training one op makes both; see `batchNormMaxPool2d`. */
  pooledBehind(conv: Conv2d, x: Tensor, into?: Slot): readonly [Tensor, Tensor] {
    const y = this.#folding(conv, x, into)
    if (!y) return batchNormMaxPool2d(conv.forward(x), this.#applied(into))
    return [y, maxPool2d(y, { kernelSize: 2 })]
  }

  /** The one convolution, if it may be. */
  #folding(conv: Conv2d, x: Tensor, into: Slot | undefined): Tensor | undefined {
    const { gradEnabled, tracing, recomputation } = x.device
    const unfolded = this.training || gradEnabled || tracing || recomputation.watching
    if (unfolded || !this.#fold(conv).refresh()) return undefined
    const { weight, bias } = this.#fold(conv)
    return conv.forward(x, { weight, bias, activation: this.options.activation, into })
  }

  #fold(conv: Conv2d): FoldedWeights {
    const known = this.#folded.get(conv)
    if (known) return known
    const { weight: gamma, bias: beta, runningMean: mean, runningVar: variance } = this
    const { weight, bias } = conv
    const made = new FoldedWeights({ weight, bias, gamma, beta, mean, variance }, this.options.eps ?? 1e-5)
    this.#folded.set(conv, made)
    return made
  }

  protected override release(): void {
    for (const folded of this.#folded.values()) folded.dispose()
    this.#folded.clear()
  }
}
