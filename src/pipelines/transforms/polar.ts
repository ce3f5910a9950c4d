import { inversePolarWarp, type PolarLayout, polarWarp } from '../../autograd/ops/polar-warp.ts'
import type { Transform } from './transform.ts'

export interface PolarOptions {
  /** Angles of the polar image; default the height. */
  readonly angles?: number
  /** Radii of the polar image; default the width. */
  readonly radii?: number
  /** Largest radius, px; default half the diagonal. */
  readonly maxRadius?: number
  /** Default 'radius-up', the thesis's. */
  readonly layout?: PolarLayout
}

/** Polar about an origin: parameters (N, 2) as (x, y) in pixels. A disc about the origin becomes a band. */
export function polarTransform(options: PolarOptions = {}): Transform {
  const { maxRadius, layout = 'radius-up' } = options
  const shared = { ...(maxRadius === undefined ? {} : { maxRadius }), layout }
  return {
    name: 'polar',
    parameterCount: 2,
    outputSize({ height, width }) {
      const { angles = height, radii = width } = options
      return layout === 'radius-up' ? { height: radii, width: angles } : { height: angles, width: radii }
    },
    apply: (x, center, { mode = 'bilinear' } = {}) => polarWarp(x, center, { ...options, mode }),
    invert: (y, center, { height, width }) => inversePolarWarp(y, center, { height, width, ...shared }),
  }
}
