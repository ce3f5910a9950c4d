import type { PolarLayout } from '../../src/autograd/ops/polar-warp.ts'
import type { Array64 } from '../oracle.ts'

/** Sampling and maps of the warps in float64, straight from their definitions. */

export type Padding = 'zeros' | 'border' | 'reflection' | 'reflection-centers' | 'wrap'

/** The pixel that integer coordinate i stands for, or −1. */
function resolve(i: number, size: number, pad: Padding): number {
  if (pad === 'wrap') return ((i % size) + size) % size
  if (pad === 'border') return Math.min(Math.max(i, 0), size - 1)
  if (pad === 'reflection') {
    const r = ((i % (2 * size)) + 2 * size) % (2 * size)
    return r < size ? r : 2 * size - 1 - r
  }
  if (pad === 'reflection-centers') {
    if (size === 1) return 0
    const period = 2 * (size - 1)
    const r = ((i % period) + period) % period
    return r < size ? r : period - r
  }
  return i >= 0 && i < size ? i : -1
}

export interface OracleOptions {
  readonly mode?: 'bilinear' | 'nearest'
  readonly padX?: Padding
  readonly padY?: Padding
  readonly index?: readonly number[]
}

/**
 * x sampled at position(m, v, u) = [px, py] for m < outputs, v < height, u < width; flat (outputs, C, h, w).
 * Padding extends the image pixel by pixel: another way than the kernel's, which folds the position.
 */
export function sampleOracle(
  x: Array64,
  [outputs, height, width]: readonly [number, number, number],
  position: (m: number, v: number, u: number) => readonly [number, number],
  { mode = 'bilinear', padX = 'zeros', padY = 'zeros', index }: OracleOptions = {},
): Float64Array {
  const [n, c, h, w] = x.shape as [number, number, number, number]
  const y = new Float64Array(outputs * c * height * width)
  for (let m = 0; m < outputs; m++) {
    const image = index ? index[m]! : n === 1 ? 0 : m
    if (image < 0 || image >= n) continue
    for (let k = 0; k < c; k++) {
      const pixel = (row: number, column: number): number => {
        const [i, j] = [resolve(row, h, padY), resolve(column, w, padX)]
        return i < 0 || j < 0 ? 0 : x.data[((image * c + k) * h + i) * w + j]!
      }
      for (let v = 0; v < height; v++) {
        for (let u = 0; u < width; u++) {
          const [px, py] = position(m, v, u)
          const at = ((m * c + k) * height + v) * width + u
          if (mode === 'nearest') {
            y[at] = pixel(Math.floor(py + 0.5), Math.floor(px + 0.5))
            continue
          }
          const [i, j] = [Math.floor(py), Math.floor(px)]
          const [s, t] = [py - i, px - j]
          y[at] =
            (1 - s) * ((1 - t) * pixel(i, j) + t * pixel(i, j + 1)) +
            s * ((1 - t) * pixel(i + 1, j) + t * pixel(i + 1, j + 1))
        }
      }
    }
  }
  return y
}

/**
 * The transpose of `sampleOracle`: dy (outputs, C, h, w) spread over an image (N, C, H, W), flat. `position` returns
 * undefined for a sample that is taken from nowhere.
 */
export function spreadOracle(
  dy: Array64,
  [n, h, w]: readonly [number, number, number],
  position: (m: number, v: number, u: number) => readonly [number, number] | undefined,
  { mode = 'bilinear', padX = 'zeros', padY = 'zeros', index }: OracleOptions = {},
): Float64Array {
  const [outputs, c, height, width] = dy.shape as [number, number, number, number]
  const dx = new Float64Array(n * c * h * w)
  for (let m = 0; m < outputs; m++) {
    const image = index ? index[m]! : n === 1 ? 0 : m
    if (image < 0 || image >= n) continue
    for (let v = 0; v < height; v++) {
      for (let u = 0; u < width; u++) {
        const p = position(m, v, u)
        if (!p) continue
        const half = mode === 'nearest' ? 0.5 : 0
        const [i, j] = [Math.floor(p[1] + half), Math.floor(p[0] + half)]
        const [s, t] = mode === 'nearest' ? [0, 0] : [p[1] - i, p[0] - j]
        for (const [di, dj, weight] of [
          [0, 0, (1 - s) * (1 - t)],
          [0, 1, (1 - s) * t],
          [1, 0, s * (1 - t)],
          [1, 1, s * t],
        ] as const) {
          const [row, column] = [resolve(i + di, h, padY), resolve(j + dj, w, padX)]
          if (row < 0 || column < 0) continue
          for (let k = 0; k < c; k++) {
            dx[((image * c + k) * h + row) * w + column]! +=
              weight * dy.data[((m * c + k) * height + v) * width + u]!
          }
        }
      }
    }
  }
  return dx
}

/** Rotates planes counter-clockwise by a quarter turn, as np.rot90 on the last two axes. */
export function turned(
  data: ArrayLike<number>,
  planes: number,
  h: number,
  w: number,
): { data: Float64Array; h: number; w: number } {
  const out = new Float64Array(planes * h * w)
  for (let p = 0; p < planes; p++) {
    for (let i = 0; i < h; i++) {
      for (let j = 0; j < w; j++) out[(p * w + (w - 1 - j)) * h + i] = data[(p * h + i) * w + j]!
    }
  }
  return { data: out, h: w, w: h }
}

/** inversePolarWarp from its definition. */
export function inverseOracle(
  p: Array64,
  center: Array64,
  height: number,
  width: number,
  maxRadius: number,
  layout: PolarLayout,
): Float64Array {
  let [n, c, angles, radii] = p.shape as [number, number, number, number]
  let { data } = p
  if (layout === 'radius-up') {
    // Three quarter turns counter-clockwise are one clockwise.
    let t = { data, h: angles, w: radii }
    for (let k = 0; k < 3; k++) t = turned(t.data, n * c, t.h, t.w)
    ;({ data, h: angles, w: radii } = t)
  }
  return sampleOracle(
    { data, shape: [n, c, angles, radii] },
    [center.shape[0]!, height, width],
    (m, v, u) => {
      const [dx, dy] = [u - center.data[2 * m]!, v - center.data[2 * m + 1]!]
      const turn = Math.atan2(dy, dx) / (2 * Math.PI)
      return [(Math.hypot(dx, dy) * radii) / maxRadius, (turn - Math.floor(turn)) * angles]
    },
    { padY: 'wrap' },
  )
}

/** A few Gaussian blobs in [0, 1], wide against a pixel. */
export function smoothImage(
  h: number,
  w: number,
  next: () => number,
  { shiftX = 0, shiftY = 0 } = {},
): Float32Array {
  const blobs = Array.from({ length: 3 }, () => ({
    x: w * (0.3 + 0.4 * next()) + shiftX,
    y: h * (0.3 + 0.4 * next()) + shiftY,
    s: Math.min(h, w) * (0.15 + 0.1 * next()),
  }))
  return Float32Array.from({ length: h * w }, (_, i) => {
    const [v, u] = [Math.floor(i / w), i % w]
    return blobs.reduce(
      (sum, b) => sum + Math.exp(-((u - b.x) ** 2 + (v - b.y) ** 2) / (2 * b.s * b.s)) / 3,
      0,
    )
  })
}
