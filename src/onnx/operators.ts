import type { BinaryName } from '../autograd/binary.ts'
import type { ConvShape } from '../autograd/conv2d/variant.ts'
import type { Pool } from '../autograd/ops/window.ts'
import { normalizeAxes } from '../autograd/shape.ts'
import { sameShape, type Tensor } from '../autograd/tensor.ts'
import { FoveaError } from '../gpu/errors.ts'
import type { OnnxGraph } from './graph.ts'
import type { Both, Step } from './trace.ts'

/** Adds the nodes for a step and defines its outputs. */
export type Translate = (graph: OnnxGraph, step: Step) => void

/** A translation to one node whose name and attributes follow from the attributes at both sizes. */
const one =
  <A>(
    opType: string,
    attributes: (attrs: A, step: Step) => Parameters<OnnxGraph['add']>[2] = () => ({}),
  ): Translate =>
  (g, step) => {
    const inputs = step.inputs.map((v) => g.name(v))
    g.define(step.outputs[0]!, g.add(opType, inputs, attributes(step.attrs[0] as A, step)))
  }

/** The same, for a binary op of which one operand may be a number in the attributes. */
const binary =
  (opType: string): Translate =>
  (g, { attrs: [attrs], inputs, outputs }) => {
    const { a, b, computes } = attrs as { a?: number; b?: number; computes: BinaryName }
    const left = a === undefined ? g.name(inputs[0]!) : g.floats([a])
    const right = b === undefined ? g.name(inputs.at(-1)!) : g.floats([b])
    g.define(outputs[0]!, withRelu(g, g.add(opType, [left, right]), computes === 'addRelu'))
  }

/** Applies the ReLU that an op computed in its own launch. */
const withRelu = (g: OnnxGraph, name: string, relu: boolean): string => (relu ? g.add('Relu', [name]) : name)

interface ConvAttrs {
  readonly shape: ConvShape
  readonly relu: boolean
}

const conv2d: Translate = (g, { attrs: [attrs], inputs, outputs }) => {
  const { shape, relu } = attrs as ConvAttrs
  const y = g.add(
    'Conv',
    inputs.map((v) => g.name(v)),
    convAttributes(shape),
  )
  g.define(outputs[0]!, withRelu(g, y, relu))
}

const convAttributes = (s: ConvShape) => ({
  kernel_shape: [s.kh, s.kw],
  strides: [s.strideH, s.strideW],
  pads: [s.padH, s.padW, s.padH, s.padW],
  dilations: [s.dilationH, s.dilationW],
  group: s.groups,
})

/** Its attributes are those of the convolution that it transposes: h × w is the result, outH × outW is x. */
const convTranspose2d: Translate = (g, { attrs: [attrs], inputs, outputs }) => {
  const { shape: s, relu } = attrs as ConvAttrs
  const least = (out: number, stride: number, pad: number, dilation: number, k: number) =>
    (out - 1) * stride - 2 * pad + dilation * (k - 1) + 1
  const more = [
    s.h - least(s.outH, s.strideH, s.padH, s.dilationH, s.kh),
    s.w - least(s.outW, s.strideW, s.padW, s.dilationW, s.kw),
  ]
  const y = g.add(
    'ConvTranspose',
    inputs.map((v) => g.name(v)),
    { ...convAttributes(s), output_padding: more },
  )
  g.define(outputs[0]!, withRelu(g, y, relu))
}

interface NormAttrs {
  readonly training: boolean
  readonly relu: boolean
  readonly eps: number
  readonly runningMean: Tensor | undefined
  readonly runningVar: Tensor | undefined
  readonly hasWeight: boolean
  readonly hasBias: boolean
}

const batchNorm: Translate = (g, { attrs: [attrs], inputs, outputs }) => {
  const { training, relu, eps, runningMean, runningVar, hasWeight, hasBias } = attrs as NormAttrs
  if (training || !runningMean || !runningVar)
    throw new FoveaError(
      'exportOnnx: batchNorm uses the statistics of the batch; let it follow `this.training`',
    )
  const [x, ...affine] = inputs
  const channels = x!.shapes[0][1]!
  const all = (value: number) => g.floats(new Array<number>(channels).fill(value), [channels])
  const weight = hasWeight ? g.name(affine[0]!) : all(1)
  const bias = hasBias ? g.name(affine.at(-1)!) : all(0)
  const y = g.add('BatchNormalization', [g.name(x!), weight, bias, g.name(runningMean), g.name(runningVar)], {
    epsilon: { float: eps },
  })
  g.define(outputs[0]!, withRelu(g, y, relu))
}

