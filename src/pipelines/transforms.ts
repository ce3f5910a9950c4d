import { cropResize } from '../autograd/ops/crop-resize.ts'
import { pasteBoxes } from '../autograd/ops/paste-boxes.ts'
import { inversePolarWarp, polarWarp } from '../autograd/ops/polar-warp.ts'
import type { SampleMode } from '../autograd/ops/warp.ts'
import type { Tensor } from '../autograd/tensor.ts'
import type { PolarOptions } from './tasks.ts'

/** T_ϕ of the thesis (4.2) with its inverse: an image in, an image in which the object is simple out. */
export interface Transform {
  readonly name: string
  /** (N, C, H, W) and parameters (N, …) to the transformed images. */
  apply(x: Tensor, parameters: Tensor, options?: { readonly mode?: SampleMode }): Tensor
  /** Back to the size of the original images. */
  invert(y: Tensor, parameters: Tensor, size: { readonly height: number; readonly width: number }): Tensor
}

/** Polar about an origin: parameters (N, 2) as (x, y) in pixels. A disc about the origin becomes a band. */
export function polarTransform(options: PolarOptions = {}): Transform {
  const { maxRadius, layout } = options
  const shared = { ...(maxRadius === undefined ? {} : { maxRadius }), ...(layout ? { layout } : {}) }
  return {
    name: 'polar',
    apply: (x, center, { mode = 'bilinear' } = {}) => polarWarp(x, center, { ...options, mode }),
    invert: (y, center, { height, width }) => inversePolarWarp(y, center, { height, width, ...shared }),
  }
}

/** Crop and resize: parameters (N, 4) as (left, top, width, height) in pixels. The object fills the crop. */
export function cropTransform({ size }: { readonly size: number | readonly [number, number] }): Transform {
  return {
    name: 'crop',
    apply: (x, boxes, { mode = 'bilinear' } = {}) => cropResize(x, boxes, { size, mode }),
    invert: (y, boxes, { height, width }) => pasteBoxes(y, boxes, { height, width }),
  }
}
