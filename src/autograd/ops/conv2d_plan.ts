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
  const forward = epilogue.forward ?? {}
  const inputGrad = epilogue.inputGrad ?? {}
  const weightGrad = epilogue.weightGrad ?? {}
  const onGpu = !adapter.cpu
  return {
    forward: present(
      onGpu && gemmForward(shape, adapter, forward),
      lanes3x3(forward3x3(shape), adapter, forward),
      lanesForward(shape, adapter, forward),
      !onGpu && tile3x3(forward3x3(shape), forward),
      !onGpu && tileForward(shape, forward),
      directForward(shape, forward),
      !onGpu && gemmForward(shape, adapter, forward),
    ),
    inputGrad: present(
      onGpu && gemmInputGrad(shape, adapter, inputGrad),
      lanes3x3(inputGrad3x3(shape), adapter, inputGrad),
      lanesInputGrad(shape, adapter, inputGrad),
      !onGpu && tile3x3(inputGrad3x3(shape), inputGrad),
      !onGpu && tileInputGrad(shape, inputGrad),
      directInputGrad(shape, inputGrad),
      !onGpu && gemmInputGrad(shape, adapter, inputGrad),
    ),
    weightGrad: present(
      onGpu && gemmWeightGrad(shape, adapter, weightGrad),
      lanes3x3WeightGrad(shape, adapter, weightGrad),
      lanesWeightGrad(shape, adapter, weightGrad),
      !onGpu && tile3x3WeightGrad(shape, weightGrad),
      !onGpu && tileWeightGrad(shape, weightGrad),
      directWeightGrad(shape, adapter, weightGrad),
      !onGpu && gemmWeightGrad(shape, adapter, weightGrad),
    ),
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

const present = (...variants: (ConvVariant | undefined | false)[]): ConvVariant[] =>
  variants.filter((v) => v !== undefined && v !== false)

const invocations = (count: number) => spread(Math.ceil(count / WORKGROUP))

function geometry(shape: ConvShape): Record<string, number> {
  return { ...shape }
}

function epilogueParams({ bias, relu, accumulate }: ConvEpilogue): Record<string, number> {
  return { hasBias: bias ? 1 : 0, relu: relu ? 1 : 0, accumulate: accumulate ? 1 : 0 }
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
        params: { ...geometry(shape), ...epilogueParams(epilogue) },
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
        params: { ...geometry(shape), ...epilogueParams(epilogue) },
        overrides: { WG: WORKGROUP },
        workgroups: invocations(n * blocks * h * w),
      },
    ],
  }
}

/** Whether the lane kernels run: they share values among the first eight lanes of a subgroup. */
function lanes(adapter: ConvAdapter): boolean {
  return adapter.cpu && adapter.subgroups && (adapter.subgroupSize ?? 0) >= 8
}

function is3x3(s: ConvShape): boolean {
  const { kh, kw, strideH, strideW, dilationH, dilationW, groups, padH, padW } = s
  return (
    kh * kw === 9 &&
    kh === 3 &&
    strideH * strideW * dilationH * dilationW * groups === 1 &&
    padH <= 2 &&
    padW <= 2
  )
}

/** A 3×3 convolution of `from` to `to`; the weights of (co, ci) start at co·weightOut + ci·weightIn. */
interface Conv3x3 {
  from: ConvBuffer
  to: ConvBuffer
  /** Read the windows turned by 180°. */
  turn: boolean
  params: Record<
    'n' | 'cin' | 'h' | 'w' | 'cout' | 'outH' | 'outW' | 'padH' | 'padW' | 'weightOut' | 'weightIn',
    number
  >
}

function forward3x3(s: ConvShape): Conv3x3 | undefined {
  if (!is3x3(s)) return undefined
  const { n, cin, h, w, cout, outH, outW, padH, padW } = s
  const params = { n, cin, h, w, cout, outH, outW, padH, padW, weightOut: cin * 9, weightIn: 9 }
  return { from: 'x', to: 'y', turn: false, params }
}

/** dx = conv(dy, weight turned by 180° with its channels exchanged), padding 2 − p. */
function inputGrad3x3(s: ConvShape): Conv3x3 | undefined {
  if (!is3x3(s)) return undefined
  const source = { n: s.n, cin: s.cout, h: s.outH, w: s.outW, cout: s.cin, outH: s.h, outW: s.w }
  const params = { ...source, padH: 2 - s.padH, padW: 2 - s.padW, weightOut: 9, weightIn: s.cin * 9 }
  return { from: 'dy', to: 'dx', turn: true, params }
}

