import { ShapeError } from '../../gpu/errors.ts'
import { checkOptions } from '../options.ts'
import { checkTensor, formatShape, type Tensor } from '../tensor.ts'
import {
  checkChoice,
  checkMode,
  checkOutputs,
  checkPadding,
  type PaddingMode,
  type SampleMode,
  type WarpAttrs,
  warpInputs,
  warpOp,
} from './warp.ts'

/**
 * 'radius-up': angle along x, radius 0 in the last row and growing upwards (the thesis's).
 * 'angles-down': rows are angles, columns radii (OpenCV's).
 */
export type PolarLayout = 'radius-up' | 'angles-down'

export interface PolarWarpOptions {
  /** Angles sampled, evenly from 0 (along +x) towards +y. Default: height of x. */
  readonly angles?: number
  /** Radii sampled, evenly from 0. Default: width of x. */
  readonly radii?: number
  /** px; radius j is maxRadius·j/radii. Default: half the diagonal, √((H/2)² + (W/2)²). */
  readonly maxRadius?: number
  readonly layout?: PolarLayout
  /** Default 'bilinear'; 'nearest' for masks (no gradient in the centre). */
  readonly mode?: SampleMode
  /** Default 'zeros'. */
  readonly paddingMode?: PaddingMode
  /** int32 (M): the image that each centre belongs to; a number that is no image gives zeros. */
  readonly batchIndex?: Tensor
}

export interface InversePolarWarpOptions {
  /** px of the result. */
  readonly height: number
  readonly width: number
  /** px; as given to polarWarp. Default: half the diagonal of the result. */
  readonly maxRadius?: number
  readonly layout?: PolarLayout
  /** Default 'bilinear'; 'nearest' for masks (no gradient in the centre). */
  readonly mode?: SampleMode
  /** int32 (M): the polar image that each centre belongs to; a number that is none gives zeros. */
  readonly batchIndex?: Tensor
}

const forward = warpOp('polarWarp')
const inverse = warpOp('inversePolarWarp')

const layouts = ['radius-up', 'angles-down'] as const

/** Refuses centres that are not (N, 2). */
export function checkCenter(op: string, center: Tensor): void {
  checkTensor(op, 'center', center)
  if (center.rank === 2 && center.shape[1] === 2) return
  throw new ShapeError(
    op,
    `center must be (N, 2), an (x, y) in pixels each, got ${formatShape(center.shape)}`,
  )
}

/** A whole number of at least 1. */
export function whole(op: string, name: string, value: number): number {
  if (Number.isInteger(value) && value >= 1) return value
  throw new ShapeError(op, `${name} is a whole number of at least 1, got ${value}`)
}

function positive(op: string, name: string, value: number): number {
  if (Number.isFinite(value) && value > 0) return value
  throw new ShapeError(op, `${name} is a length in pixels above 0, got ${value}`)
}

/**
 * Unrolls images around a centre (OpenCV's linear polar map):
 *
 *     angle i, radius j  ←  x at (cx + r·cos θ, cy + r·sin θ),  θ = 2π·i/angles,  r = maxRadius·j/radii
 *
 * x is (N, C, H, W), center (N, 2) as (x, y) in pixels. The result is (N, C, radii, angles) in layout 'radius-up'
 * and (N, C, angles, radii) in 'angles-down'. One image with M centres, or a batchIndex, gives M results.
 * Gradients in x and center. Positions are right to 1e-6 of the radius on every adapter, quarter turns exactly.
 * Throws a ShapeError for a center that is not (N, 2) and for sizes below 1.
 */
export function polarWarp(x: Tensor, center: Tensor, options: PolarWarpOptions = {}): Tensor {
  const op = 'polarWarp'
  checkOptions(
    op,
    options,
    [],
    ['angles', 'radii', 'maxRadius', 'layout', 'mode', 'paddingMode', 'batchIndex'],
  )
  const { layout = 'radius-up', mode = 'bilinear', paddingMode = 'zeros', batchIndex } = options
  checkCenter(op, center)
  const { h, w, outputs } = checkOutputs(op, x, 'center', center, batchIndex)
  const angles = whole(op, 'angles', options.angles ?? h)
  const radii = whole(op, 'radii', options.radii ?? w)
  const maxRadius = positive(op, 'maxRadius', options.maxRadius ?? Math.hypot(h / 2, w / 2))
  const up = checkChoice(op, 'layout', layout, layouts) === 'radius-up'
  const pad = checkPadding(op, paddingMode)
  return forward(warpInputs(x, center, batchIndex), {
    map: up ? 'polar-up' : 'polar',
    mode: checkMode(op, mode),
    padX: pad,
    padY: pad,
    outputs,
    size: up ? [radii, angles] : [angles, radii],
    parameters: 2,
    angles,
    radii,
    radiusStep: maxRadius / radii,
  })
}

/**
 * Rolls polar images back: the inverse of polarWarp.
 *
 *     y[v, u]  ←  p at angle atan2(v − cy, u − cx)·angles/2π, radius √((u − cx)² + (v − cy)²)·radii/maxRadius
 *
 * p is (N, C, radii, angles) in layout 'radius-up' and (N, C, angles, radii) in 'angles-down', center (N, 2) as
 * (x, y) in pixels, the result (N, C, height, width). One polar image with M centres, or a batchIndex, gives M
 * results; to add up the polar images of several objects on one canvas see fusePolar. The angle axis wraps, so
 * there is no seam at 0; beyond maxRadius is zero. Gradients in p and center (zero for a pixel on the centre
 * itself). Throws a ShapeError for a center that is not (N, 2) and for sizes below 1.
 */
export function inversePolarWarp(p: Tensor, center: Tensor, options: InversePolarWarpOptions): Tensor {
  const op = 'inversePolarWarp'
  checkOptions(op, options, ['height', 'width'], ['maxRadius', 'layout', 'mode', 'batchIndex'])
  const { batchIndex } = options
  checkCenter(op, center)
  const { outputs } = checkOutputs(op, p, 'center', center, batchIndex)
  return inverse(warpInputs(p, center, batchIndex), { ...inverseAttrs(op, p, options), outputs })
}

/** The map from a polar image (N, C, …) to Cartesian pixels. */
export function inverseAttrs(
  op: string,
  p: Tensor,
  options: Omit<InversePolarWarpOptions, 'batchIndex'>,
): Omit<WarpAttrs, 'outputs'> {
  const { layout = 'radius-up', mode = 'bilinear' } = options
  const [, , h, w] = p.shape as [number, number, number, number]
  const height = whole(op, 'height', options.height)
  const width = whole(op, 'width', options.width)
  const maxRadius = positive(op, 'maxRadius', options.maxRadius ?? Math.hypot(height / 2, width / 2))
  const up = checkChoice(op, 'layout', layout, layouts) === 'radius-up'
  const [angles, radii] = up ? [w, h] : [h, w]
  return {
    map: up ? 'inverse-up' : 'inverse',
    mode: checkMode(op, mode),
    padX: up ? 'wrap' : 'zeros',
    padY: up ? 'zeros' : 'wrap',
    size: [height, width],
    parameters: 2,
    angles,
    radii,
    radiusStep: maxRadius / radii,
  }
}
