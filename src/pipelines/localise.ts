import type { Tensor } from '../autograd/tensor.ts'
import { checkParameters, type ParameterFunction } from './transforms/parameters.ts'
import type { Transform } from './transforms/transform.ts'

/**
 * The idea of the thesis (4.2) in parts that plug in:
 *
 *     M(I) = T⁻¹_ϕ( F_seg( T_ϕ(I) ) ),   ϕ = f_ϕ( F_loc(I) )
 */
export interface LocalisedSegmentation {
  /** F_loc: images (N, C, H, W) to a rough map (N, 1, H, W). A network's forward, or anything else. */
  readonly localise: (x: Tensor) => Tensor
  /** f_ϕ: the map (and the image) to transform parameters, one row an image. */
  readonly parameters: ParameterFunction
  /** T_ϕ with its inverse. */
  readonly transform: Transform
  /** F_seg: transformed images to their masks. */
  readonly segment: (x: Tensor) => Tensor
}

/** Everything that a localised segmentation computed, for scores and pictures. */
export interface LocalisedResult {
  /** Output of `localise`. */
  readonly map: Tensor
  /** ϕ */
  readonly parameters: Tensor
  /** T_ϕ(I) */
  readonly transformed: Tensor
  /** F_seg(T_ϕ(I)): in the transformed space. */
  readonly segmented: Tensor
  /** Back in the space of the images (N, 1, H, W). */
  readonly mask: Tensor
}

/** Runs localise → f_ϕ → T → segment → T⁻¹ on a batch. Nothing waits for the GPU. */
export function segmentLocalised(parts: LocalisedSegmentation, x: Tensor): LocalisedResult {
  const [height, width] = [x.shape[2]!, x.shape[3]!]
  const map = parts.localise(x)
  const parameters = parts.parameters(map, x)
  checkParameters(parts.transform, parameters)
  const transformed = parts.transform.apply(x, parameters)
  const segmented = parts.segment(transformed)
  const mask = parts.transform.invert(segmented, parameters, { height, width })
  return { map, parameters, transformed, segmented, mask }
}
