import { type Device, tensorsIn } from '../autograd/device.ts'
import type { Applied } from '../autograd/op.ts'
import { formatShape, type Shape, sameShape, Tensor, type TypedArray } from '../autograd/tensor.ts'
import { FoveaError } from '../gpu/errors.ts'
import type { Module } from '../nn/module.ts'

/** A quantity at two sizes of the input: equal where it is fixed, different where it follows the input. */
export type Both<T> = readonly [T, T]

/** A tensor of the traced network. */
export interface Value {
  readonly id: number
  readonly shapes: Both<Shape>
}

/** One op of the traced network, with its attributes at both sizes. */
export interface Step {
  readonly op: string
  readonly attrs: Both<unknown>
  readonly inputs: readonly Value[]
  readonly outputs: readonly Value[]
}

/** A tensor that the network brings along: a parameter, a statistic, or a constant made in its forward pass. */
export interface Constant {
  readonly name: string | undefined
  readonly shape: Shape
  readonly data: TypedArray
}

export interface Trace {
  readonly input: Value
  readonly steps: readonly Step[]
  readonly outputs: readonly Value[]
  /** By value, and for tensors in attributes by the tensor at the first size. */
  readonly constants: ReadonlyMap<Value | Tensor, Constant>
}

type Recording = ReturnType<Device['trace']> & { readonly results: readonly Tensor[] }

/**
 * What a network does, from two runs in evaluation mode that compute nothing: with (1, C, H, W) and with
 * (5, C, 2H, 3W). A size that is the same in both is fixed; one that differs follows the input. Throws a
 * FoveaError if the network takes another path at the other size.
 */
export async function traceNetwork(
  net: Module,
  device: Device,
  [channels, height, width]: readonly [number, number, number],
): Promise<Trace> {
  const record = (shape: Shape): Recording =>
    net.evaluating(() => {
      const recording = device.trace(shape, (x) => net.forward(x))
      return { ...recording, results: tensorsIn(recording.result) }
    })
  const first = record([1, channels, height, width])
  try {
    const second = record([5, channels, 2 * height, 3 * width])
    try {
      return await join(net.constructor.name, first, second)
    } finally {
      second.release()
    }
  } finally {
    first.release()
  }
}

async function join(network: string, a: Recording, b: Recording): Promise<Trace> {
  const values = [new Map<Tensor, Value>(), new Map<Tensor, Value>()] as const
  const constants = new Map<Value | Tensor, Constant>()
  const differ = (what: string): FoveaError =>
    new FoveaError(
      `exportOnnx: ${network} ${what}: at twice the height, three times the width and five images it does something else; only the sizes of its tensors may follow the input`,
    )
  const enter = (x: Tensor, y: Tensor): Value => {
    const value: Value = { id: values[0].size, shapes: [x.shape, y.shape] }
    values[0].set(x, value)
    values[1].set(y, value)
    return value
  }
  const constantOf = async (t: Tensor): Promise<Constant> => ({
    name: t.name,
    shape: t.shape,
    data: await t.data(),
  })
  const known = async (op: string, x: Tensor, y: Tensor): Promise<Value> => {
    const [value, other] = [values[0].get(x), values[1].get(y)]
    if (value !== other) throw differ(`gives ${op} other inputs`)
    if (value) return value
    if (x.storage.virtual)
      throw new FoveaError(
        `exportOnnx: ${network} gives ${op} a tensor ${formatShape(x.shape)} that no op made; leave detach() out of its forward pass`,
      )
    if (!sameShape(x.shape, y.shape))
      throw differ(`gives ${op} a constant ${formatShape(x.shape)} whose shape follows the input`)
    const made = enter(x, y)
    constants.set(made, await constantOf(x))
    return made
  }
  if (a.applied.length !== b.applied.length)
    throw differ(`applies ${a.applied.length} ops or ${b.applied.length}`)
  const input = enter(a.input, b.input)
  const steps: Step[] = []
  for (const [i, x] of a.applied.entries()) {
    const y: Applied = b.applied[i]!
    if (x.op !== y.op || x.inputs.length !== y.inputs.length) throw differ(`applies ${x.op} or ${y.op}`)
    const inputs: Value[] = []
    for (const [k, t] of x.inputs.entries()) inputs.push(await known(x.op, t, y.inputs[k]!))
    for (const t of Object.values(x.attrs ?? {}))
      if (t instanceof Tensor) constants.set(t, await constantOf(t))
    const outputs = x.outputs.map((t, k) => enter(t, y.outputs[k]!))
    steps.push({ op: x.op, attrs: [x.attrs, y.attrs], inputs, outputs })
  }
  const outputs: Value[] = []
  for (const [k, t] of a.results.entries()) outputs.push(await known('its result', t, b.results[k]!))
  return { input, steps, outputs, constants }
}
