import type { Device } from '../../autograd/device.ts'
import { BYTES_PER_ELEMENT, type Tensor } from '../../autograd/tensor.ts'
import { FoveaError } from '../../gpu/errors.ts'
import type { Storage } from '../../gpu/storage.ts'

/** Parameters whose values lie together, and whose gradients do: one launch serves them. */
export interface ParameterGroup {
  readonly name: string
  readonly parameters: readonly Tensor[]
  /** Floats, gaps between parameters included. */
  readonly length: number
  readonly data: Storage
  /** Made (zero) on first use. */
  grads(): Storage
  /** Byte offset of a parameter in the group. */
  offsetOf(p: Tensor): number
}

/**
 * Splits parameters into groups: a whole parameter block is one, any other tensor one by itself.
 * Throws if a tensor is not a leaf that wants a gradient.
 */
export function groupParameters(
  owner: string,
  parameters: readonly Tensor[],
): { device: Device; groups: ParameterGroup[] } {
  const device = parameters[0]?.device
  if (!device) throw new FoveaError(`${owner}: got no parameters`)
  const given = new Set(parameters)
  const groups: ParameterGroup[] = []
  const done = new Set<Tensor>()
  for (const p of parameters) {
    if (!p.requiresGrad || !p.isLeaf) {
      throw new FoveaError(`${owner}: ${p.toString()} is no leaf with requiresGrad: it cannot be optimised`)
    }
    if (done.has(p)) continue
    const block = device.blockOf(p)
    if (block?.parameters.every((q) => given.has(q))) {
      for (const q of block.parameters) done.add(q)
      groups.push({
        name: p.name ?? 'parameters',
        parameters: block.parameters,
        length: block.length,
        data: block.data,
        grads: () => block.grads,
        offsetOf: (q) => block.offsetOf(q),
      })
    } else {
      done.add(p)
      groups.push({
        name: p.name ?? 'parameter',
        parameters: [p],
        length: p.bytes / BYTES_PER_ELEMENT,
        data: p.storage,
        grads: () => device.gradOf(p).storage,
        offsetOf: () => 0,
      })
    }
  }
  return { device, groups }
}
