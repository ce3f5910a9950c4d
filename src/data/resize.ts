/** Weights of the source samples that make one output sample: `out = Σ weights[k] · in[first + k]`. */
interface Taps {
  first: number
  weights: Float32Array
}

/**
 * Resizes an image by separable bilinear interpolation, with the triangle widened to the scale when it
 * shrinks, so that every source pixel counts (what Pillow calls bilinear and PyTorch
 * `interpolate(mode='bilinear', antialias=True)`). Pixel centres lie at half integers of the pixel grid.
 *
 * @param data (C, H, W) samples
 * @param shape [C, H, W] of `data`
 * @param size [height, width] of the result, px
 * @returns (C, height, width); `data` itself when the size is already right
 */
export function resizeImage(
  data: Float32Array,
  shape: readonly [number, number, number],
  size: readonly [number, number],
): Float32Array {
  const [c, h, w] = shape
  const [oh, ow] = size
  if (h === oh && w === ow) return data
  const across = taps(w, ow)
  const down = taps(h, oh)
  const wide = new Float32Array(c * h * ow)
  for (let row = 0; row < c * h; row++) {
    const source = row * w
    const target = row * ow
    for (let x = 0; x < ow; x++) {
      const { first, weights } = across[x]!
      let sum = 0
      for (let k = 0; k < weights.length; k++) sum += weights[k]! * data[source + first + k]!
      wide[target + x] = sum
    }
  }
  const out = new Float32Array(c * oh * ow)
  const line = new Float64Array(ow)
  for (let plane = 0; plane < c; plane++) {
    for (let y = 0; y < oh; y++) {
      const { first, weights } = down[y]!
      line.fill(0)
      for (let k = 0; k < weights.length; k++) {
        const source = (plane * h + first + k) * ow
        for (let x = 0; x < ow; x++) line[x]! += weights[k]! * wide[source + x]!
      }
      out.set(line, (plane * oh + y) * ow)
    }
  }
  return out
}

/**
 * Resizes a mask or label map by nearest neighbour: output pixel (x, y) takes the source pixel that its
 * centre falls into (PyTorch's `nearest-exact`). No new label can arise.
 *
 * @param data (H, W) labels
 * @param shape [H, W] of `data`
 * @param size [height, width] of the result, px
 * @returns (height, width) of the same array type; `data` itself when the size is already right
 */
export function resizeLabels<T extends Float32Array | Int32Array>(
  data: T,
  shape: readonly [number, number],
  size: readonly [number, number],
): T {
  const [h, w] = shape
  const [oh, ow] = size
  if (h === oh && w === ow) return data
  const out = new (data.constructor as new (n: number) => T)(oh * ow)
  for (let y = 0; y < oh; y++) {
    const source = nearest(y, h, oh) * w
    for (let x = 0; x < ow; x++) out[y * ow + x] = data[source + nearest(x, w, ow)]!
  }
  return out
}

/** `floor((i + 0.5) · from / to)` in integers, so that no rounding moves a pixel. */
function nearest(i: number, from: number, to: number): number {
  return Math.floor(((2 * i + 1) * from) / (2 * to))
}

function taps(from: number, to: number): Taps[] {
  const scale = from / to
  const support = Math.max(1, scale)
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale
    const first = Math.max(0, Math.floor(centre - support + 0.5))
    const end = Math.min(from, Math.floor(centre + support + 0.5))
    const weights = new Float32Array(end - first)
    let total = 0
    for (let k = 0; k < weights.length; k++) {
      const weight = Math.max(0, 1 - Math.abs(first + k + 0.5 - centre) / support)
      weights[k] = weight
      total += weight
    }
    for (let k = 0; k < weights.length; k++) weights[k]! /= total
    return { first, weights }
  })
}
