import type { Device } from '../../autograd/device.ts'
import { add } from '../../autograd/ops/add.ts'
import { concat } from '../../autograd/ops/concat.ts'
import { slice } from '../../autograd/ops/slice.ts'
import type { Slot } from '../../autograd/slots.ts'
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

  /** `norm` of what it makes of x; see `BatchNorm2d.behind`. */
  before(norm: BatchNorm2d, x: Tensor, into?: Slot): Tensor {
    return norm.behind(this.#pointwise, this.#depthwise.forward(x), into)
  }
}

/** Bytes that the engine may put behind an array (guard words, whole vec4s). */
const SPARE = 4096

/** Whether the adapter can bind an array of so many bytes, as what parts are joined to. */
export const fitsJoined = ({ adapter }: Device, bytes: number): boolean =>
  bytes + SPARE <= adapter.maxBindingBytes

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

  /** `into`: where the result is to lie, for a later `concat`. */
  forward(x: Tensor, into?: Slot): Tensor {
    const [conv, norm] = [this.#conv, this.#norm]
    return conv instanceof SeparableConv2d ? conv.before(norm, x, into) : norm.behind(conv, x, into)
  }

  /**
   * `forward` of parts that are joined along channels. Where the adapter cannot bind the joined array, nothing is
   * joined: a convolution of channels side by side is the sum of those of the parts, each with its part of the weight,
   *
   *     conv(concat(x₁, x₂, …), W) = conv(x₁, W[:, C₁]) + conv(x₂, W[:, C₂]) + …
   */
  forwardJoined(parts: readonly Tensor[]): Tensor {
    const [conv, norm] = [this.#conv, this.#norm]
    const { device } = parts[0]!
    const bytes = parts.reduce((sum, p) => sum + p.bytes, 0)
    const fits = device.tracing || fitsJoined(device, bytes)
    if (parts.length === 1) return this.forward(parts[0]!)
    if (fits || conv instanceof SeparableConv2d) return this.forward(concat(parts, { axis: 1 }))
    const [out, , kh, kw] = conv.weight.shape as [number, number, number, number]
    let at = 0
    const sums = parts.map((part) => {
      const [from, to] = [at, at + part.shape[1]!]
      at = to
      return conv.forward(part, {
        weight: slice(conv.weight, { starts: [0, from, 0, 0], ends: [out, to, kh, kw] }),
      })
    })
    return norm.forward(sums.reduce((a, b) => add(a, b)))
  }
}
