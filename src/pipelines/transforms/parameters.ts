import type { Device } from '../../autograd/device.ts'
import { add } from '../../autograd/ops/add.ts'
import { argmax2d } from '../../autograd/ops/argmax2d.ts'
import { boundingBoxes } from '../../autograd/ops/boxes.ts'
import { centerOfMass } from '../../autograd/ops/center-of-mass.ts'
import { clamp } from '../../autograd/ops/clamp.ts'
import { gt } from '../../autograd/ops/comparison.ts'
import { concat } from '../../autograd/ops/concat.ts'
import { div } from '../../autograd/ops/div.ts'
import { max } from '../../autograd/ops/max.ts'
import { min } from '../../autograd/ops/min.ts'
import { mul } from '../../autograd/ops/mul.ts'
import { reshape } from '../../autograd/ops/reshape.ts'
import { sigmoid } from '../../autograd/ops/sigmoid.ts'
import { slice } from '../../autograd/ops/slice.ts'
import { softmax } from '../../autograd/ops/softmax.ts'
import { sqrt } from '../../autograd/ops/sqrt.ts'
import { sub } from '../../autograd/ops/sub.ts'
import { sum } from '../../autograd/ops/sum.ts'
import { where } from '../../autograd/ops/where.ts'
import type { Tensor } from '../../autograd/tensor.ts'
import { ShapeError } from '../../gpu/errors.ts'

/**
 * f_ϕ of the thesis (4.2): a rough map (N, 1, H, W), and for some the image (N, C, H, W), to transform parameters,
 * a row an image. `soft` ones have a gradient in the map and can be trained through.
 */
export type ParameterFunction = (map: Tensor, image: Tensor) => Tensor

/** The centre of mass of the pixels above a threshold (4.8), (N, 2) as (x, y); the image's centre if there are none. */
export const centreOfMap =
  (threshold = 0.5) =>
  (map: Tensor): Tensor =>
    centerOfMass(gt(map, threshold))

/** The centre of mass of the map itself, its values as weights: differentiable. */
export const softCentreOfMap = (): ParameterFunction => (map) => centerOfMass(map)

/**
 * The brightest pixel of a heatmap (approach B), (N, 2) as (x, y) in pixels of the image; the first of equals. The
 * heatmap may be smaller than the image: the centre of its pixel counts.
 */
export const brightestOfMap = (): ParameterFunction => (map, image) => {
  const [at, to] = [map.shape.slice(2), image.shape.slice(2)]
  const brightest = argmax2d(map)
  if (at[0] === to[0] && at[1] === to[1]) return brightest
  const scale = map.device.tensor([to[1]! / at[1]!, to[0]! / at[0]!], [1, 2])
  return sub(mul(add(brightest, 0.5), scale), 0.5)
}

/**
 * Soft-argmax: the centre of mass of softmax(β·map) over the pixels: differentiable, and the brightest pixel as β grows.
 *
 * @param beta sharpness; 100 for maps of 0 to 1
 */
export const softArgmaxOfMap =
  (beta = 100): ParameterFunction =>
  (map) => {
    const [n, , h, w] = map.shape as [number, number, number, number]
    const weights = softmax(mul(reshape(map, { shape: [n, h * w] }), beta), { axis: 1 })
    return centerOfMass(reshape(weights, { shape: [n, 1, h, w] }))
  }

/**
 * One box around all pixels above a threshold, (N, 4) as (left, top, width, height); the whole image if there are none.
 *
 * @param options.padding px on every side, clipped to the image
 */
export const boxOfMap =
  ({ threshold = 0.5, padding = 0 } = {}): ParameterFunction =>
  (map) =>
    boundingBoxes(map, { threshold, padding })

/**
 * A box of the map's own spread, differentiable: centre of mass ± `deviations` standard deviations along each axis.
 * A filled rectangle has its sides at ±√3 standard deviations, an ellipse its ends at ±2. Where the map's values sum
 * to less than one pixel, the whole image.
 *
 * @param options.deviations half the box's side in standard deviations; 2
 * @param options.padding px on every side
 * @param options.least smallest side, px; 5
 * @param options.sharpness k: weighs pixels by σ(k·(map − ½)) in place of the map, so that a faint ground, which is
 *   large, does not widen the box; 0: the map itself
 */
