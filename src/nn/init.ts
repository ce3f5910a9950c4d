import type { Device } from '../autograd/device.ts'
import type { Prng } from '../autograd/random.ts'
import { elements, type Shape, type Tensor } from '../autograd/tensor.ts'

/** A stream of uniform numbers in [0, 1). */
export type Uniform = () => number

/**
 * PyTorch's default for convolution weights and biases: uniform in ±1/√fanIn (Kaiming uniform with a = √5).
 */
export function uniformParameter(device: Device, shape: Shape, fanIn: number, uniform: Uniform): Tensor {
  const bound = 1 / Math.sqrt(fanIn)
  const values = new Float32Array(elements(shape))
  // Millions of values: a callback for each would take most of the time that building a network takes.
  for (let i = 0; i < values.length; i++) values[i] = (2 * uniform() - 1) * bound
  return device.parameter(values, shape)
}

/** A parameter or statistic with one value everywhere. */
export function constantParameter(device: Device, shape: Shape, value: number, requiresGrad = true): Tensor {
  return device.parameter(new Float32Array(elements(shape)).fill(value), shape, { requiresGrad })
}

/** How a convolution begins: values of its weight (out, in / groups, k, k) and of its bias. */
export interface ConvInit {
  weight(shape: Shape): Float32Array
  bias(shape: Shape): Float32Array
}

const uniformWithin = (shape: Shape, bound: number, prng: Prng): Float32Array =>
  Float32Array.from({ length: elements(shape) }, () => (2 * prng.uniform() - 1) * bound)

const zeros = (shape: Shape): Float32Array => new Float32Array(elements(shape))

/** Values that make one output, and outputs that one value goes into, as PyTorch counts them. */
const fans = ([out, inGroup, kh, kw]: Shape): { fanIn: number; fanOut: number } => ({
  fanIn: inGroup! * kh! * kw!,
  fanOut: out! * kh! * kw!,
})

/** torchvision's for ResNet: normal with variance 2 / fanOut (He et al., 2015), biases 0. */
export const kaimingNormal = (prng: Prng): ConvInit => ({
  weight(shape) {
    const deviation = Math.sqrt(2 / fans(shape).fanOut)
    return Float32Array.from({ length: elements(shape) }, () => deviation * prng.normal())
  },
  bias: zeros,
})

/** segmentation_models.pytorch's for decoders: uniform with variance 2 / fanIn, biases 0. */
export const kaimingUniform = (prng: Prng): ConvInit => ({
  weight: (shape) => uniformWithin(shape, Math.sqrt(6 / fans(shape).fanIn), prng),
  bias: zeros,
})

/** segmentation_models.pytorch's for heads: uniform with variance 2 / (fanIn + fanOut) (Glorot), biases 0. */
export const xavierUniform = (prng: Prng): ConvInit => ({
  weight(shape) {
    const { fanIn, fanOut } = fans(shape)
    return uniformWithin(shape, Math.sqrt(6 / (fanIn + fanOut)), prng)
  },
  bias: zeros,
})
