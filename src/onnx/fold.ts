import type { Initializer, Node } from './protobuf.ts'

interface Graph {
  readonly nodes: Node[]
  readonly initializers: Initializer[]
}

/**
 * Batch norm in evaluation is y = (x − μ) · s + β with s = γ / √(σ² + ε). Behind a convolution x = W∗u + b that
 * nobody else reads it disappears into it, channel by channel:
 *
 *     W′ = s · W,    b′ = (b − μ) · s + β
 *
 * A batch norm that follows something else (a sum, as in pre-activation blocks) stays.
 */
export function foldBatchNorms(graph: Graph): void {
  const { nodes, initializers } = graph
  const data = new Map(initializers.map((t) => [t.name, t]))
  const readers = new Map<string, number>()
  for (const node of nodes) for (const name of node.inputs) readers.set(name, (readers.get(name) ?? 0) + 1)
  const makers = new Map(nodes.map((node) => [node.outputs[0]!, node]))
  for (const norm of nodes.filter((n) => n.opType === 'BatchNormalization')) {
    const conv = makers.get(norm.inputs[0]!)
    if (!conv || (conv.opType !== 'Conv' && conv.opType !== 'ConvTranspose')) continue
    const [, weight, bias] = conv.inputs
    // A weight that another node shares may not change.
    const shared = readers.get(conv.outputs[0]!) !== 1 || readers.get(weight!) !== 1
    const floats = (name: string) => data.get(name)?.data as Float32Array | undefined
    if (shared || !floats(weight!)) continue
    const [gamma, beta, mean, variance] = norm.inputs.slice(1).map((name) => floats(name)!)
    const epsilon = (norm.attributes.epsilon as { float: number }).float
    const scale = Float64Array.from(gamma!, (g, c) => g / Math.sqrt(variance![c]! + epsilon))
    const old = bias ? floats(bias)! : new Float32Array(scale.length)
    const folded = {
      weight: scaled(data.get(weight!)!, scale, conv),
      bias: Float32Array.from(scale, (s, c) => (old[c]! - mean![c]!) * s + beta![c]!),
    }
    const name = `${weight!.replace(/\.weight$/, '')}.folded`
    const made: Initializer[] = [
      { name: `${name}.weight`, dims: data.get(weight!)!.dims, data: folded.weight },
      { name: `${name}.bias`, dims: [scale.length], data: folded.bias },
    ]
    initializers.push(...made)
    conv.inputs.splice(1, conv.inputs.length, ...made.map((t) => t.name))
    conv.outputs[0] = norm.outputs[0]!
    nodes.splice(nodes.indexOf(norm), 1)
  }
  const used = new Set(nodes.flatMap((node) => node.inputs))
  initializers.splice(0, initializers.length, ...initializers.filter((t) => used.has(t.name)))
}

/** W · s: a convolution's weight is (out, in / groups, …), that of a transposed one (in, out / groups, …). */
function scaled({ dims, data }: Initializer, scale: Float64Array, conv: Node): Float32Array {
  const [first, second, ...kernel] = dims as [number, number, ...number[]]
  const taps = kernel.reduce((n, d) => n * d, 1)
  const weight = data as Float32Array
  if (conv.opType === 'Conv')
    return Float32Array.from(weight, (w, i) => w * scale[Math.floor(i / (second * taps))]!)
  const inGroup = first / (conv.attributes.group as number)
  return Float32Array.from(weight, (w, i) => {
    const group = Math.floor(i / (inGroup * second * taps))
    return w * scale[group * second + (Math.floor(i / taps) % second)]!
  })
}
