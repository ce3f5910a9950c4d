/**
 * Which kernels compute a convolution, its two transposes and its bias gradient, for one shape on one adapter.
 *
 * Pure: no GPU, no engine. A variant is a list of dispatches in order; the first variant of a list is the
 * default, the others are what a tuner may measure against it. All variants of a list compute the same.
 *
 *   forward      y  = conv(x, weight) + bias, ReLU          reads x, weight, bias     writes y
 *   inputGrad    dx = convᵀ(dy, weight) + bias, ReLU        reads dy, weight, bias    writes dx   (= convTranspose2d)
 *   weightGrad   dw = Σ dy ⊗ x                              reads x, dy               writes dw
 *   biasGrad     db = Σ dy                                  reads dy                  writes db
 *
 * `accumulate` adds to what the output holds instead of overwriting it.
 */

export interface ConvShape {
  n: number
  cin: number
  h: number
  w: number
  cout: number
  kh: number
  kw: number
  strideH: number
  strideW: number
  padH: number
  padW: number
  dilationH: number
  dilationW: number
  groups: number
  outH: number
  outW: number
}

export interface ConvAdapter {
  /** A software adapter: workgroup memory and barriers are slow, so register tiles come first. */
  cpu: boolean
  subgroups: boolean
  /** The smallest subgroup size that the adapter may use. */
  subgroupSize?: number
  maxInvocations: number
  maxWorkgroupStorage: number
}

export interface ConvEpilogue {
  bias?: boolean
  relu?: boolean
  accumulate?: boolean
}

export type ConvBuffer = 'x' | 'weight' | 'bias' | 'y' | 'dy' | 'dx' | 'dw' | 'db' | `scratch:${string}`

export interface ConvDispatch {
  /** `kernels/<file>.wgsl` */
  file: string
  entry: string
  bindings: Record<string, ConvBuffer>
  params: Record<string, number>
  overrides: Record<string, number>
  workgroups: [number, number, number]
}

export interface ConvVariant {
  name: string
  /** Floats that each scratch buffer needs; `scratch:partial` is the buffer `partial` here. */
  scratch: Record<string, number>
  dispatches: ConvDispatch[]
}

export interface ConvPlan {
  forward: ConvVariant[]
  inputGrad: ConvVariant[]
  weightGrad: ConvVariant[]
  biasGrad: ConvVariant[]
}

export function planConv2d(
  shape: ConvShape,
  adapter: ConvAdapter,
  epilogue: {
    forward?: ConvEpilogue
    inputGrad?: ConvEpilogue
    weightGrad?: ConvEpilogue
    biasGrad?: ConvEpilogue
  } = {},
): ConvPlan {
  return {
    forward: [directForward(shape, epilogue.forward ?? {})],
    inputGrad: [directInputGrad(shape, epilogue.inputGrad ?? {})],
    weightGrad: [directWeightGrad(shape, adapter, epilogue.weightGrad ?? {})],
    biasGrad: [biasGrad(shape, adapter, epilogue.biasGrad ?? {})],
  }
}

const WORKGROUP = 64

/** Workgroups for `count` of them: spread over y where x alone may not hold them. */
export function spread(count: number): [number, number, number] {
  if (count <= 65535) return [Math.max(count, 1), 1, 1]
  const y = Math.ceil(count / 65535)
  return [Math.ceil(count / y), y, 1]
}

const invocations = (count: number) => spread(Math.ceil(count / WORKGROUP))

function geometry(shape: ConvShape): Record<string, number> {
  return { ...shape }
}

function withEpilogue(shape: ConvShape, { bias, relu, accumulate }: ConvEpilogue): Record<string, number> {
  return {
    ...geometry(shape),
    hasBias: bias ? 1 : 0,
    relu: relu ? 1 : 0,
    accumulate: accumulate ? 1 : 0,
  }
}

