import source from '../../../kernels/warp.wgsl'
import { ShapeError } from '../../gpu/errors.ts'
import { kernel } from '../../gpu/kernel.ts'
import { defineUnaryResult, type Run } from '../op.ts'
import { shown } from '../options.ts'
import { formatShape, type Tensor } from '../tensor.ts'
import { workgroupRows } from './planes.ts'
import { spansOf } from './spans.ts'
import { densePartial, fourColumns, imageShape, pixelThreads, storedInFours } from './window.ts'

/**
 * What gridSample, polarWarp, inversePolarWarp, fusePolar, cropResize, affineWarp and gridWarp share. A warp is a
 * map from output pixels to positions in the input (kernels/parts/warp_maps.wgsl), then bilinear or nearest sampling
 * there (kernels/parts/taps.wgsl, warp.wgsl), in one launch. Backward computes the positions again rather than keep
 * them, and pulls the gradient of the positions back to the warp's parameters. To the image it scatters dy: on GPUs by
 * atomics in 64-bit fixed point (the same bits in any order), on CPU drivers in float32, in an order that shapes fix. Of boxes,
 * which stretch it along its axes alone, each pixel knows the samples that it went into, and sums them up
 * (kernels/parts/summed_rows.wgsl).
 *
 * Positions are float32 pixels: right to 4·2⁻²⁴ of the largest coordinate, 1.2e-4 px in an image of 512.
 */

const warping = kernel('warp', source)

/**
 * Pixels of a line that an invocation takes on CPU drivers: each invocation costs as much there as several
 * loads, and what a line shares is found once.
 */
const RUN_ON_CPU = 32
/** Rows of an image's gradient that an invocation takes on GPUs. */
const ROWS_ON_GPU = 4
/** Invocations of a workgroup there, side by side. */
const WIDTH_ON_CPU = 64

/** Overrides of an entry point whose invocations take runs of `lines` lines. */
const runsOf = (cpu: boolean, lines: number): Record<string, number> =>
  cpu ? { ROWS: RUN_ON_CPU, WX: WIDTH_ON_CPU, WY: 1, EVEN: lines % WIDTH_ON_CPU === 0 ? 1 : 0 } : {}

/** Codes of kernels/parts/warp_maps.wgsl. */
const MAPS = {
  grid: 0,
  'grid-centers': 1,
  polar: 2,
  'polar-up': 3,
  inverse: 4,
  'inverse-up': 5,
  crop: 6,
  affine: 7,
  displace: 8,
} as const

/** Codes of kernels/parts/taps.wgsl. */
const PADS = { zeros: 0, border: 1, reflection: 2, 'reflection-centers': 3, wrap: 4 } as const
const MODES = { bilinear: 0, 'nearest-even': 1, nearest: 2 } as const

/** How values between pixels are made. */
export type SampleMode = 'bilinear' | 'nearest'

/**
 * What lies outside the image: zeros; the nearest pixel of the border; the image mirrored at its edges
 * (−0.5 and size − 0.5, as OpenCV's BORDER_REFLECT).
 */
export type PaddingMode = 'zeros' | 'border' | 'reflection'

export interface WarpAttrs {
  readonly map: keyof typeof MAPS
  readonly mode: keyof typeof MODES
  readonly padX: keyof typeof PADS
  readonly padY: keyof typeof PADS
  /** How many are sampled; the leading size of the result unless there are canvases. */
  readonly outputs: number
  /** Outputs are added up on that many canvases. */
  readonly canvases?: number
  readonly size: readonly [number, number]
  /** Numbers in θ for one output; 0 for a grid, which has two a pixel. */
  readonly parameters: number
  readonly angles?: number
  readonly radii?: number
  /** px between two radii. */
  readonly radiusStep?: number
  /** Control points [height, width]. */
  readonly control?: readonly [number, number]
}

/** Invocations that share the channels of a position: as few as keep all cores busy, as taps are found once for each. */
function channelGroups(x: Tensor, a: WarpAttrs): number {
  const wanted = x.device.adapter.cpu ? 1 << 13 : 1 << 18
  const most = Math.ceil(wanted / Math.max(1, a.outputs * a.size[0] * a.size[1]))
  return Math.min(x.shape[1]!, most)
}

/** Channels of an invocation up to which the kernel is compiled for their number. */
const UNROLLED = 4

