import type { SampleMode } from '../../autograd/ops/warp.ts'
import type { Tensor } from '../../autograd/tensor.ts'

/** Height and width in pixels. */
export interface ImageSize {
  readonly height: number
  readonly width: number
}

/**
 * T_ϕ of the thesis (4.2) with its inverse: an image in, an image in which the object is simple out. To write your own,
 * give an object with these members; what is differentiable in `apply` and `invert` is so in the pipelines.
 */
export interface Transform {
  readonly name: string
  /** Values of ϕ an image: the width of `parameters` (N, parameterCount). */
  readonly parameterCount: number
  /** Size of the transformed images for images of this size. */
  outputSize(size: ImageSize): ImageSize
  /**
   * (N, C, H, W) and parameters (N, parameterCount) to the transformed images. `mode` is 'nearest' for masks.
   */
  apply(x: Tensor, parameters: Tensor, options?: { readonly mode?: SampleMode }): Tensor
  /** Back to the size of the original images. */
  invert(y: Tensor, parameters: Tensor, size: ImageSize): Tensor
}
