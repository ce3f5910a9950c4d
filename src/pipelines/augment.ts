import type { Prng } from '../autograd/random.ts'

/** How training images are varied; image and mask under the same draw. Section 4.3.3 of the thesis. */
export interface AugmentOptions {
  /** Probability of a horizontal flip. */
  readonly flip?: number
  /** Probability of a shift, scaling and rotation together. */
  readonly affine?: number
  /** Largest shift, as a part of the side. */
  readonly shift?: number
  /** Largest change of scale: 0.1 is 0.9 to 1.1. */
  readonly scale?: number
  /** Largest rotation, degrees. */
  readonly rotate?: number
  /** Probability of a grid distortion: the nodes of a coarse grid move, the image between them follows. */
  readonly grid?: number
  /** Cells of the distortion grid a side. */
  readonly gridCells?: number
  /** Largest move of a node, as a part of a cell. */
  readonly gridLimit?: number
}

/** The thesis's augmentation of polyps and lesions. */
export const THESIS_AUGMENTATION: Required<AugmentOptions> = {
  flip: 0.5,
  affine: 0.5,
  shift: 0.0625,
  scale: 0.1,
  rotate: 15,
  grid: 0.3,
  gridCells: 5,
  gridLimit: 0.3,
}

/** The thesis's augmentation of the centre-point predictor (4.3.2). */
export const CENTRE_AUGMENTATION: Required<AugmentOptions> = {
  ...THESIS_AUGMENTATION,
  affine: 0.3,
  shift: 0.065,
  rotate: 45,
}

/** No change at all. */
export const NO_AUGMENTATION: Required<AugmentOptions> = {
  ...THESIS_AUGMENTATION,
  flip: 0,
  affine: 0,
  grid: 0,
}

/** What the GPU needs to vary a batch. */
export interface AugmentDraw {
  /** (N, 2, 3): output pixel (x, y) samples the input at M·(x, y, 1). */
  readonly matrices: Float32Array
  /** (N, 2, g, g): displacements of the grid's nodes in pixels, x then y. */
  readonly displacements: Float32Array
  /** Nodes a side. */
  readonly nodes: number
}

const between = (prng: Prng, limit: number): number => (2 * prng.uniform() - 1) * limit

/**
 * Matrix of one image, row by row: the inverse of flip, then scale and rotation about the centre, then shift.
 */
function matrixOf(o: Required<AugmentOptions>, width: number, height: number, prng: Prng): number[] {
  const flip = prng.uniform() < o.flip ? -1 : 1
  const moved = prng.uniform() < o.affine
  // All numbers are drawn in any case, so that one option does not shift the draws of the others.
  const [dx, dy] = [between(prng, o.shift) * width, between(prng, o.shift) * height]
  const scale = 1 + between(prng, o.scale)
  const angle = (between(prng, o.rotate) * Math.PI) / 180
  const [s, a, tx, ty] = moved ? [1 / scale, -angle, dx, dy] : [1, 0, 0, 0]
  const [cx, cy] = [(width - 1) / 2, (height - 1) / 2]
  const [cos, sin] = [s * Math.cos(a), s * Math.sin(a)]
  // source = centre + R·(output − centre − shift), then mirrored.
  const [m00, m01, m10, m11] = [flip * cos, -flip * sin, sin, cos]
  return [m00, m01, cx - m00 * (cx + tx) - m01 * (cy + ty), m10, m11, cy - m10 * (cx + tx) - m11 * (cy + ty)]
}

/** Draws the variation of a batch of `count` images of one size. Same generator state, same draw. */
export function drawAugmentation(
  options: AugmentOptions,
  count: number,
  height: number,
  width: number,
  prng: Prng,
): AugmentDraw {
  const o = { ...THESIS_AUGMENTATION, ...options }
  const nodes = o.gridCells + 1
  const matrices = new Float32Array(count * 6)
  const displacements = new Float32Array(count * 2 * nodes * nodes)
  const [cellX, cellY] = [(width - 1) / o.gridCells, (height - 1) / o.gridCells]
  for (let n = 0; n < count; n++) {
    matrices.set(matrixOf(o, width, height, prng), 6 * n)
    const distorted = prng.uniform() < o.grid
    for (let axis = 0; axis < 2; axis++) {
      for (let k = 0; k < nodes * nodes; k++) {
        const [i, j] = [Math.floor(k / nodes), k % nodes]
        const move = between(prng, o.gridLimit) * (axis === 0 ? cellX : cellY)
        // The frame stays where it is: nothing is pulled in from outside.
        const inside = i > 0 && j > 0 && i < nodes - 1 && j < nodes - 1
        displacements[((2 * n + axis) * nodes + i) * nodes + j] = distorted && inside ? move : 0
      }
    }
  }
  return { matrices, displacements, nodes }
}
