import { add } from '../autograd/ops/add.ts'
import { gt, logicalNot } from '../autograd/ops/comparison.ts'
import type { ComponentOptions } from '../autograd/ops/connected-components.ts'
import { pad } from '../autograd/ops/pad.ts'
import { componentContaining, largestComponent } from '../autograd/ops/select-component.ts'
import { slice } from '../autograd/ops/slice.ts'
import { sub } from '../autograd/ops/sub.ts'
import type { Tensor } from '../autograd/tensor.ts'
import { FoveaError } from '../gpu/errors.ts'

/**
 * Keeps the k largest components of each mask, by pixels; of equal ones the first in raster order.
 *
 * mask: float32 (N, 1, H, W), foreground where mask > threshold (0.5); the result holds 0 and 1. An image with fewer
 * components keeps all. Stays on the GPU; takes k passes. No gradient.
 *
 * @throws FoveaError when k is no whole number of at least 1
 */
export function keepLargest(
  mask: Tensor,
  { k = 1, threshold = 0.5, connectivity = 4 }: ComponentOptions & { readonly k?: number } = {},
): Tensor {
  if (!Number.isInteger(k) || k < 1)
    throw new FoveaError(`keepLargest: k must be a whole number of at least 1, got ${k}`)
  let left = gt(mask, threshold)
  let kept: Tensor | undefined
  for (let i = 0; i < k; i++) {
    const next = largestComponent(left, { connectivity })
    kept = kept ? add(kept, next) : next
    if (i + 1 < k) left = sub(left, next)
  }
  return kept!
}

/**
 * Fills the holes of each mask: background that cannot be reached from the border by steps along the axes (8-connected
 * masks) or also diagonally (4-connected masks), as SciPy's binary_fill_holes does for the former.
 *
 * mask: float32 (N, 1, H, W), foreground where mask > threshold (0.5); the result holds 0 and 1. No gradient.
 *
 * @param options.connectivity of the background: 4 (default) or 8
 */
export function fillHoles(
  mask: Tensor,
  { threshold = 0.5, connectivity = 4 }: ComponentOptions = {},
): Tensor {
  const [n, , h, w] = mask.shape as [number, number, number, number]
  // A frame of background joins all that touches the border into one component, which holds (0, 0).
  const background = pad(logicalNot(gt(mask, threshold)), {
    pads: [
      [0, 0],
      [0, 0],
      [1, 1],
      [1, 1],
    ],
    value: 1,
  })
  const corner = mask.device.tensor(new Float32Array(2 * n), [n, 2])
  const outside = componentContaining(background, corner, { connectivity })
  return logicalNot(slice(outside, { starts: [0, 0, 1, 1], ends: [n, 1, h + 1, w + 1] }))
}
