import { affineWarp } from '../../autograd/ops/affine-warp.ts'
import { concat } from '../../autograd/ops/concat.ts'
import { div } from '../../autograd/ops/div.ts'
import { mul } from '../../autograd/ops/mul.ts'
import { neg } from '../../autograd/ops/neg.ts'
import { reshape } from '../../autograd/ops/reshape.ts'
import { slice } from '../../autograd/ops/slice.ts'
import { sub } from '../../autograd/ops/sub.ts'
import type { Tensor } from '../../autograd/tensor.ts'
import type { ImageSize, Transform } from './transform.ts'

/*
 * A matrix M = [A | t] takes output pixels to input pixels: y(p) = x(A·p + t). Its inverse is [A⁻¹ | −A⁻¹·t].
 */

/** Column k of (N, K) as (N, 1). */
export const column = (x: Tensor, k: number): Tensor =>
  slice(x, { starts: [0, k], ends: [x.shape[0]!, k + 1] })

/** Six columns (N, 1) as matrices (N, 2, 3). */
export const matrixOf = (...columns: Tensor[]): Tensor =>
  reshape(concat(columns, { axis: 1 }), { shape: [columns[0]!.shape[0]!, 2, 3] })

/** (N, 6) as the rows of [A | t] to those of the inverse; a singular A gives values that are not finite. */
function inverse(parameters: Tensor): Tensor {
  const [a, b, tx, c, d, ty] = [0, 1, 2, 3, 4, 5].map((k) => column(parameters, k)) as [
    Tensor,
    Tensor,
    Tensor,
    Tensor,
    Tensor,
    Tensor,
  ]
  const det = sub(mul(a, d), mul(b, c))
  const [ia, ib, ic, id] = [div(d, det), div(neg(b), det), div(neg(c), det), div(a, det)]
  const back = (p: Tensor, q: Tensor) => neg(sub(mul(p, tx), neg(mul(q, ty))))
  return matrixOf(ia, ib, back(ia, ib), ic, id, back(ic, id))
}

/**
 * Any affine map: parameters (N, 6), the rows of the 2×3 matrix that takes output pixels to input pixels, as
 * `affineWarp` has it. Size stays. Differentiable in image and parameters.
 */
export function affineTransform(): Transform {
  const matrix = (parameters: Tensor) => reshape(parameters, { shape: [parameters.shape[0]!, 2, 3] })
  return {
    name: 'affine',
    parameterCount: 6,
    outputSize: (size) => size,
    apply: (x, parameters, { mode = 'bilinear' } = {}) => affineWarp(x, matrix(parameters), { mode }),
    invert: (y, parameters, { height, width }) =>
      affineWarp(y, inverse(parameters), { size: [height, width] }),
  }
}

const centreOf = ({ height, width }: ImageSize): [x: number, y: number] => [(width - 1) / 2, (height - 1) / 2]

/** Scales about the centre: y(p) = x(c + (p − c)/s). */
function scaling(factors: Tensor, size: ImageSize, mode: 'bilinear' | 'nearest', x: Tensor): Tensor {
  const [cx, cy] = centreOf(size)
  const [sx, sy] = [column(factors, 0), column(factors, 1)]
  const none = mul(sx, 0)
  const matrix = matrixOf(sx, none, sub(cx, mul(sx, cx)), none, sy, sub(cy, mul(sy, cy)))
  return affineWarp(x, matrix, { mode, size: [size.height, size.width] })
}

/**
 * Rescale: parameters (N, 2) as the factors (sx, sy) by which an image grows about its centre. Size stays, what
 * leaves it is lost. Brings objects to one size (see `scaleToFill`).
 */
export function rescaleTransform(): Transform {
  const sizeOf = (x: Tensor): ImageSize => ({ height: x.shape[2]!, width: x.shape[3]! })
  return {
    name: 'rescale',
    parameterCount: 2,
    outputSize: (size) => size,
    apply: (x, factors, { mode = 'bilinear' } = {}) => scaling(div(1, factors), sizeOf(x), mode, x),
    invert: (y, factors, size) => scaling(factors, size, 'bilinear', y),
  }
}

/**
 * Translate: parameters (N, 2) as the point (x, y) in pixels, such as an object's centre, that comes to the reference
 * point. Size stays, what leaves it is lost.
 *
 * @param options.reference (x, y) in pixels; default the centre of the image
 */
export function translateTransform(
  options: { readonly reference?: readonly [number, number] } = {},
): Transform {
  const shift = (
    x: Tensor,
    offset: (axis: 0 | 1) => Tensor,
    size: ImageSize,
    mode: 'bilinear' | 'nearest',
  ) => {
    const [dx, dy] = [offset(0), offset(1)]
    const none = mul(dx, 0)
    const one = sub(1, none)
    const matrix = matrixOf(one, none, dx, none, one, dy)
    return affineWarp(x, matrix, { mode, size: [size.height, size.width] })
  }
  const referenceIn = (size: ImageSize) => options.reference ?? centreOf(size)
  return {
    name: 'translate',
    parameterCount: 2,
    outputSize: (size) => size,
    apply(x, points, { mode = 'bilinear' } = {}) {
      const size = { height: x.shape[2]!, width: x.shape[3]! }
      return shift(x, (axis) => sub(column(points, axis), referenceIn(size)[axis]), size, mode)
    },
    invert: (y, points, size) =>
      shift(y, (axis) => sub(referenceIn(size)[axis], column(points, axis)), size, 'bilinear'),
  }
}
