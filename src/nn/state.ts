import type { Device } from '../autograd/device.ts'
import { dtypeOf, type Tensor } from '../autograd/tensor.ts'
import { formatSafetensors, parseSafetensors, type SafeArray } from './safetensors.ts'

/** Tensors by name. */
export type TensorRecord = Record<string, Tensor>

/** Uploads the arrays of a safetensors file. Half and double floats arrive as float32. Throws a CheckpointError. */
export function tensorsFromSafetensors(
  device: Device,
  bytes: Uint8Array,
  file = 'safetensors',
): TensorRecord {
  const result: TensorRecord = {}
  for (const [name, { data, shape }] of parseSafetensors(bytes, file).tensors) {
    // A record from a file must not reach the prototype.
    Object.defineProperty(result, name, {
      value: device.tensor(data, shape),
      enumerable: true,
      writable: true,
      configurable: true,
    })
  }
  return result
}

/** Reads tensors back and writes them in the safetensors format, which PyTorch reads as it is. Halves become float32. */
export async function safetensorsFrom(
  tensors: Readonly<TensorRecord>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<Uint8Array> {
  const arrays: [string, SafeArray][] = []
  for (const [name, t] of Object.entries(tensors)) {
    const data = await t.data()
    arrays.push([name, { dtype: dtypeOf('safetensors', data), shape: t.shape, data }])
  }
  return formatSafetensors(arrays, metadata)
}