/** Where there is no bias, the weight stands in its binding and is not read. */
const biasBinding = ({ bias }: ConvEpilogue): ConvBuffer => (bias ? 'bias' : 'weight')

function directForward(shape: ConvShape, epilogue: ConvEpilogue): ConvVariant {
  const { n, cout, groups, outH, outW } = shape
  const blocks = groups * Math.ceil(cout / groups / 4)
  return {
    name: 'direct',
    scratch: {},
    dispatches: [
      {
        file: 'conv2d_direct',
        entry: 'conv2d_direct',
        bindings: { x: 'x', weight: 'weight', bias: biasBinding(epilogue), y: 'y' },
        params: withEpilogue(shape, epilogue),
        overrides: { WG: WORKGROUP },
        workgroups: invocations(n * blocks * outH * outW),
      },
    ],
  }
}

function directInputGrad(shape: ConvShape, epilogue: ConvEpilogue): ConvVariant {
  const { n, cin, groups, h, w } = shape
  const blocks = groups * Math.ceil(cin / groups / 4)
  return {
    name: 'direct',
    scratch: {},
    dispatches: [
      {
        file: 'conv2d_input_grad_direct',
        entry: 'conv2d_input_grad_direct',
        bindings: { dy: 'dy', weight: 'weight', bias: biasBinding(epilogue), dx: 'dx' },
        params: withEpilogue(shape, epilogue),
        overrides: { WG: WORKGROUP },
        workgroups: invocations(n * blocks * h * w),
      },
    ],
  }
}

/** Runs of rows for a sum over `rows`, so that about `wanted` invocations share `outputs` sums. */
function split(rows: number, outputs: number, wanted: number): { splits: number; rowsPerSplit: number } {
  const aim = Math.min(rows, Math.max(1, Math.ceil(wanted / outputs)))
  const rowsPerSplit = Math.ceil(rows / aim)
  return { splits: Math.ceil(rows / rowsPerSplit), rowsPerSplit }
}

function reduce(
  from: ConvBuffer,
  to: ConvBuffer,
  count: number,
  splits: number,
  { accumulate }: ConvEpilogue,
): ConvDispatch {
  return {
    file: 'conv2d_reduce',
    entry: 'conv2d_reduce',
    bindings: { partial: from, result: to },
    params: { count, splits, accumulate: accumulate ? 1 : 0 },
    overrides: { WG: WORKGROUP },
    workgroups: invocations(count),
  }
}

function directWeightGrad(shape: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue): ConvVariant {
  const weights = (shape.cout * shape.cin * shape.kh * shape.kw) / shape.groups
  const runs = split(shape.n * shape.outH, weights, adapter.cpu ? 8192 : 65536)
  return {
    name: 'direct',
    scratch: { partial: runs.splits * weights },
    dispatches: [
      {
        file: 'conv2d_weight_grad_direct',
        entry: 'conv2d_weight_grad_direct',
        bindings: { x: 'x', dy: 'dy', partial: 'scratch:partial' },
        params: { ...geometry(shape), ...runs },
        overrides: { WG: WORKGROUP },
        workgroups: invocations(runs.splits * weights),
      },
      reduce('scratch:partial', 'dw', weights, runs.splits, epilogue),
    ],
  }
}

function biasGrad(shape: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue): ConvVariant {
  const { n, cout, outH, outW } = shape
  const runs = split(n * outH, cout, adapter.cpu ? 1024 : 16384)
  return {
    name: 'direct',
    scratch: { partial: runs.splits * cout },
    dispatches: [
      {
        file: 'conv2d_bias_grad',
        entry: 'conv2d_bias_grad',
        bindings: { dy: 'dy', partial: 'scratch:partial' },
        params: { n, cout, outH, outW, ...runs },
        overrides: { WG: WORKGROUP },
        workgroups: invocations(runs.splits * cout),
      },
      reduce('scratch:partial', 'db', cout, runs.splits, epilogue),
    ],
  }
}
