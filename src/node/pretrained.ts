import type { Module } from '../nn/module.ts'
import type { TensorRecord } from '../nn/state.ts'
import {
  loadPretrained as loadFromMemory,
  type TransferOptions,
  type TransferReport,
  transferFromBytes,
} from '../nn/transfer.ts'
import { readWeights } from './safetensors.ts'

/**
 * Copies what fits into a network from a safetensors file (its path or bytes), a state dict or another network, and
 * says what matched, what was skipped and why. See `transferWeights`. Throws a CheckpointError that names the file.
 */
export async function loadPretrained(
  net: Module,
  source: string | Uint8Array | Readonly<TensorRecord> | Module,
  options: TransferOptions = {},
): Promise<TransferReport> {
  if (typeof source !== 'string') return loadFromMemory(net, source, options)
  return transferFromBytes(net, await readWeights(source), source, options)
}
