import { halfValue } from '../autograd/float16.ts'
import { type DType, elements, type Shape, type TypedArray } from '../autograd/tensor.ts'
import { CheckpointError } from '../gpu/errors.ts'

/** What arrays of a file are read as: halves become float32. */
type SafeType = Exclude<DType, 'float16'>

/** One array of a safetensors file. */
export interface SafeArray {
  readonly dtype: SafeType
  readonly shape: Shape
  readonly data: TypedArray
}

const names = { float32: 'F32', int32: 'I32', uint32: 'U32' } as const
/** The format's own limit for headers. */
const MAX_HEADER = 100_000_000

const broken = (what: string, file: string): CheckpointError =>
  new CheckpointError(
    `${file}: not a usable safetensors file: ${what}; it may be truncated or damaged, use another copy`,
  )

/** Converts the bytes of one entry. F64, F16, BF16 become float32; I64 and smaller integers become int32. */
function decode(
  dtype: string,
  bytes: Uint8Array,
  count: number,
): { dtype: SafeType; data: TypedArray } | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const floats = (at: (i: number) => number) => ({
    dtype: 'float32' as const,
    data: Float32Array.from({ length: count }, (_, i) => at(i)),
  })
  const ints = (at: (i: number) => number) => ({
    dtype: 'int32' as const,
    data: Int32Array.from({ length: count }, (_, i) => at(i)),
  })
  switch (dtype) {
    case 'F32':
      return { dtype: 'float32', data: new Float32Array(bytes.slice().buffer) }
    case 'I32':
      return { dtype: 'int32', data: new Int32Array(bytes.slice().buffer) }
    case 'U32':
      return { dtype: 'uint32', data: new Uint32Array(bytes.slice().buffer) }
    case 'F64':
      return floats((i) => view.getFloat64(8 * i, true))
    case 'F16':
      return floats((i) => halfValue(view.getUint16(2 * i, true)))
    case 'BF16': {
      const word = new DataView(new ArrayBuffer(4))
      return floats((i) => {
        word.setUint32(0, view.getUint16(2 * i, true) << 16)
        return word.getFloat32(0)
      })
    }
    case 'I64':
      return ints((i) => Number(view.getBigInt64(8 * i, true)))
    case 'I16':
      return ints((i) => view.getInt16(2 * i, true))
    case 'U8':
    case 'BOOL':
      return ints((i) => bytes[i]!)
    case 'I8':
      return ints((i) => view.getInt8(i))
    default:
      return undefined
  }
}

const WIDTH: Readonly<Record<string, number>> = {
  F64: 8,
  I64: 8,
  F32: 4,
  I32: 4,
  U32: 4,
  F16: 2,
  BF16: 2,
  I16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
}

/**
 * Reads a safetensors file. Every offset and shape is checked against the bytes. `file` names it in errors.
 * Throws a CheckpointError.
 */
export function parseSafetensors(
  source: Uint8Array,
  file = 'safetensors',
): { tensors: Map<string, SafeArray>; metadata: Record<string, string> } {
  // A Buffer of Node is a Uint8Array whose slice() shares its memory: this view's copies.
  const bytes = new Uint8Array(source.buffer, source.byteOffset, source.byteLength)
  if (bytes.byteLength < 8) throw broken(`it has ${bytes.byteLength} bytes`, file)
  const length = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true)
  if (length > BigInt(Math.min(MAX_HEADER, bytes.byteLength - 8)))
    throw broken(`its header claims ${length} bytes, the file has ${bytes.byteLength}`, file)
  const begin = 8 + Number(length)
  let header: unknown
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(8, begin)))
  } catch {
    throw broken('its header is not JSON', file)
  }
  if (!header || typeof header !== 'object' || Array.isArray(header))
    throw broken('its header is not an object', file)
  const tensors = new Map<string, SafeArray>()
  let metadata: Record<string, string> = {}
  const spans: [number, number][] = []
  for (const [name, entry] of Object.entries(header as Record<string, Record<string, unknown>>)) {
    if (name === '__metadata__') {
      metadata = Object.fromEntries(Object.entries(entry ?? {}).map(([k, v]) => [k, String(v)]))
      continue
    }
    const { dtype, shape, data_offsets: offsets } = entry ?? {}
    const width = WIDTH[String(dtype)]
    if (!width)
      throw broken(`'${name}' has dtype ${String(dtype)}; fovea reads ${Object.keys(WIDTH).join(', ')}`, file)
    if (!Array.isArray(shape) || !shape.every((d) => Number.isInteger(d) && d >= 0))
      throw broken(`'${name}' has no proper shape`, file)
    if (
      !Array.isArray(offsets) ||
      offsets.length !== 2 ||
      !offsets.every((o) => Number.isInteger(o) && o >= 0)
    )
      throw broken(`'${name}' has no proper offsets`, file)
    const [from, to] = offsets as [number, number]
    const count = elements(shape)
    if (to - from !== count * width || begin + to > bytes.byteLength)
      throw broken(`'${name}' ${JSON.stringify(shape)} does not fit its bytes ${from}…${to}`, file)
    spans.push([from, to])
    tensors.set(name, { shape, ...decode(String(dtype), bytes.subarray(begin + from, begin + to), count)! })
  }
  spans.sort((a, b) => a[0] - b[0] || a[1] - b[1])
  for (let i = 1; i < spans.length; i++)
    if (spans[i]![0] < spans[i - 1]![1]) throw broken('two tensors overlap', file)
  return { tensors, metadata }
}

/** Writes the safetensors format: an 8-byte length, a JSON header, the bytes in the given order. */
export function formatSafetensors(
  tensors: Iterable<readonly [string, SafeArray]>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const header: Record<string, unknown> = Object.keys(metadata).length > 0 ? { __metadata__: metadata } : {}
  const parts: Uint8Array[] = []
  let offset = 0
  for (const [name, { dtype, shape, data }] of tensors) {
    header[name] = { dtype: names[dtype], shape, data_offsets: [offset, offset + data.byteLength] }
    parts.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    offset += data.byteLength
  }
  const text = new TextEncoder().encode(JSON.stringify(header))
  const padded = Math.ceil(text.byteLength / 8) * 8
  const bytes = new Uint8Array(8 + padded + offset).fill(0x20, 8, 8 + padded)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(padded), true)
  bytes.set(text, 8)
  let at = 8 + padded
  for (const part of parts) {
    bytes.set(part, at)
    at += part.byteLength
  }
  return bytes
}
