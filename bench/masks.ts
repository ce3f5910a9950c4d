import { Prng } from '../src/autograd/random.ts'

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
  const prng = new Prng(seed >>> 0)
  return filled(h, w, () => prng.bits() < density * 2 ** 32)
}

export const full = (h: number, w: number): Mask => new Float32Array(h * w).fill(1)
export const empty = (h: number, w: number): Mask => new Float32Array(h * w)

/** The hostile masks by name. */
export const HOSTILE: Readonly<Record<string, (size: number) => Mask>> = {
  spiral,
  comb: (size) => comb(size, size),
  'comb, sideways': (size) => combSideways(size, size),
  checkerboard: (size) => checkerboard(size, size),
  'noise 0.593': (size) => noise(size, size, 0.593),
  'noise 0.407': (size) => noise(size, size, 0.407),
  full: (size) => full(size, size),
  empty: (size) => empty(size, size),
}

/** The hostile masks of a size, by name. */
export const hostile = (size: number): Record<string, Mask> =>
  Object.fromEntries(Object.entries(HOSTILE).map(([name, mask]) => [name, mask(size)]))
