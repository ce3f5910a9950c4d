import type { Device } from '../autograd/device.ts'
import { connectedComponents } from '../autograd/ops/connected-components.ts'
import { fusePolar } from '../autograd/ops/fuse-polar.ts'
import { hysteresisThreshold } from '../autograd/ops/hysteresis-threshold.ts'
import { polarWarp } from '../autograd/ops/polar-warp.ts'
import { slice } from '../autograd/ops/slice.ts'
import type { Tensor } from '../autograd/tensor.ts'
import { normaliseFusion, weighPolar } from './fuse.ts'
import { evenSpans, firstRows, joined, objectsAPass, ownersOf } from './object-rows.ts'
import type { PolarOptions } from './transforms/polar.ts'

export interface SegmentSeveralOptions extends PolarOptions {
  /** Images (N, C, H, W) to rough maps (N, 1, H, W). */
  readonly rough: (x: Tensor) => Tensor
  /** Polar images, one an object, to their maps. */
  readonly fine: (x: Tensor) => Tensor
  /** t₁: pixels of the fused map above it may be kept (exclusive); 0. */
  readonly low?: number
  /** t₂: of those, components with a pixel above it are kept (exclusive); 0.4. */
  readonly high?: number
  /** Objects in one forward pass of the fine network at most; default 2¹⁸ pixels of polar images. */
  readonly objectBatch?: number
  /** Components of an image that are looked at, in raster order; further ones are left out; 1024. */
  readonly maxObjects?: number
}

/** Result for a batch of images. */
export interface SegmentSeveralResult {
  /** Rough maps (N, 1, H, W). */
  readonly rough: Tensor
  /** Sum of the weighted polar predictions over its maximum (N, 1, H, W), 0 to 1. */
  readonly fused: Tensor
  /** `fused` after hysteresis thresholding (N, 1, H, W): 0 and 1. */
  readonly mask: Tensor
  /** Origins (M, 2) as (x, y), px, those of the first image first. Undefined where no image has a component. */
  readonly origins: Tensor | undefined
  /** Objects of each image, M in all. */
  readonly counts: readonly number[]
}

/**
 * Polar segmentation of images with several objects (4.4): a rough mask, one polar image about the centroid of each of
 * its components, each segmented; the component at the origin weighs 2, all else predicted 1; back in the image the
 * weights are summed, divided by their greatest, and thresholded with hysteresis.
 *
 * The polar images of all images of the batch go through the fine network together. The one wait for the GPU reads how
 * many components each image has. An image without any gets an empty mask. Weights are laid back by the nearest pixel:
 * between pixels they would be above 0 up to a pixel outside of what was predicted, and t₁ = 0 would keep that.
 */
export async function segmentSeveral(
  device: Device,
  x: Tensor,
  options: SegmentSeveralOptions,
): Promise<SegmentSeveralResult> {
  const { maxObjects = 1024 } = options
  const found = device.noGrad(() =>
    device.scope(() => {
      const rough = options.rough(x)
      const { centroids, count } = connectedComponents(rough, { threshold: 0.5, maxComponents: maxObjects })
      return { rough, centroids, count }
    }),
  )
  const counts = Array.from(await found.count.data(), (n) => Math.min(n, maxObjects))
  found.count.dispose()
  return device.noGrad(() =>
    device.scope(() => {
      const origins = firstRows(found.centroids, counts)
      found.centroids.dispose()
      const fused = origins ? fuse(x, origins, counts, options) : device.zeros(found.rough.shape)
      const { low = 0, high = 0.4 } = options
      return { rough: found.rough, fused, mask: hysteresisThreshold(fused, { low, high }), origins, counts }
    }),
  )
}

/** Segments a polar image about each origin and adds up their weights on the images, 0 to 1. */
function fuse(
  x: Tensor,
  origins: Tensor,
  counts: readonly number[],
  { fine, objectBatch, ...options }: SegmentSeveralOptions,
): Tensor {
  const { device } = x
  const [images, , height, width] = x.shape as [number, number, number, number]
  const { angles, radii, maxRadius, layout = 'radius-up' } = options
  const radius = maxRadius === undefined ? {} : { maxRadius }
  const samples = { ...(angles === undefined ? {} : { angles }), ...(radii === undefined ? {} : { radii }) }
  const owner = ownersOf(counts)
  const most = objectBatch ?? objectsAPass(angles ?? height, radii ?? width)
  const weights: Tensor[] = []
  for (const [from, to] of evenSpans(owner.length, most)) {
    const batchIndex = device.tensor(owner.slice(from, to), [to - from])
    const some = slice(origins, { starts: [from, 0], ends: [to, 2] })
    const polar = polarWarp(x, some, { ...radius, ...samples, layout, batchIndex })
    weights.push(weighPolar(fine(polar), layout))
  }
  const batchIndex = device.tensor(owner, [owner.length])
  const laid = { height, width, ...radius, layout, mode: 'nearest', batchIndex, images } as const
  return normaliseFusion(fusePolar(joined(weights), origins, laid))
}
