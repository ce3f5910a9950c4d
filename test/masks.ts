import { uniforms } from './oracle.ts'

/** Masks that are hard on component labelling, 1 and 0, row-major. */
type Mask = Float32Array<ArrayBuffer>

const filled = (h: number, w: number, value: (y: number, x: number) => boolean): Mask => {
  const mask = new Float32Array(h * w)
  for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) mask[y * w + x] = value(y, x) ? 1 : 0
  return mask
}

/** A path one pixel wide that winds inwards, one pixel of gap between its turns: one component. */
export function spiral(size: number): Mask {
  const mask = new Float32Array(size * size)
  const inside = (y: number, x: number) => y >= 0 && x >= 0 && y < size && x < size
  const taken = (y: number, x: number) => inside(y, x) && mask[y * size + x] === 1
  let [y, x, dy, dx] = [0, 0, 0, 1]
  mask[0] = 1
  for (;;) {
    let steps = 0
    while (inside(y + dy, x + dx) && !taken(y + 2 * dy, x + 2 * dx)) {
      y += dy
      x += dx
      mask[y * size + x] = 1
      steps++
    }
    if (steps < 2) return mask
    ;[dy, dx] = [dx, -dy]
  }
}

/** Teeth one pixel wide that meet in the last row only. */
export const comb = (h: number, w: number): Mask => filled(h, w, (y, x) => x % 2 === 0 || y === h - 1)

/** Teeth that meet in the last column only. */
export const combSideways = (h: number, w: number): Mask => filled(h, w, (y, x) => y % 2 === 0 || x === w - 1)

export const checkerboard = (h: number, w: number): Mask => filled(h, w, (y, x) => (x + y) % 2 === 0)

/** Independent pixels; 0.593 is the percolation threshold of 4-connectivity, 0.407 that of 8. */
export function noise(h: number, w: number, density: number, seed = 1): Mask {
  const next = uniforms(seed)
  return filled(h, w, () => next() < density)
}

export const full = (h: number, w: number): Mask => new Float32Array(h * w).fill(1)
export const empty = (h: number, w: number): Mask => new Float32Array(h * w)

/** The hostile masks of a size, by name. */
export const hostile = (size: number): Record<string, Mask> => ({
  spiral: spiral(size),
  comb: comb(size, size),
  'comb, sideways': combSideways(size, size),
  checkerboard: checkerboard(size, size),
  'noise 0.593': noise(size, size, 0.593),
  'noise 0.407': noise(size, size, 0.407),
  full: full(size, size),
  empty: empty(size, size),
})

export interface Labelled {
  readonly labels: Int32Array
  readonly count: number
  readonly areas: number[]
  readonly boxes: number[][]
  readonly centroids: number[][]
}

/** Components by flood fill, in raster order of their first pixels: the oracle. */
export function floodFill(mask: ArrayLike<number>, h: number, w: number, connectivity: 4 | 8): Labelled {
  const labels = new Int32Array(h * w)
  const [areas, boxes, centroids]: [number[], number[][], number[][]] = [[], [], []]
  const stack = new Int32Array(h * w)
  let count = 0
  for (let first = 0; first < h * w; first++) {
    if (!(mask[first]! > 0) || labels[first] !== 0) continue
    labels[first] = ++count
    let top = 0
    stack[top++] = first
    let [area, sx, sy, left, right, up, down] = [0, 0, 0, w, 0, h, 0]
    while (top > 0) {
      const i = stack[--top]!
      const [y, x] = [Math.floor(i / w), i % w]
      area++
      sx += x
      sy += y
      left = Math.min(left, x)
      right = Math.max(right, x)
      up = Math.min(up, y)
      down = Math.max(down, y)
      for (let dy = -1; dy <= 1; dy++) {
        for (let dx = -1; dx <= 1; dx++) {
          if (connectivity === 4 && dx !== 0 && dy !== 0) continue
          const [v, u] = [y + dy, x + dx]
          if (v < 0 || u < 0 || v >= h || u >= w) continue
          const j = v * w + u
          if (!(mask[j]! > 0) || labels[j] !== 0) continue
          labels[j] = count
          stack[top++] = j
        }
      }
    }
    areas.push(area)
    boxes.push([left, up, right - left + 1, down - up + 1])
    centroids.push([sx / area, sy / area])
  }
  return { labels, count, areas, boxes, centroids }
}
