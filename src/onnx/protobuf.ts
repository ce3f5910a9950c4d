import type { PbfWriter } from 'pbf'
import { FoveaError } from '../gpu/errors.ts'

/** A value of a node's attribute: a whole number or, as `{ float }`, any; whole numbers; a text. */
export type Attribute = number | readonly number[] | string | { readonly float: number }

export interface Node {
  readonly opType: string
  readonly inputs: string[]
  readonly outputs: string[]
  readonly attributes: Readonly<Record<string, Attribute>>
}

export interface Initializer {
  readonly name: string
  readonly dims: readonly number[]
  readonly data: Float32Array | BigInt64Array
}

/** A size, or the name of one that the caller chooses. */
export type Dim = number | string

export interface Port {
  readonly name: string
  readonly dims: readonly Dim[]
}

export interface Model {
  readonly nodes: readonly Node[]
  readonly initializers: readonly Initializer[]
  readonly inputs: readonly Port[]
  readonly outputs: readonly Port[]
}

/** Operators are those of ONNX 1.12, which every runtime of the last years knows. */
const OPSET = 17
const IR_VERSION = 8

// Field numbers of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
const TYPE = { FLOAT: 1, INT64: 7 } as const
const ATTRIBUTE = { FLOAT: 1, INT: 2, STRING: 3, INTS: 7 } as const

function writeAttribute([name, value]: readonly [string, Attribute], p: PbfWriter): void {
  p.writeStringField(1, name)
  if (typeof value === 'number') {
    p.writeVarintField(3, value)
    p.writeVarintField(20, ATTRIBUTE.INT)
  } else if (typeof value === 'string') {
    p.writeBytesField(4, new TextEncoder().encode(value))
    p.writeVarintField(20, ATTRIBUTE.STRING)
  } else if ('float' in value) {
    p.writeFloatField(2, value.float)
    p.writeVarintField(20, ATTRIBUTE.FLOAT)
  } else {
    for (const n of value) p.writeVarintField(8, n)
    p.writeVarintField(20, ATTRIBUTE.INTS)
  }
}

function writeNode({ opType, inputs, outputs, attributes }: Node, p: PbfWriter): void {
  for (const name of inputs) p.writeStringField(1, name)
  for (const name of outputs) p.writeStringField(2, name)
  p.writeStringField(3, outputs[0]!)
  p.writeStringField(4, opType)
  for (const entry of Object.entries(attributes)) p.writeMessage(5, writeAttribute, entry)
}

function writeTensor({ name, dims, data }: Initializer, p: PbfWriter): void {
  for (const d of dims) p.writeVarintField(1, d)
  p.writeVarintField(2, data instanceof Float32Array ? TYPE.FLOAT : TYPE.INT64)
  p.writeStringField(8, name)
  p.writeBytesField(9, new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
}

function writeDim(dim: Dim, p: PbfWriter): void {
  if (typeof dim === 'number') p.writeVarintField(1, dim)
  else p.writeStringField(2, dim)
}

function writePort({ name, dims }: Port, p: PbfWriter): void {
  p.writeStringField(1, name)
  p.writeMessage(2, (_: null, type) => type.writeMessage(1, writeTensorType, dims), null)
}

function writeTensorType(dims: readonly Dim[], p: PbfWriter): void {
  p.writeVarintField(1, TYPE.FLOAT)
  p.writeMessage(
    2,
    (_: null, shape) => {
      for (const dim of dims) shape.writeMessage(1, writeDim, dim)
    },
    null,
  )
}

function writeGraph({ nodes, initializers, inputs, outputs }: Model, p: PbfWriter): void {
  for (const node of nodes) p.writeMessage(1, writeNode, node)
  p.writeStringField(2, 'fovea')
  for (const tensor of initializers) p.writeMessage(5, writeTensor, tensor)
  for (const port of inputs) p.writeMessage(11, writePort, port)
  for (const port of outputs) p.writeMessage(12, writePort, port)
}

/** The bytes of an .onnx file. Throws a FoveaError if the optional package `pbf` is not installed. */
export async function encodeModel(model: Model): Promise<Uint8Array> {
  const { PbfWriter } = await import('pbf').catch((cause: unknown) => {
    throw new FoveaError('exportOnnx: it needs the package pbf; run npm install pbf', { cause })
  })
  const p = new PbfWriter()
  p.writeVarintField(1, IR_VERSION)
  p.writeStringField(2, 'fovea')
  p.writeMessage(7, writeGraph, model)
  p.writeMessage(8, (_: null, opset) => opset.writeVarintField(2, OPSET), null)
  return p.finish()
}
