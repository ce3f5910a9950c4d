import type { Device } from '../autograd/device.ts'
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