function variant3x3(
  kernel: 'lanes' | 'tile',
  c: Conv3x3,
  overrides: Record<string, number>,
  workgroups: number,
  epilogue: ConvEpilogue,
): ConvVariant {
  const name = `conv2d_3x3_${kernel}`
  return {
    name: `${kernel}3x3`,
    scratch: {},
    dispatches: [
      {
        file: name,
        entry: name,
        bindings: { x: c.from, x4: c.from, weight: 'weight', bias: biasBinding(epilogue), y: c.to },
        params: { ...c.params, ...epilogueParams(epilogue) },
        overrides: {
          VEC: c.params.padW === 1 && c.params.w % 4 === 0 ? 1 : 0,
          TURN: c.turn ? 1 : 0,
          ...overrides,
        },
        workgroups: spread(workgroups),
      },
    ],
  }
}

function lanes3x3(
  c: Conv3x3 | undefined,
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant | undefined {
  if (!c || !lanes(adapter)) return undefined
  const { n, h, cout, outH, outW, padH } = c.params
  const pair = padH === 1 && outH === h && h <= 4
  const tiles = (pair ? Math.ceil(n / 2) : n * Math.ceil(outH / 8)) * Math.ceil(outW / 4)
  return variant3x3('lanes', c, { PAIR: pair ? 1 : 0 }, tiles * Math.ceil(cout / 8), epilogue)
}

function tile3x3(c: Conv3x3 | undefined, epilogue: ConvEpilogue): ConvVariant | undefined {
  if (!c) return undefined
  const { n, cout, outH, outW } = c.params
  const count = n * Math.ceil(outH / 2) * Math.ceil(outW / 4) * Math.ceil(cout / 8)
  const WG = tileWorkgroup(count)
  return variant3x3('tile', c, { WG }, Math.ceil(count / WG), epilogue)
}

/** A channel block of the lane kernels is mostly idle in a group of few channels. */
function lanesFit(s: ConvShape, adapter: ConvAdapter): boolean {
  return lanes(adapter) && (s.groups === 1 || (s.cin / s.groups >= 4 && s.cout / s.groups >= 4))
}

/** The parameters that the transposing kernels share: what is source and destination, how the weight lies. */
interface Correlation {
  from: ConvBuffer
  to: ConvBuffer
  transpose: boolean
  /** Channels of source and destination in a group. */
  inG: number
  outG: number
  phases: number
  /** Pixels of a phase. */
  grid: number
  /** Four neighbours of a phase lie at the same four of the source. */
  vec: boolean
  params: Record<string, number>
}

/** Without a window an image is one long row. */
const isPointwise = (s: ConvShape) =>
  s.kh === 1 && s.kw === 1 && s.strideH === 1 && s.strideW === 1 && s.padH === 0 && s.padW === 0

function forwardCorrelation(s: ConvShape): Correlation {
  const plane = isPointwise(s) ? { h: 1, w: s.h * s.w, outH: 1, outW: s.h * s.w } : geometry(s)
  const inG = s.cin / s.groups
  const outG = s.cout / s.groups
  const taps = s.kh * s.kw
  return {
    from: 'x',
    to: 'y',
    transpose: false,
    inG,
    outG,
    phases: 1,
    grid: s.outH * s.outW,
    vec: isPointwise(s) && (s.h * s.w) % 4 === 0,
    params: {
      ...geometry(s),
      ...plane,
      weightOut: inG * taps,
      weightIn: taps,
      weightGroup: outG * inG * taps,
    },
  }
}

/** dx from dy: a correlation from (cout, outH, outW) to (cin, h, w), a phase of the stride at a time. */
function inputGradCorrelation(s: ConvShape): Correlation {
  // Windows that tile the image: each pixel of dx has one tap, at the same place of dy for a whole phase.
  const tiling =
    s.kh === s.strideH &&
    s.kw === s.strideW &&
    s.padH === 0 &&
    s.padW === 0 &&
    s.dilationH === 1 &&
    s.dilationW === 1
  const whole = tiling && s.h === s.outH * s.strideH && s.w === s.outW * s.strideW
  const plane = isPointwise(s)
    ? { h: 1, w: s.h * s.w, outH: 1, outW: s.h * s.w }
    : { h: s.outH, w: s.outW, outH: s.h, outW: s.w }
  const outG = s.cin / s.groups
  const inG = s.cout / s.groups
  const taps = s.kh * s.kw
  return {
    from: 'dy',
    to: 'dx',
    transpose: true,
    inG,
    outG,
    phases: s.strideH * s.strideW,
    grid: Math.ceil(s.h / s.strideH) * Math.ceil(s.w / s.strideW),
    vec: whole && plane.w % 4 === 0,
    params: {
      ...geometry(s),
      ...plane,
      cin: s.cout,
      cout: s.cin,
      weightOut: taps,
      weightIn: outG * taps,
      weightGroup: outG * inG * taps,
    },
  }
}

function lanesVariant(s: ConvShape, c: Correlation, epilogue: ConvEpilogue): ConvVariant {
  const wide = c.outG > 8
  return {
    name: 'lanes',
    scratch: {},
    dispatches: [
      {
        file: 'conv2d_lanes',
        entry: 'conv2d_lanes',
        bindings: { x: c.from, x4: c.from, weight: 'weight', bias: biasBinding(epilogue), y: c.to },
        params: { ...c.params, ...epilogueParams(epilogue) },
        overrides: { TRANSPOSE: c.transpose ? 1 : 0, VEC: c.vec ? 1 : 0, WIDE: wide ? 1 : 0 },
        workgroups: spread(
          s.n * s.groups * c.phases * Math.ceil(c.grid / 32) * Math.ceil(c.outG / (wide ? 16 : 8)),
        ),
      },
    ],
  }
}

function lanesForward(s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue): ConvVariant | undefined {
  return lanesFit(s, adapter) ? lanesVariant(s, forwardCorrelation(s), epilogue) : undefined
}

function lanesInputGrad(s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue): ConvVariant | undefined {
  return lanesFit(s, adapter) ? lanesVariant(s, inputGradCorrelation(s), epilogue) : undefined
}

/** In groups of few channels most of a tile's eight would be idle. */
const tileFit = (s: ConvShape) => s.groups === 1 || (s.cin / s.groups >= 3 && s.cout / s.groups >= 3)

/** Invocations of a workgroup: fewer where that many workgroups would not keep a few cores busy. */
const tileWorkgroup = (count: number) => (count >= 2048 ? 64 : count >= 512 ? 16 : 8)

function tileVariant(s: ConvShape, c: Correlation, epilogue: ConvEpilogue): ConvVariant | undefined {
  if (!tileFit(s)) return undefined
  const count = s.n * s.groups * c.phases * Math.ceil(c.grid / 4) * Math.ceil(c.outG / 8)
  const WG = tileWorkgroup(count)
  return {
    name: 'tile',
    scratch: {},
    dispatches: [
      {
        file: 'conv2d_tile',
        entry: 'conv2d_tile',
        bindings: { x: c.from, x4: c.from, weight: 'weight', bias: biasBinding(epilogue), y: c.to },
        params: { ...c.params, ...epilogueParams(epilogue) },
        overrides: { TRANSPOSE: c.transpose ? 1 : 0, VEC: c.vec ? 1 : 0, WG },
        workgroups: spread(Math.ceil(count / WG)),
      },
    ],
  }
}

const tileForward = (s: ConvShape, epilogue: ConvEpilogue) => tileVariant(s, forwardCorrelation(s), epilogue)
const tileInputGrad = (s: ConvShape, epilogue: ConvEpilogue) =>
  tileVariant(s, inputGradCorrelation(s), epilogue)

function tile3x3WeightGrad(s: ConvShape, epilogue: ConvEpilogue): ConvVariant | undefined {
  if (!is3x3(s)) return undefined
  const { n, cin, h, w, cout, outH, outW, padH, padW } = s
  const tiles = cin * Math.ceil(cout / 4)
  const { splits, rowsPerSplit } = split(n * outH, tiles, 256)
  return splitSum(
    'tile3x3',
    {
      file: 'conv2d_3x3_weight_grad_tile',
      entry: 'conv2d_3x3_weight_grad_tile',
      bindings: { x: 'x', x4: 'x', dy: 'dy', dy4: 'dy' },
      params: { n, cin, h, w, cout, outH, outW, padH, padW, rowsPerSplit },
      overrides: { VEC: padW === 1 && w % 4 === 0 ? 1 : 0, WG: 8 },
      workgroups: spread(Math.ceil((tiles * splits) / 8)),
    },
    cout * cin * 9,
    splits,
    epilogue,
  )
}

function tileWeightGrad(s: ConvShape, epilogue: ConvEpilogue): ConvVariant | undefined {
  if (!tileFit(s)) return undefined
  const pointwise = s.kw === 1 && s.strideW === 1 && s.padW === 0
  const depth = (s.cin / s.groups) * s.kh * s.kw
  const tiles = s.groups * Math.ceil(depth / 4) * Math.ceil(s.cout / s.groups / 8)
  const runs = split(s.n * s.outH, tiles, 1024)
  const WG = tileWorkgroup(tiles * runs.splits)
  return splitSum(
    'tile',
    {
      file: 'conv2d_weight_grad_tile',
      entry: 'conv2d_weight_grad_tile',
      bindings: { x: 'x', x4: 'x', dy: 'dy', dy4: 'dy' },
      params: { ...geometry(s), rowsPerSplit: runs.rowsPerSplit },
      overrides: { XVEC: pointwise && s.w % 4 === 0 ? 1 : 0, DYVEC: s.outW % 4 === 0 ? 1 : 0, WG },
      workgroups: spread(Math.ceil((tiles * runs.splits) / WG)),
    },
    s.cout * depth,
    runs.splits,
    epilogue,
  )
}

/** Threads of a matrix-product workgroup: 8 rows and 4 columns of the product each, no more rows than it has. */
function gemmTile(rows: number, adapter: ConvAdapter) {
  const ROWS = rows > 32 ? 8 : rows > 16 ? 4 : 2
  const COLS = 16
  const DEPTH = 16
  const bytes = 16 * DEPTH * (ROWS * 2 + COLS)
  const fits = ROWS * COLS <= adapter.maxInvocations && bytes <= adapter.maxWorkgroupStorage
  return fits ? { ROWS, COLS, DEPTH } : undefined
}

/** Groups of few channels would leave most of a matrix tile empty. */
const gemmFit = (s: ConvShape) => s.groups === 1 || (s.cin / s.groups >= 8 && s.cout / s.groups >= 8)

function gemmVariant(s: ConvShape, c: Correlation, adapter: ConvAdapter, epilogue: ConvEpilogue) {
  const tile = gemmTile(c.outG, adapter)
  if (!tile || !gemmFit(s)) return undefined
  const blocks = Math.ceil(c.outG / (tile.ROWS * 8)) * Math.ceil((s.n * c.grid) / (tile.COLS * 4))
  return {
    name: 'gemm',
    scratch: {},
    dispatches: [
      {
        file: 'conv2d_gemm',
        entry: 'conv2d_gemm',
        bindings: { x: c.from, weight: 'weight' as const, bias: biasBinding(epilogue), y: c.to },
        params: { ...c.params, ...epilogueParams(epilogue) },
        overrides: { TRANSPOSE: c.transpose ? 1 : 0, ...tile },
        workgroups: spread(blocks * c.phases * s.groups),
      },
    ],
  }
}

function gemmForward(s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue): ConvVariant | undefined {
  return gemmVariant(s, forwardCorrelation(s), adapter, epilogue)
}

function gemmInputGrad(s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue): ConvVariant | undefined {
  return gemmVariant(s, inputGradCorrelation(s), adapter, epilogue)
}

function gemmWeightGrad(s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue): ConvVariant | undefined {
  const outG = s.cout / s.groups
  const tile = gemmTile(outG, adapter)
  if (!tile || !gemmFit(s)) return undefined
  const depth = (s.cin / s.groups) * s.kh * s.kw
  const tiles = s.groups * Math.ceil(outG / (tile.ROWS * 8)) * Math.ceil(depth / (tile.COLS * 4))
  const slices = Math.ceil((s.n * s.outH * s.outW) / tile.DEPTH)
  const runs = split(slices, tiles, 256)
  return splitSum(
    'gemm',
    {
      file: 'conv2d_weight_grad_gemm',
      entry: 'conv2d_weight_grad_gemm',
      bindings: { x: 'x', dy: 'dy' },
      params: { ...geometry(s), pixelsPerSplit: runs.rowsPerSplit * tile.DEPTH },
      overrides: tile,
      workgroups: spread(tiles * runs.splits),
    },
    s.cout * depth,
    runs.splits,
    epilogue,
  )
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

/** The dispatches of a split sum; a single run goes straight to its place. */
function splitSum(
  name: string,
  dispatch: ConvDispatch,
  weights: number,
  splits: number,
  epilogue: ConvEpilogue,
): ConvVariant {
  const partial: ConvBuffer = splits === 1 ? 'dw' : 'scratch:partial'
  const first = {
    ...dispatch,
    bindings: { ...dispatch.bindings, partial },
    params: { ...dispatch.params, splits, accumulate: splits === 1 && epilogue.accumulate ? 1 : 0 },
  }
  if (splits === 1) return { name, scratch: {}, dispatches: [first] }
  return {
    name,
    scratch: { partial: splits * weights },
    dispatches: [first, reduce('scratch:partial', 'dw', weights, splits, epilogue)],
  }
}

function lanes3x3WeightGrad(
  s: ConvShape,
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant | undefined {
  if (!lanes(adapter) || !is3x3(s)) return undefined
  const { n, cin, h, w, cout, outH, outW, padH, padW } = s
  const tiles = Math.ceil(cin / 8) * Math.ceil(cout / 4)
  const { splits, rowsPerSplit: columnsPerSplit } = split(n * Math.ceil(outW / 4), tiles, 48)
  return splitSum(
    'lanes3x3',
    {
      file: 'conv2d_3x3_weight_grad_lanes',
      entry: 'conv2d_3x3_weight_grad_lanes',
      bindings: { x: 'x', x4: 'x', dy: 'dy', dy4: 'dy' },
      params: { n, cin, h, w, cout, outH, outW, padH, padW, columnsPerSplit },
      overrides: { VEC: padW === 1 && w % 4 === 0 ? 1 : 0 },
      workgroups: spread(tiles * splits),
    },
    cout * cin * 9,
    splits,
    epilogue,
  )
}

function lanesWeightGrad(
  s: ConvShape,
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant | undefined {
  if (!lanesFit(s, adapter)) return undefined
  const pointwise = s.kw === 1 && s.strideW === 1 && s.padW === 0
  const depth = (s.cin / s.groups) * s.kh * s.kw
  const tiles = s.groups * Math.ceil(depth / 32) * Math.ceil(s.cout / s.groups / 8)
  const runs = split(s.n * s.outH, tiles, 48)
  return splitSum(
    'lanes',
    {
      file: 'conv2d_weight_grad_lanes',
      entry: 'conv2d_weight_grad_lanes',
      bindings: { x: 'x', x4: 'x', dy: 'dy', dy4: 'dy' },
      params: { ...geometry(s), rowsPerSplit: runs.rowsPerSplit },
      overrides: { XVEC: pointwise && s.w % 4 === 0 ? 1 : 0, DYVEC: s.outW % 4 === 0 ? 1 : 0 },
      workgroups: spread(tiles * runs.splits),
    },
    s.cout * depth,
    runs.splits,
    epilogue,
  )
}

function biasGrad(s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue): ConvVariant {
  const vec = (s.outH * s.outW) % 4 === 0
  const pixels = (s.outH * s.outW) / (vec ? 4 : 1)
  const runs = split(pixels, s.cout, adapter.cpu ? 512 : 16384)
  return {
    name: 'direct',
    scratch: { partial: runs.splits * s.cout },
    dispatches: [
      {
        file: 'conv2d_bias_grad',
        entry: 'conv2d_bias_grad',
        bindings: { dy: 'dy', dy4: 'dy', partial: 'scratch:partial' },
        params: { n: s.n, cout: s.cout, pixels, splits: runs.splits, perSplit: runs.rowsPerSplit },
        overrides: { WG: adapter.cpu ? 8 : WORKGROUP, VEC: vec ? 1 : 0 },
        workgroups: spread(Math.ceil((runs.splits * s.cout) / (adapter.cpu ? 8 : WORKGROUP))),
      },
      reduce('scratch:partial', 'db', s.cout, runs.splits, epilogue),
    ],
  }
}
