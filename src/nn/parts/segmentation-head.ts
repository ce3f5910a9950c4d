import type { Device } from '../../autograd/device.ts'
import { interpolate } from '../../autograd/ops/interpolate.ts'
import { sigmoid } from '../../autograd/ops/sigmoid.ts'
import type { Tensor } from '../../autograd/tensor.ts'
import type { ConvInit } from '../init.ts'
import { Conv2d } from '../layers.ts'
import { Module } from '../module.ts'

/** A convolution with bias (part 0) to one map a class, enlarged `scale` times (bilinear, corners aligned), sigmoid. */
export class SegmentationHead extends Module {
  readonly #conv: Conv2d

  constructor(
    device: Device,
    inChannels: number,
    outChannels: number,
    private readonly options: { readonly kernelSize: number; readonly scale: number },
    init: ConvInit,
  ) {
    super()
    const { kernelSize } = options
    const padding = (kernelSize - 1) / 2
    this.#conv = this.part('0', new Conv2d(device, inChannels, outChannels, { kernelSize, padding }, init))
  }

  forward(x: Tensor): Tensor {
    return sigmoid(enlarge(this.#conv.forward(x), this.options.scale))
  }
}

/** Bilinear enlargement with aligned corners: PyTorch's `UpsamplingBilinear2d`. */
export function enlarge(x: Tensor, scale: number): Tensor {
  if (scale === 1) return x
  const [, , h, w] = x.shape
  return interpolate(x, { size: [scale * h!, scale * w!], mode: 'bilinear', alignCorners: true })
}