/** Launch options that the entry points share. */
function options(x: Tensor, index: Tensor | undefined, a: WarpAttrs, add = false) {
  const [n, c, h, w] = x.shape as [number, number, number, number]
  const fused = a.canvases !== undefined
  return {
    kernel: warping,
    overrides: {
      MAP: MAPS[a.map],
      MODE: MODES[a.mode],
      PAD_X: PADS[a.padX],
      PAD_Y: PADS[a.padY],
      INDEXED: index && !fused ? 1 : 0,
      CANVAS: fused ? 1 : 0,
    },
    params: {
      images: n,
      channels: c,
      in_h: h,
      in_w: w,
      outputs: a.outputs,
      canvases: a.canvases ?? a.outputs,
      out_h: a.size[0],
      out_w: a.size[1],
      groups: channelGroups(x, a),
      headroom: Math.ceil(Math.log2(Math.max(1, a.outputs * a.size[0] * a.size[1]))),
      parameters: Math.max(1, a.parameters),
      angles: a.angles ?? 1,
      radii: a.radii ?? 1,
      radius_step: a.radiusStep ?? 1,
      grid_h: a.control?.[0] ?? 1,
      grid_w: a.control?.[1] ?? 1,
      add: add ? 1 : 0,
    },
  }
}

/**
 * Lines of an output and their length. Lines are columns; on CPU drivers those of a polar image are its angles, whose
 * direction is found once. (On GPUs neighbours store side by side.)
 */
function linesOf(cpu: boolean, { map, size: [h, w] }: WarpAttrs) {
  const across = cpu && map === 'polar'
  return { overrides: { ACROSS: across ? 1 : 0 }, lines: across ? h : w, length: across ? w : h }
}

/** One invocation an output pixel and plane. */
const everyPixel = (run: Run, a: WarpAttrs, planes: number) =>
  pixelThreads(run.device.adapter.cpu, ...a.size, planes)

/**
 * Crops are gathered where an image has few boxes, or where crops are not that much smaller than the image: every pixel looks at
 * every box of its image, 0.6 ns each on lavapipe, where a scattered sample costs 12. Crops of 32² of one image of 512², ms:
 * 4 boxes 1.0 gathered, 1.5 scattered; 16 boxes 3.9 and 2.8; 64 boxes 9.8 and 4.7.
 */
const GATHER = { boxes: 8, shrunken: 8 }

const isGathered = ({ shape: [n, , h, w] }: Tensor, a: WarpAttrs): boolean =>
  a.map === 'crop' && (a.outputs <= GATHER.boxes * n! || h! * w! <= GATHER.shrunken * a.size[0] * a.size[1])

/** dx, unless it was added to what other consumers of x left. */
function imageGradient(
  run: Run,
  x: Tensor,
  theta: Tensor,
  index: Tensor | undefined,
  dy: Tensor,
  a: WarpAttrs,
  left: Tensor | undefined,
): Tensor | undefined {
  const known = densePartial(left)
  const dx = known ?? run.empty(x.shape)
  const common = options(x, index, a, known !== undefined)
  if (isGathered(x, a)) gatherGradient(run, x, theta, index, dy, a, common, dx)
  else scatterGradient(run, x, theta, index, dy, a, common, dx)
  return known ? undefined : dx
}

/** dx of boxes: every pixel sums up dy over the samples that touched it. */
function gatherGradient(
  run: Run,
  x: Tensor,
  theta: Tensor,
  index: Tensor | undefined,
  dy: Tensor,
  a: WarpAttrs,
  common: ReturnType<typeof options>,
  dx: Tensor,
): void {
  const [n, c, h, w] = x.shape as [number, number, number, number]
  const strips = fourColumns(run, ROWS_ON_GPU, h, w, n * c)
  const { WIDE, bindings } = storedInFours(run, dx, w)
  run.launch({
    ...common,
    entry: 'gather',
    overrides: {
      ...common.overrides,
      ...strips.overrides,
      WIDE,
      ADDS: common.params.add || index || a.outputs !== n ? 1 : 0,
    },
    bindings: { theta, index: index ?? theta, spans: spansIn(run, index, theta, n, a), dy, ...bindings },
    threads: strips.threads,
  })
}

/**
 * How dx is summed on CPU drivers, whose atomics cost some eight times as much as a sum of an invocation's own: by so many
 * invocations at least, each of which has a plane or, where planes are few, a copy of one to itself, unless clearing and adding
 * up the copies became the larger part. Nothing but shapes decides, as the order of summation follows from it.
 */
const ALONE = { invocations: 8, sumsPerSample: 8 }
/** Fewer invocations than that leave cores idle for longer than atomics take. */
const FEWEST_ALONE = 4

/** Copies of each plane of dx for invocations that have one to themselves; 0: let them share it by atomics. */
function copiesOf(run: Run, { shape, size }: Tensor, dy: Tensor): number {
  if (!run.device.adapter.cpu) return 0
  const planes = shape[0]! * shape[1]!
  const wanted = Math.ceil(ALONE.invocations / planes)
  // One costs nothing beside dx.
  const copies = Math.max(1, Math.min(wanted, Math.floor((ALONE.sumsPerSample * dy.size) / size)))
  return copies * planes < FEWEST_ALONE ? 0 : copies
}

