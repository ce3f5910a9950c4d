import sampleSource from '../../../kernels/sample.wgsl'
import warpSource from '../../../kernels/warp.wgsl'
import { ShapeError } from '../../gpu/errors.ts'
import { kernel } from '../../gpu/kernel.ts'
import { defineUnaryResult, type Run } from '../op.ts'
import { formatShape, type Tensor } from '../tensor.ts'
import { workgroupRows } from './planes.ts'
import { imageShape } from './window.ts'

/**
 * What gridSample, polarWarp, inversePolarWarp, cropResize, affineWarp and gridWarp share. A warp is a map from
 * output pixels to positions in the input (kernels/warp.wgsl), then bilinear or nearest sampling there
 * (kernels/sample.wgsl). Backward computes the positions again rather than keep them, scatters dy to the
 * image in 64-bit fixed point (the same bits in any order), and pulls the gradient of the positions back to
 * the warp's parameters.
 *
 * Positions are float32 pixels: right to 4·2⁻²⁴ of the largest coordinate, 1.2e-4 px in an image of 512.
 */

const sampling = kernel('sample', sampleSource)
const mapping = kernel('warp', warpSource)

/** Codes of kernels/warp.wgsl. */
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

/** Codes of kernels/sample.wgsl. */
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
  /** Leading size of the result. */
  readonly outputs: number
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

function mapParams(x: Tensor, a: WarpAttrs): Record<string, number> {
  return {
    outputs: a.outputs,
    out_h: a.size[0],
    out_w: a.size[1],
    in_h: x.shape[2]!,
    in_w: x.shape[3]!,
    parameters: Math.max(1, a.parameters),
    angles: a.angles ?? 1,
    radii: a.radii ?? 1,
    radius_step: a.radiusStep ?? 1,
    grid_h: a.control?.[0] ?? 1,
    grid_w: a.control?.[1] ?? 1,
  }
}

function positions(run: Run, x: Tensor, theta: Tensor, a: WarpAttrs): Tensor {
  const at = run.empty([a.outputs, ...a.size, 2])
  run.launch({
    kernel: mapping,
    entry: 'positions',
    bindings: { theta, at },
    params: mapParams(x, a),
    overrides: { MAP: MAPS[a.map] },
    threads: at.size / 2,
  })
  return at
}

/** Invocations that share the channels of a position: as few as keep all cores busy, as taps are found once for each. */
function channelGroups(x: Tensor, a: WarpAttrs): number {
  const wanted = x.device.adapter.cpu ? 1 << 13 : 1 << 18
  const most = Math.ceil(wanted / Math.max(1, a.outputs * a.size[0] * a.size[1]))
  return Math.min(x.shape[1]!, most)
}

/** Launch options of kernels/sample.wgsl for one call. */
function sampler(x: Tensor, index: Tensor | undefined, a: WarpAttrs) {
  const [n, c, h, w] = x.shape as [number, number, number, number]
  return {
    kernel: sampling,
    overrides: {
      MODE: MODES[a.mode],
      PAD_X: PADS[a.padX],
      PAD_Y: PADS[a.padY],
      INDEXED: index ? 1 : 0,
    },
    params: {
      images: n,
      channels: c,
      in_h: h,
      in_w: w,
      outputs: a.outputs,
      out_h: a.size[0],
      out_w: a.size[1],
      groups: channelGroups(x, a),
      headroom: Math.ceil(Math.log2(Math.max(1, a.outputs * a.size[0] * a.size[1]))),
    },
  }
}

/** dx: dy scattered to the pixels that were sampled. */
function imageGradient(
  run: Run,
  x: Tensor,
  at: Tensor,
  index: Tensor | undefined,
  dy: Tensor,
  a: WarpAttrs,
): Tensor {
  const common = sampler(x, index, a)
  const peak = run.zeros([1], 'uint32')
  const sums = run.zeros([2 * x.size], 'uint32')
  const dx = run.empty(x.shape)
  run.launch({
    ...common,
    entry: 'find_peak',
    bindings: { dy, peak },
    threads: Math.min(Math.ceil(dy.size / 16), 1 << 18),
  })
  run.launch({
    ...common,
    entry: 'scatter',
    bindings: { at, index: index ?? at, dy, sums, found_peak: peak },
    threads: (at.size / 2) * common.params.groups,
  })
  run.launch({
    ...common,
    entry: 'finish',
    bindings: { y: dx, found_sums: sums, found_peak: peak },
    threads: dx.size,
  })
  return dx
}

/** dθ: the gradient of the positions, pulled back through the map. */
function parameterGradient(
  run: Run,
  x: Tensor,
  theta: Tensor,
  at: Tensor,
  index: Tensor | undefined,
  dy: Tensor,
  a: WarpAttrs,
): Tensor {
  if (a.mode !== 'bilinear') return run.zeros(theta.shape)
  const dat = run.empty(at.shape)
  run.launch({
    ...sampler(x, index, a),
    entry: 'slope',
    bindings: { x, at, index: index ?? at, dy, dat },
    threads: dat.size / 2,
  })
  const dtheta = run.empty(theta.shape)
  const common = { kernel: mapping, params: mapParams(x, a), overrides: { MAP: MAPS[a.map] } }
  if (a.parameters === 0) {
    run.launch({ ...common, entry: 'pull_grid', bindings: { dat, dtheta }, threads: dat.size / 2 })
    return dtheta
  }
  run.launch({
    ...common,
    entry: 'pull',
    bindings: { theta, dat, dtheta },
    workgroups: workgroupRows(dtheta.size),
  })
  return dtheta
}

/** A warp as an op of an image, parameters and, if outputs choose their images, an index. */
export const warpOp = (name: string) =>
  defineUnaryResult<WarpAttrs>({
    name,
    forward(run, [x, theta, index], a) {
      const at = positions(run, x!, theta!, a)
      const y = run.empty([a.outputs, x!.shape[1]!, ...a.size])
      const common = sampler(x!, index, a)
      run.launch({
        ...common,
        entry: 'sample',
        bindings: { x: x!, at, index: index ?? at, y },
        threads: (at.size / 2) * common.params.groups,
      })
      return y
    },
    backward(run, { inputs: [x, theta, index], grads: [dy], needs, attrs: a }) {
      const at = positions(run, x!, theta!, a)
      return [
        needs[0] ? imageGradient(run, x!, at, index, dy!, a) : undefined,
        needs[1] ? parameterGradient(run, x!, theta!, at, index, dy!, a) : undefined,
        undefined,
      ]
    },
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
  throw new ShapeError(op, `${name} is one of ${choices}, got ${JSON.stringify(value)}`)
}

export const checkMode = (op: string, mode: SampleMode): SampleMode =>
  checkChoice(op, 'mode', mode, ['bilinear', 'nearest'])

export const checkPadding = (op: string, mode: PaddingMode): PaddingMode =>
  checkChoice(op, 'paddingMode', mode, ['zeros', 'border', 'reflection'])

/** Inputs of a warp's op. */
export const warpInputs = (x: Tensor, theta: Tensor, batchIndex?: Tensor): Tensor[] =>
  batchIndex ? [x, theta, batchIndex] : [x, theta]
