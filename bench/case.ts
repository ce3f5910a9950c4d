import type { Device } from '../src/autograd/device.ts'
import type { Tensor } from '../src/autograd/tensor.ts'

/** One kernel on one shape, before it is timed. */
export interface Case {
  readonly name: string
  readonly flops: number
  readonly bytes: number
  /** Of warps: values that are loaded one by one. */
  readonly taps?: number
  /** Where the time a pixel says more: it is printed, too. */
  readonly pixels?: number
  /** Left out unless asked for by name. */
  readonly onDemand?: boolean
  /** Makes tensors and returns what one call records. */
  setup(device: Device): Call
}

/** Records one call. What it holds is freed by `dispose`, or when it is garbage-collected. */
export type Call = (() => void) & { readonly dispose?: () => void }

export const floats = (n: number): Float32Array =>
  Float32Array.from({ length: n }, (_, i) => Math.sin(0.37 * i))
export const tensor = (device: Device, shape: readonly number[], requiresGrad = false): Tensor =>
  device.tensor(floats(shape.reduce((a, b) => a * b, 1)), shape, { requiresGrad })

/**
 * A forward pass as a compiled step. Its inputs are no arguments of it, here and below: a step copies its arguments at each call,
 * which takes as long as many a kernel.
 */
export function forward(device: Device, inputs: readonly Tensor[], f: (...x: Tensor[]) => Tensor): Call {
  return device.compile(() => device.noGrad(() => f(...inputs)))
}

/** Forward and backward as a compiled step; the forward pass is part of it. */
export function backward(device: Device, inputs: readonly Tensor[], f: (...x: Tensor[]) => Tensor): Call {
  const leaves = inputs.map((t) => device.parameter(floats(t.size), t.shape))
  const y = device.noGrad(() => f(...inputs))
  const up = tensor(device, y.shape)
  return device.compile(() => f(...leaves).backward(up))
}