/** Lanes of a processor that a workgroup fills, unless cores, of which Node 20 does not tell the number, would have none. */
const lanesOf = (invocations: number): number =>
  Math.min(8, Math.ceil(invocations / (globalThis.navigator?.hardwareConcurrency ?? 2)))

/** dx: dy scattered to the pixels that were sampled. */
function scatterGradient(
  run: Run,
  x: Tensor,
  theta: Tensor,
  index: Tensor | undefined,
  dy: Tensor,
  a: WarpAttrs,
  common: ReturnType<typeof options>,
  dx: Tensor,
): void {
  const { cpu } = run.device.adapter
  const [n, c] = x.shape as [number, number]
  const copies = copiesOf(run, x, dy)
  const each = cpu ? RUN_ON_CPU : ROWS_ON_GPU
  const peak = run.zeros([1], 'uint32')
  const bindings = { theta, index: index ?? theta, dy }
  const flat = { ...common, overrides: { COPIES: copies, RUN: each } }
  if (copies > 0) {
    const alone = copies === 1
    if (alone && common.params.add === 0) run.device.clear(run.op, dx.storage)
    const fours = Math.ceil(dx.size / 4)
    const sums = alone ? dx : run.zeros([4 * fours * copies])
    const invocations = n * c * copies
    run.launch({
      ...common,
      overrides: {
        ...common.overrides,
        ...linesOf(cpu, a).overrides,
        COPIES: copies,
        WX: lanesOf(invocations),
      },
      entry: 'scatter_alone',
      bindings: { ...bindings, spans: spansIn(run, index, theta, n, a), own_sums: sums, peak },
      threads: invocations,
    })
    if (alone) {
      run.launch({ ...flat, entry: 'spoil', bindings: { y: dx, found_peak: peak }, threads: 512 })
      return
    }
    const { WIDE, bindings: stored } = storedInFours(run, dx, dx.size)
    run.launch({
      ...flat,
      overrides: { ...flat.overrides, WIDE },
      entry: 'add_copies',
      bindings: { ...stored, found_own: sums, found_peak: peak },
      threads: Math.ceil(fours / each),
    })
    return
  }
  const sums = run.zeros([2 * x.size], 'uint32')
  run.launch({ ...flat, entry: 'find_peak', bindings: { dy, peak }, threads: Math.ceil(dy.size / each) })
  run.launch({
    ...common,
    entry: 'scatter',
    bindings: { ...bindings, sums, found_peak: peak },
    threads: everyPixel(run, a, a.outputs * common.params.groups),
  })
  run.launch({
    ...flat,
    entry: 'finish',
    bindings: { y: dx, found_sums: sums, found_peak: peak },
    threads: Math.ceil(dx.size / each),
  })
}

/** Where the outputs of each image stand in the index; any tensor where there is none. */
const spansIn = (run: Run, index: Tensor | undefined, theta: Tensor, images: number, a: WarpAttrs): Tensor =>
  index && a.canvases === undefined ? spansOf(run, index, images) : theta

/** dθ: the gradient of the positions, pulled back through the map. */
function parameterGradient(
  run: Run,
  x: Tensor,
  theta: Tensor,
  index: Tensor | undefined,
  dy: Tensor,
  a: WarpAttrs,
): Tensor {
  if (a.mode !== 'bilinear') return run.zeros(theta.shape)
  const dat = run.empty([a.outputs, ...a.size, 2])
  const common = options(x, index, a)
  run.launch({
    ...common,
    entry: 'slope',
    bindings: { x, theta, index: index ?? theta, dy, dat },
    threads: everyPixel(run, a, a.outputs),
  })
  const dtheta = run.empty(theta.shape)
  const map = { ...common, overrides: { MAP: MAPS[a.map] } }
  if (a.parameters === 0) {
    run.launch({ ...map, entry: 'pull_grid', bindings: { pulls: dat, dtheta }, threads: dat.size / 2 })
    return dtheta
  }
  run.launch({
    ...map,
    entry: 'pull',
    bindings: { theta, pulls: dat, dtheta },
    workgroups: workgroupRows(dtheta.size),
  })
  return dtheta
}

