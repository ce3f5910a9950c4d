import { type Shape, sameShape, type Tensor, type TypedArray } from '../autograd/tensor.ts'
import { FoveaError } from '../gpu/errors.ts'
import type { Attribute, Dim, Initializer, Node, Port } from './protobuf.ts'
import type { Both, Trace, Value } from './trace.ts'

/** Writes ONNX nodes for the steps of a trace. Tensors are named here; translations know values only. */
export class OnnxGraph {
  readonly nodes: Node[] = []
  readonly initializers: Initializer[] = []
  readonly #names = new Map<Value | Tensor, string>()
  /** Values whose shape a node may ask for, by where their sizes come from. */
  readonly #sized: Value[] = []
  #count = 0

  constructor(private readonly trace: Trace) {
    this.#names.set(trace.input, 'input')
    this.#sized.push(trace.input)
  }

  /** The ONNX name of a value, or of a tensor that an attribute holds. A constant becomes an initializer. */
  name(value: Value | Tensor): string {
    const known = this.#names.get(value)
    if (known) return known
    const constant = this.trace.constants.get(value)
    if (!constant) throw new FoveaError('exportOnnx: a step uses a value that no step made')
    // Two networks in one may both have a conv.weight.
    const taken = this.initializers.some((t) => t.name === constant.name)
    const name = constant.name && !taken ? constant.name : this.#fresh(constant.name ?? 'constant')
    this.#names.set(value, name)
    this.initializers.push({ name, dims: constant.shape, data: floats(name, constant.data) })
    return name
  }

  /** The numbers of a constant: those of a parameter, a statistic, a tensor made in the forward pass. */
  constant(value: Value | Tensor): TypedArray | undefined {
    return this.trace.constants.get(value)?.data
  }

  /** Adds a node with one output; gives its name. */
  add(
    opType: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, Attribute>> = {},
    output: string = this.#fresh(opType.toLowerCase()),
  ): string {
    this.nodes.push({ opType, inputs: [...inputs], outputs: [output], attributes })
    return output
  }

  /** Says that a value is what the node `name` gives. */
  define(value: Value, name: string): void {
    this.#names.set(value, name)
    this.#sized.push(value)
  }

  /** The value is another one under another name. */
  alias(value: Value, of: Value): void {
    this.#names.set(value, this.name(of))
  }

  /** A float32 initializer. */
  floats(values: readonly number[], dims: readonly number[] = []): string {
    return this.#initializer(Float32Array.from(values), dims)
  }

  /** A list of whole numbers as an int64 initializer. */
  integers(values: readonly (number | bigint)[]): string {
    return this.#initializer(BigInt64Array.from(values, BigInt), [values.length])
  }

  #initializer(data: Float32Array | BigInt64Array, dims: readonly number[]): string {
    const name = this.#fresh('constant')
    this.initializers.push({ name, dims, data })
    return name
  }

  #fresh(stem: string): string {
    return `${stem}_${this.#count++}`
  }

  /**
   * A node's input that holds a shape: a constant where it is fixed, else put together from the shapes of values
   * that have these sizes at both sizes of the input. One size that no value has is left to −1 if `infer` allows.
   */
  shape(op: string, [a, b]: Both<Shape>, infer = false): string {
    if (sameShape(a, b)) return this.integers(a)
    let inferred = 0
    const parts = a.map((size, k) => {
      if (size === b[k]) return this.integers([size])
      const from = this.#valueWith(size, b[k]!, k)
      if (from) {
        const shape = this.add('Shape', [this.name(from.value)])
        return this.add('Gather', [shape, this.integers([from.axis])])
      }
      inferred++
      return this.integers([-1])
    })
    if (inferred > (infer ? 1 : 0)) {
      throw new FoveaError(
        `exportOnnx: ${op} makes a tensor of (${a.join(', ')}), at the larger input (${b.join(', ')}); these sizes are not those of any tensor before it`,
      )
    }
    return this.add('Concat', parts, { axis: 0 })
  }

  #valueWith(first: number, second: number, likely: number): { value: Value; axis: number } | undefined {
    for (const value of this.#sized) {
      const [a, b] = value.shapes
      const axes = a.map((_, k) => k).sort((k) => (k === likely ? -1 : 0))
      const axis = axes.find((k) => a[k] === first && b[k] === second)
      if (axis !== undefined) return { value, axis }
    }
    return undefined
  }

  /** The network's input and outputs, under their names; sizes that follow the input bear its axes' names. */
  ports(): { inputs: Port[]; outputs: Port[] } {
    const { input, outputs } = this.trace
    const axes = ['batch', 'channels', 'height', 'width']
    const [a, b] = input.shapes
    const named = (name: string, shapes: Both<Shape>): Port => ({
      name,
      dims: shapes[0].map((size, k): Dim => {
        if (size === shapes[1][k]) return size
        const own = a.findIndex((s, i) => s === size && b[i] === shapes[1][k])
        return own < 0 ? `${name}_${axes[k] ?? k}` : axes[own]!
      }),
    })
    const results = outputs.map((value, i) => {
      const name = outputs.length === 1 ? 'output' : `output_${i}`
      this.add('Identity', [this.name(value)], {}, name)
      return named(name, value.shapes)
    })
    return { inputs: [named('input', input.shapes)], outputs: results }
  }
}

function floats(name: string, data: TypedArray): Float32Array {
  if (data instanceof Float32Array) return data
  throw new FoveaError(
    `exportOnnx: '${name}' holds integers; only float32 tensors can be exported, make it one or pass it to an operator of yours as an attribute`,
  )
}
