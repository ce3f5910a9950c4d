import { add } from '../../autograd/ops/add.ts'
import { gridSample } from '../../autograd/ops/grid-sample.ts'
import { gridWarp } from '../../autograd/ops/grid-warp.ts'
import { interpolate } from '../../autograd/ops/interpolate.ts'
import { mean } from '../../autograd/ops/mean.ts'
import { mul } from '../../autograd/ops/mul.ts'
import { permute } from '../../autograd/ops/permute.ts'
import { square } from '../../autograd/ops/pow.ts'
import { reshape } from '../../autograd/ops/reshape.ts'
import { slice } from '../../autograd/ops/slice.ts'
import { sub } from '../../autograd/ops/sub.ts'
import { tanh } from '../../autograd/ops/tanh.ts'
import type { Tensor } from '../../autograd/tensor.ts'
import { FoveaError } from '../../gpu/errors.ts'
import type { ImageSize, Transform } from './transform.ts'

/** Options of `deformationTransform`. */
export interface DeformationOptions {
  /** Points of the grid along each side, corners included; 4. */
  readonly nodes?: number
  /**
   * Largest displacement, as a part of the distance between two points; under ¼. Then the field's steepness (∞-norm) stays
   * under 4 times this, the map is one to one, and its inverse is found by iteration; 0.2.
   */
  readonly reach?: number
  /** Of the inverse: each lessens its error at least by 4·reach; 12. */
  readonly iterations?: number
}

/**
 * A smooth deformation with an inverse: parameters (N, 2·nodes²), the displacements of a grid, all those along x first;
 * `y(p) = x(p + u(p))` with u the bilinear field through `reach·distance·tanh(ϕ)`. 0 is the identity.
 *
 *     T⁻¹: q = p − u(q), from q = p
 *
 * Differentiable in image and parameters, there and back (through the iteration).
 */
export function deformationTransform(options: DeformationOptions = {}): Transform {
  const { nodes = 4, reach = 0.2, iterations = 12 } = options
  if (!Number.isInteger(nodes) || nodes < 2 || !(reach > 0 && reach < 0.25))
    throw new FoveaError(
      `deformationTransform: wants at least 2 nodes a side and a reach over 0 and under 0.25, got ${nodes} and ${reach}; ` +
        'farther, the field could fold',
    )
  /** Displacements of the grid's points, px (N, 2, nodes, nodes). */
  const field = (phi: Tensor, { height, width }: ImageSize): Tensor => {
    const n = phi.shape[0]!
    const most = [width, height].map((side) => (reach * (side - 1)) / (nodes - 1))
    const scale = phi.device.tensor(most, [1, 2, 1, 1])
    return mul(tanh(reshape(phi, { shape: [n, 2, nodes, nodes] })), scale)
  }
  return {
    name: 'deformation',
    parameterCount: 2 * nodes * nodes,
    outputSize: (size) => size,
    apply: (x, phi, { mode = 'bilinear' } = {}) =>
      gridWarp(x, field(phi, { height: x.shape[2]!, width: x.shape[3]! }), { mode, paddingMode: 'border' }),
    invert(y, phi, size) {
      const { height, width } = size
      const { device } = y
      // Positions in [−1, 1] between corner pixels, (N, H, W, 2).
      const at = (i: number, side: number) => (side > 1 ? (2 * i) / (side - 1) - 1 : 0)
      const places = device.tensor(
        Float32Array.from({ length: 2 * height * width }, (_, k) => {
          const pixel = k >> 1
          return k % 2 === 0 ? at(pixel % width, width) : at(Math.floor(pixel / width), height)
        }),
        [1, height, width, 2],
      )
      const unit = device.tensor([2 / Math.max(1, width - 1), 2 / Math.max(1, height - 1)], [1, 2, 1, 1])
      const u = mul(field(phi, size), unit)
      const asGrid = (moved: Tensor) => permute(moved, { axes: [0, 2, 3, 1] })
      let q = sub(
        places,
        asGrid(interpolate(u, { size: [height, width], mode: 'bilinear', alignCorners: true })),
      )
      for (let k = 0; k < iterations; k++) {
        const moved = gridSample(u, q, { alignCorners: true, paddingMode: 'border' })
        q = sub(places, asGrid(moved))
      }
      return gridSample(y, q, { alignCorners: true, paddingMode: 'border' })
    },
  }
}

/** How rough a deformation is: the mean squared difference of neighbouring points' parameters. A scalar. */
export function fieldRoughness(phi: Tensor, nodes = 4): Tensor {
  const n = phi.shape[0]!
  const grid = reshape(phi, { shape: [n, 2, nodes, nodes] })
  const part = (axis: 2 | 3, from: number, to: number) => {
    const starts = [0, 0, 0, 0]
    const ends = [n, 2, nodes, nodes]
    starts[axis] = from
    ends[axis] = to
    return slice(grid, { starts, ends })
  }
  const along = (axis: 2 | 3) => mean(square(sub(part(axis, 1, nodes), part(axis, 0, nodes - 1))))
  return add(along(2), along(3))
}
