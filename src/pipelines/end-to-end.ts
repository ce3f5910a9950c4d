import type { Device } from '../autograd/device.ts'
import { concat } from '../autograd/ops/concat.ts'
import { cropResize } from '../autograd/ops/crop-resize.ts'
import { interpolate } from '../autograd/ops/interpolate.ts'
import type { Tensor } from '../autograd/tensor.ts'
import { FoveaError } from '../gpu/errors.ts'
import type { Module } from '../nn/module.ts'
import { type TransferReport, transferWeights } from '../nn/transfer.ts'
import type { Segment } from './inference.ts'
import { JointNetwork } from './joint-network.ts'
import { cropTransform } from './transforms/crop.ts'
import { boxOfMap, softBoxOfMap } from './transforms/parameters.ts'

/** Options of `cropEndToEnd`. */
export interface EndToEndOptions {
  /** Side S of both networks' input, px. */
  readonly size: number
  /** Added to the box on every side, px of the image; the thesis's 20 at 1,024 px. */
  readonly padding?: number
  /**
   * 'hard' (default): the box around all pixels of the coarse mask over ½; it has no gradient, the coarse network learns
   * through the mask channel alone. 'soft': the box of the map's spread; a gradient reaches the coarse network through
   * where the crop lies, too.
   */
  readonly box?: 'hard' | 'soft'
}

/** What was computed on the way, for scores and pictures. */
export interface EndToEndResult {
  /** The coarse network's map at the size of the images (N, 1, H, W). */
  readonly coarse: Tensor
  /** (N, 4) as (left, top, width, height), px of the images. */
  readonly boxes: Tensor
  /** What the fine network sees (N, C + 1, S, S): the crop, and the coarse map in it. */
  readonly crop: Tensor
  /** Its result, laid back (N, 1, H, W). */
  readonly mask: Tensor
}

/** Steepness of the sigmoid that takes a map's faint ground out of its soft box. */
const SHARPNESS = 20

/**
 * End-to-end crops (thesis 5.2) of images (N, C, H, W):
 *
 *     coarse map = up(F_coarse(down(I))),   b = box around it,   mask = paste_b(F_fine([crop_b(I), crop_b(coarse map)]))
 *
 * All of it is on the tape: the gradient of a loss of `mask` reaches the coarse network through the crop of its map, and
 * with a soft box through the box. Where the coarse mask is empty the box is the whole image. Nothing waits for the GPU.
 *
 * @param coarse images (N, C, S, S) to probabilities (N, 1, S, S)
 * @param fine (N, C + 1, S, S) to probabilities (N, 1, S, S)
 */
export function cropEndToEnd(
  x: Tensor,
  { coarse, fine }: { readonly coarse: Segment; readonly fine: Segment },
  { size, padding = 20, box = 'hard' }: EndToEndOptions,
): EndToEndResult {
  const [height, width] = [x.shape[2]!, x.shape[3]!]
  const small = interpolate(x, { size, mode: 'bilinear' })
  const map = interpolate(coarse(small), { size: [height, width], mode: 'bilinear' })
  const soft = box === 'soft'
  const find = soft ? softBoxOfMap({ padding, sharpness: SHARPNESS }) : boxOfMap({ padding })
  const boxes = find(map, x)
  const crop = concat([cropResize(x, boxes, { size }), cropResize(map, boxes, { size })], { axis: 1 })
  const mask = cropTransform({ size, soft }).invert(fine(crop), boxes, { height, width })
  return { coarse: map, boxes, crop, mask }
}

/**
 * The two networks of `cropEndToEnd` as one, for `train`: images at full resolution (N, C, H, W) to masks of that size.
 * Its weights are named `coarse.…` and `fine.…`.
 */
export class EndToEndCrops extends JointNetwork<{ readonly coarse: Module; readonly fine: Module }> {
  /**
   * @param parts `coarse` takes the images' channels, `fine` one more; they belong to this module from now on
   * @throws FoveaError when the size or the padding is none
   */
  constructor(
    readonly device: Device,
    parts: { readonly coarse: Module; readonly fine: Module },
    readonly options: EndToEndOptions,
  ) {
    super(parts)
    const { size, padding = 20 } = options
    if (!Number.isInteger(size) || size < 1 || !(padding >= 0))
      throw new FoveaError(
        `EndToEndCrops: size is a whole number of px, padding at least 0 px, got ${size} and ${padding}`,
      )
  }

  /** Begins both networks from one pretrained on whole images; the mask's input plane of the fine one begins at zero. */
  takeFrom(pretrained: Module): { readonly coarse: TransferReport; readonly fine: TransferReport } {
    const weights = pretrained.stateDict()
    return {
      coarse: transferWeights(this.networks.coarse, weights),
      fine: transferWeights(this.networks.fine, weights, { extraChannels: 'zero' }),
    }
  }

  forward(x: Tensor): Tensor {
    return this.trace(x).mask
  }

  /** The forward pass with all that it computed on the way. */
  trace(x: Tensor): EndToEndResult {
    const nets = { coarse: this.forwardOf('coarse'), fine: this.forwardOf('fine') }
    return cropEndToEnd(x, nets, this.options)
  }
}