function poolAttributes(p: Pool) {
  const floor = (size: number, k: number, stride: number, pad: number, dilation: number) =>
    Math.floor((size + 2 * pad - dilation * (k - 1) - 1) / stride) + 1
  const ceil =
    p.outH !== floor(p.h, p.kh, p.strideH, p.padH, p.dilationH) ||
    p.outW !== floor(p.w, p.kw, p.strideW, p.padW, p.dilationW)
  return {
    kernel_shape: [p.kh, p.kw],
    strides: [p.strideH, p.strideW],
    pads: [p.padH, p.padW, p.padH, p.padW],
    ...(ceil ? { ceil_mode: 1 } : {}),
  }
}

const maxPool2d: Translate = (g, step) => {
  // Rounding up may show at one of the two sizes only.
  const [a, b] = step.attrs as Both<Pool>
  const attributes = {
    ...poolAttributes(a),
    ...poolAttributes(b),
    dilations: [a.dilationH, a.dilationW],
    ...(poolAttributes(a).ceil_mode ? { ceil_mode: 1 } : {}),
  }
  g.define(step.outputs[0]!, g.add('MaxPool', [g.name(step.inputs[0]!)], attributes))
}

const avgPool2d = one<{ pool: Pool; countIncludePad: boolean }>(
  'AveragePool',
  ({ pool, countIncludePad }, { attrs }) => ({
    ...poolAttributes(pool),
    ...poolAttributes((attrs[1] as { pool: Pool }).pool),
    count_include_pad: countIncludePad ? 1 : 0,
  }),
)

const adaptiveAvgPool2d: Translate = (g, { inputs: [x], outputs: [y] }) => {
  const [, , h, w] = y!.shapes[0]
  if (h !== 1 || w !== 1 || y!.shapes[1][2] !== 1 || y!.shapes[1][3] !== 1) {
    throw new FoveaError(
      `exportOnnx: adaptiveAvgPool2d to ${h}×${w} has no ONNX operator; only 1×1 has, or use avgPool2d`,
    )
  }
  g.define(y!, g.add('GlobalAveragePool', [g.name(x!)]))
}

const interpolate: Translate = (g, { attrs: [attrs], inputs: [x], outputs: [y] }) => {
  const { nearest, outH, dH } = (attrs as { params: Readonly<Record<string, number>> }).params
  const [a, b] = [x!.shapes, y!.shapes]
  if (sameShape(a[0], b[0]) && sameShape(a[1], b[1])) return g.alias(y!, x!)
  // The rule counts half pixels in units of 1 / (2 outH).
  const linear = dH === 2 * outH! ? 'half_pixel' : 'align_corners'
  const mode: Readonly<Record<string, string>> = nearest
    ? { mode: 'nearest', nearest_mode: 'floor', coordinate_transformation_mode: 'asymmetric' }
    : { mode: 'linear', coordinate_transformation_mode: linear }
  const factor = (i: 0 | 1, k: number) => b[i][k]! / a[i][k]!
  // A factor goes into the file as a float: only where that is exact does it give the size exactly.
  const steady = [2, 3].every((k) => factor(0, k) === factor(1, k) && Number.isInteger(64 * factor(0, k)))
  const sizes = steady
    ? ['', g.floats([1, 1, factor(0, 2), factor(0, 3)], [4])]
    : ['', '', g.shape('interpolate', b)]
  return g.define(y!, g.add('Resize', [g.name(x!), ...sizes], mode))
}

const reshape: Translate = (g, { inputs: [x], outputs: [y] }) => {
  if (sameShape(x!.shapes[0], y!.shapes[0]) && sameShape(x!.shapes[1], y!.shapes[1])) return g.alias(y!, x!)
  return g.define(y!, g.add('Reshape', [g.name(x!), g.shape('reshape', y!.shapes, true)]))
}

