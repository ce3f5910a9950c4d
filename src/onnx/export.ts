import { FoveaError } from '../gpu/errors.ts'
import type { Module } from '../nn/module.ts'
import { foldBatchNorms } from './fold.ts'
import { OnnxGraph } from './graph.ts'
import { OPERATORS, type Translate } from './operators.ts'
import { encodeModel } from './protobuf.ts'
import { traceNetwork } from './trace.ts'

export interface OnnxOptions {
  /** Channels of the input. */
  readonly channels: number
  /** A size that the network takes. The model takes every size that the network takes. */
  readonly height: number
  readonly width: number
  /** Batch norms behind convolutions go into their weights. Default true. */
  readonly foldBatchNorm?: boolean
  /** How ops of your own become ONNX nodes, by the op's name; also replaces a built-in translation. */
  readonly operators?: Readonly<Record<string, Translate>>
}

/**
 * A network in evaluation mode as the bytes of an .onnx file (opset 17, float32), for runtimes elsewhere. Its input is
 * `input` (batch, channels, height, width), its output `output`, or `output_0`, `output_1`, … where forward gives
 * several. Batch and sizes are free; weights keep the names of the state dict, but for those that a batch norm went
 * into. The graph comes from running the network without computing anything, so networks of your own are exported
 * alike. Async, because weights are read back from the GPU. Throws a FoveaError for an op without an ONNX operator.
 */
export async function exportOnnx(net: Module, options: OnnxOptions): Promise<Uint8Array> {
  const { channels, height, width, foldBatchNorm = true, operators = {} } = options
  const [parameter] = net.parameters()
  if (!parameter) throw new FoveaError(`exportOnnx: ${net.constructor.name} has no parameters`)
  for (const [name, value] of Object.entries({ channels, height, width })) {
    if (!Number.isInteger(value) || value < 1)
      throw new FoveaError(`exportOnnx: ${name} must be a whole number of at least 1, got ${value}`)
  }
  const trace = await traceNetwork(net, parameter.device, [channels, height, width])
  const graph = new OnnxGraph(trace)
  for (const step of trace.steps) {
    const translate = Object.hasOwn(operators, step.op) ? operators[step.op] : OPERATORS[step.op]
    if (!translate) {
      throw new FoveaError(
        `exportOnnx: ${step.op} has no ONNX operator here; say how it is written by operators: { ${step.op}: (graph, step) => … }`,
      )
    }
    translate(graph, step)
  }
  const ports = graph.ports()
  if (foldBatchNorm) foldBatchNorms(graph)
  return encodeModel({ nodes: graph.nodes, initializers: graph.initializers, ...ports })
}