export const softBoxOfMap =
  ({ deviations = 2, padding = 0, least = 5, sharpness = 0 } = {}): ParameterFunction =>
  (map) => {
    const [n, , h, w] = map.shape as [number, number, number, number]
    const weights = sharpness > 0 ? sigmoid(mul(sub(map, 0.5), sharpness)) : map
    const centre = centerOfMass(weights)
    const [xs, ys] = coordinates(map.device, h, w)
    const mass = add(sum(weights, { axes: [1, 2, 3] }), 1e-6)
    const side = (axis: 0 | 1, at: Tensor): [Tensor, Tensor] => {
      const c = slice(centre, { starts: [0, axis], ends: [n, axis + 1] })
      const from = sub(at, reshape(c, { shape: [n, 1, 1, 1] }))
      const variance = div(sum(mul(weights, mul(from, from)), { axes: [1, 2, 3] }), mass)
      const half = mul(sqrt(add(variance, 1e-6)), deviations)
      const length = clamp(add(mul(half, 2), 2 * padding), { min: least })
      const whole = reshape(length, { shape: [n, 1] })
      // Pixel i covers i − ½ to i + ½, and a box begins with a pixel.
      return [add(sub(c, mul(whole, 0.5)), 0.5), whole]
    }
    const [left, width] = side(0, xs)
    const [top, height] = side(1, ys)
    const found = concat([left, top, width, height], { axis: 1 })
    const seen = reshape(gt(mass, 1), { shape: [n, 1] })
    return where(seen, found, map.device.tensor([0, 0, w, h], [1, 4]))
  }

/** Pixel coordinates as (1, 1, 1, W) and (1, 1, H, 1). */
function coordinates(device: Device, h: number, w: number): [Tensor, Tensor] {
  const count = (n: number) => Float32Array.from({ length: n }, (_, i) => i)
  return [device.tensor(count(w), [1, 1, 1, w]), device.tensor(count(h), [1, 1, h, 1])]
}

/**
 * The smallest and the largest intensity of the image where the map is above a threshold, (N, 2), over all channels:
 * parameters of `windowTransform`. Those of the whole image where no pixel is. Differentiable in the image.
 */
export const windowOfMap =
  (threshold = 0.5): ParameterFunction =>
  (map, image) => {
    const n = image.shape[0]!
    const inside = gt(map, threshold)
    const any = max(inside, { axes: [1, 2, 3], keepDims: true })
    // Where nothing is inside, everything counts.
    const counts = where(gt(any, 0), inside, 1)
    const of = (reduce: typeof min, other: number) =>
      reshape(reduce(where(counts, image, other), { axes: [1, 2, 3] }), { shape: [n, 1] })
    return concat([of(min, Number.MAX_VALUE), of(max, -Number.MAX_VALUE)], { axis: 1 })
  }

/**
 * The factors that bring the object's box to a share of the image, (N, 2): parameters of `rescaleTransform`.
 *
 * @param options.share part of the image's sides that the box fills; 0.5
 * @param options.keepAspect one factor for both axes, the smaller
 */
export const scaleToFill =
  ({ share = 0.5, threshold = 0.5, keepAspect = true } = {}): ParameterFunction =>
  (map) => {
    const [n, , h, w] = map.shape as [number, number, number, number]
    const boxes = boundingBoxes(map, { threshold })
    const side = (k: number) => slice(boxes, { starts: [0, k], ends: [n, k + 1] })
    const factors = concat([div(share * w, side(2)), div(share * h, side(3))], { axis: 1 })
    if (!keepAspect) return factors
    const least = min(factors, { axes: [1], keepDims: true })
    return concat([least, least], { axis: 1 })
  }

/** Parameters of a composition: those of the first function, then those of the second, both of the same map. */
export const joinParameters =
  (first: ParameterFunction, second: ParameterFunction): ParameterFunction =>
  (map, image) =>
    concat([first(map, image), second(map, image)], { axis: 1 })

/** Checks that a function gave what a transform takes; for errors at the place of the mistake. */
export function checkParameters(
  transform: { name: string; parameterCount: number },
  parameters: Tensor,
): void {
  if (parameters.rank === 2 && parameters.shape[1] === transform.parameterCount) return
  throw new ShapeError(
    transform.name,
    `takes (N, ${transform.parameterCount}) parameters, f_ϕ gave (${parameters.shape.join(', ')})`,
  )
}
