import { readFile } from 'node:fs/promises'
import type { Device } from '../autograd/device.ts'
import { CheckpointError } from '../gpu/errors.ts'
import { safetensorsFrom, type TensorRecord, tensorsFromSafetensors } from '../nn/state.ts'
import { writeFileAtomic } from './atomic.ts'

/** Reads a file, or throws a CheckpointError that names it. */
export async function readWeights(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path)
  } catch (cause) {
    throw new CheckpointError(`${path}: cannot be read (${(cause as Error).message}); check the path`, {
      cause,
    })
  }
}

/** Loads a safetensors file onto the device: tensors by name. Throws a CheckpointError that names the file. */
export async function loadSafetensors(
  device: Device,
  pathOrBytes: string | Uint8Array,
): Promise<TensorRecord> {
  if (typeof pathOrBytes !== 'string') return tensorsFromSafetensors(device, pathOrBytes)
  return tensorsFromSafetensors(device, await readWeights(pathOrBytes), pathOrBytes)
}

/** Writes tensors to a safetensors file, whole or not at all. */
export async function saveSafetensors(
  path: string,
  tensors: Readonly<TensorRecord>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  await writeFileAtomic(path, await safetensorsFrom(tensors, metadata))
}
