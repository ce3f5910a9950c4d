import type { Device } from '../../autograd/device.ts'
import type { Tensor } from '../../autograd/tensor.ts'
import type { ConvInit } from '../init.ts'
import { BatchNorm2d, Conv2d, type Conv2dOptions } from '../layers.ts'
import { Module } from '../module.ts'

/** Depthwise convolution without bias (part 0), then a 1×1 convolution without bias that mixes the channels (part 1). */
export class SeparableConv2d extends Module {
  readonly #depthwise: Conv2d
  readonly #pointwise: Conv2d

  constructor(
    device: Device,
    inChannels: number,
    outChannels: number,
    options: Omit<Conv2dOptions, 'groups' | 'bias'>,
    init: ConvInit,
  ) {
    super()
    const depthwise = { ...options, groups: inChannels, bias: false }
    this.#depthwise = this.part('0', new Conv2d(device, inChannels, inChannels, depthwise, init))
    this.#pointwise = this.part(
      '1',
      new Conv2d(device, inChannels, outChannels, { kernelSize: 1, bias: false }, init),
    )
  }

  forward(x: Tensor): Tensor {
    return this.#pointwise.forward(this.#depthwise.forward(x))
  }

  /** With a batch norm behind it. */
  normed(x: Tensor, norm: BatchNorm2d): Tensor {
    return norm.behind(this.#pointwise, this.#depthwise.forward(x))
  }
}

/** A convolution without bias, batch norm, ReLU: what decoders are made of. Its parts are called `at` and `at + 1`. */
export class ConvNormRelu extends Module {
  readonly #conv: Conv2d | SeparableConv2d
  readonly #norm: BatchNorm2d

  constructor(
    device: Device,
    inChannels: number,
    outChannels: number,
    {
      at = 0,
      separable = false,
      ...options
    }: Omit<Conv2dOptions, 'groups' | 'bias'> & { readonly at?: number; readonly separable?: boolean },
    init: ConvInit,
  ) {
    super()
    const conv = separable
      ? new SeparableConv2d(device, inChannels, outChannels, options, init)
      : new Conv2d(device, inChannels, outChannels, { ...options, bias: false }, init)
    this.#conv = this.part(`${at}`, conv)
    this.#norm = this.part(`${at + 1}`, new BatchNorm2d(device, outChannels, { activation: 'relu' }))
  }

  forward(x: Tensor): Tensor {
    const [conv, norm] = [this.#conv, this.#norm]
    return conv instanceof Conv2d ? norm.behind(conv, x) : conv.normed(x, norm)
  }
}