/** The value, if an option is the same at both sizes. */
function steady<T>(op: string, what: string, [a, b]: Both<T>): T {
  if (JSON.stringify(a) === JSON.stringify(b)) return a
  throw new FoveaError(
    `exportOnnx: ${op} has ${what} ${JSON.stringify(a)}, at the larger input ${JSON.stringify(b)}; it may not follow the input`,
  )
}

const END = 2n ** 63n - 1n

const slice: Translate = (g, { attrs, inputs: [x], outputs: [y] }) => {
  const [a, b] = attrs as Both<{ starts: readonly number[]; ends: readonly number[] }>
  const starts = steady('slice', 'starts', [a.starts, b.starts])
  const ends = a.ends.map((end, k) => {
    const whole = end === x!.shapes[0][k] && b.ends[k] === x!.shapes[1][k]
    return whole ? END : steady('slice', 'an end of', [end, b.ends[k]!])
  })
  g.define(y!, g.add('Slice', [g.name(x!), g.integers(starts), g.integers(ends)]))
}

const pad: Translate = (g, { attrs, inputs: [x], outputs: [y] }) => {
  const [a, b] = attrs as Both<{ pads: readonly (readonly [number, number])[]; value?: number }>
  const pads = steady('pad', 'pads', [a.pads, b.pads])
  const list = g.integers([...pads.map(([before]) => before), ...pads.map(([, after]) => after)])
  g.define(y!, g.add('Pad', [g.name(x!), list, g.floats([a.value ?? 0])], { mode: 'constant' }))
}

interface ReduceAttrs {
  readonly axes?: readonly number[]
  readonly keepDims?: boolean
}

/** ReduceSum takes its axes as an input, the others as an attribute. */
const reduction =
  (opType: string): Translate =>
  (g, { op, attrs: [attrs], inputs: [x], outputs: [y] }) => {
    const { axes, keepDims = false } = attrs as ReduceAttrs
    const over = [...normalizeAxes(op, axes, x!.shapes[0].length)]
    const keepdims = keepDims ? 1 : 0
    const name =
      opType === 'ReduceSum'
        ? g.add(opType, [g.name(x!), g.integers(over)], { keepdims })
        : g.add(opType, [g.name(x!)], { axes: over, keepdims })
    g.define(y!, name)
  }

const pow: Translate = (g, { attrs: [attrs], inputs: [x], outputs: [y] }) =>
  g.define(y!, g.add('Pow', [g.name(x!), g.floats([(attrs as { a: number }).a])]))

const clamp: Translate = (g, { attrs: [attrs], inputs: [x], outputs: [y] }) => {
  const { a, b } = attrs as { a: number; b: number }
  g.define(y!, g.add('Clip', [g.name(x!), g.floats([a]), g.floats([b])]))
}

/** Every op that ONNX has an operator for, by fovea's name. */
export const OPERATORS: Readonly<Record<string, Translate>> = {
  abs: one('Abs'),
  adaptiveAvgPool2d,
  add: binary('Add'),
  avgPool2d,
  batchNorm,
  clamp,
  concat: one<{ axis: number }>('Concat', ({ axis }) => ({ axis })),
  conv2d,
  convTranspose2d,
  div: binary('Div'),
  exp: one('Exp'),
  interpolate,
  log: one('Log'),
  matmul: one('MatMul'),
  max: reduction('ReduceMax'),
  maximum: binary('Max'),
  maxPool2d,
  mean: reduction('ReduceMean'),
  min: reduction('ReduceMin'),
  minimum: binary('Min'),
  mul: binary('Mul'),
  neg: one('Neg'),
  pad,
  permute: one<{ axes: readonly number[] }>('Transpose', ({ axes }) => ({
    perm: axes.map((axis) => (axis < 0 ? axis + axes.length : axis)),
  })),
  pow,
  relu: one('Relu'),
  reshape,
  sigmoid: one('Sigmoid'),
  slice,
  softmax: one<{ axis: number }>('Softmax', ({ axis }) => ({ axis })),
  sqrt: one('Sqrt'),
  sub: binary('Sub'),
  sum: reduction('ReduceSum'),
  tanh: one('Tanh'),
}