function sample(run: Run, x: Tensor, theta: Tensor, index: Tensor | undefined, a: WarpAttrs): Tensor {
  const y = run.empty([a.outputs, x.shape[1]!, ...a.size])
  const common = options(x, index, a)
  const { cpu } = run.device.adapter
  const [h, w] = a.size
  if (cpu && a.map === 'crop' && w % 4 === 0) {
    run.launch({
      ...common,
      entry: 'crop',
      bindings: { x, theta, index: index ?? theta, y4: y },
      overrides: { ...common.overrides, ROWS: RUN_ON_CPU },
      threads: pixelThreads(cpu, Math.ceil(h / RUN_ON_CPU), Math.ceil(w / 8), a.outputs * x.shape[1]!),
    })
    return y
  }
  const { lines, length, overrides } = linesOf(cpu, a)
  const { groups } = common.params
  const each = x.shape[1]! / groups
  run.launch({
    ...common,
    entry: 'warp',
    bindings: { x, theta, index: index ?? theta, y },
    overrides: {
      ...common.overrides,
      ...overrides,
      ...runsOf(cpu, lines),
      CHANNELS: each <= UNROLLED && x.shape[1]! % groups === 0 ? each : 0,
    },
    threads: pixelThreads(cpu, Math.ceil(length / (cpu ? RUN_ON_CPU : 1)), lines, a.outputs * groups),
  })
  return y
}

/** The outputs summed onto the canvases that the index names. */
function fuse(run: Run, x: Tensor, theta: Tensor, index: Tensor, a: WarpAttrs): Tensor {
  const canvases = a.canvases!
  const y = run.empty([canvases, x.shape[1]!, ...a.size])
  run.launch({
    ...options(x, index, a),
    entry: 'fuse',
    bindings: { x, theta, index, spans: spansOf(run, index, canvases), y },
    threads: everyPixel(run, a, canvases * x.shape[1]!),
  })
  return y
}

/**
 * A warp as an op of an image, parameters and, if outputs choose their images (or, with `canvases`, where they
 * are added up), an index.
 */
export const warpOp = (name: string) =>
  defineUnaryResult<WarpAttrs>({
    name,
    forward: (run, [x, theta, index], a) =>
      a.canvases === undefined ? sample(run, x!, theta!, index, a) : fuse(run, x!, theta!, index!, a),
    backward: (run, { inputs: [x, theta, index], grads: [dy], needs, partial, attrs: a }) => [
      needs[0] ? imageGradient(run, x!, theta!, index, dy!, a, partial(0)) : undefined,
      needs[1] ? parameterGradient(run, x!, theta!, index, dy!, a) : undefined,
      undefined,
    ],
  })

/** Image shape and number of outputs: one an image, or, of one image or by an index, one a row of θ. */
export function checkOutputs(
  op: string,
  x: Tensor,
  nameOfTheta: string,
  theta: Tensor,
  batchIndex: Tensor | undefined,
): { h: number; w: number; outputs: number } {
  const [n, c, h, w] = imageShape(op, 'x', x)
  if (c < 1 || h < 1 || w < 1) throw new ShapeError(op, `x ${formatShape(x.shape)} must have pixels`)
  if (theta.dtype !== 'float32') {
    throw new ShapeError(op, `${nameOfTheta} must be float32, got ${theta.dtype}`)
  }
  const outputs = theta.shape[0]!
  if (batchIndex) checkIndex(op, batchIndex, outputs, nameOfTheta)
  else if (n !== outputs && n !== 1) {
    throw new ShapeError(
      op,
      `${nameOfTheta} ${formatShape(theta.shape)} holds ${outputs} rows, x has ${n} images; give one row an image, or a batchIndex that says which image each row is for`,
    )
  }
  return { h, w, outputs }
}

/** An int32 vector with the image of each row. */
export function checkIndex(op: string, batchIndex: Tensor, rows: number, nameOfRows: string): void {
  if (batchIndex.dtype === 'int32' && batchIndex.rank === 1 && batchIndex.size === rows) return
  throw new ShapeError(
    op,
    `batchIndex is ${batchIndex.dtype} ${formatShape(batchIndex.shape)}; it must be int32 (${rows}), one image number a row of ${nameOfRows}`,
  )
}

/** One of the named values of an option. */
export function checkChoice<T extends string>(op: string, name: string, value: T, known: readonly T[]): T {
  if (known.includes(value)) return value
  const choices = known.map((k) => `'${k}'`).join(', ')
  throw new ShapeError(op, `${name} is one of ${choices}, got ${shown(value)}`)
}

export const checkMode = (op: string, mode: SampleMode): SampleMode =>
  checkChoice(op, 'mode', mode, ['bilinear', 'nearest'])

export const checkPadding = (op: string, mode: PaddingMode): PaddingMode =>
  checkChoice(op, 'paddingMode', mode, ['zeros', 'border', 'reflection'])

/** Inputs of a warp's op. */
export const warpInputs = (x: Tensor, theta: Tensor, batchIndex?: Tensor): Tensor[] =>
  batchIndex ? [x, theta, batchIndex] : [x, theta]
