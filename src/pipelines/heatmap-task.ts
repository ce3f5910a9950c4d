import { add } from '../autograd/ops/add.ts'
import { centerOfMass } from '../autograd/ops/center-of-mass.ts'
import { gaussianHeatmap } from '../autograd/ops/gaussian-heatmap.ts'
import { mul } from '../autograd/ops/mul.ts'
import { sub } from '../autograd/ops/sub.ts'
import { DataError } from '../gpu/errors.ts'
import { type AugmentOptions, NO_AUGMENTATION } from './augment.ts'
import { applyAugmentation, feedAugmentation, stackSamples, type TrainingTask } from './tasks.ts'

/** Side of the images for which the thesis gives its sigma, px. */
const REFERENCE = 256

export interface HeatmapTaskOptions {
  /** Pixels of the image a pixel of the heatmap: 4 for StackedHourglass, 1 for U-Net (default 4). */
  readonly stride?: number
  /** Standard deviation of the Gaussian for images of 256 px a side (default 8; the thesis takes 16 for liver). */
  readonly sigma?: number
  readonly augment?: AugmentOptions
}

/**
 * Heatmaps of centres (approach B, 4.3.2): the target is a Gaussian of height 1 at the centre of mass of the truth, in
 * the size of the network's output, its sigma scaled to the image's shorter side. An image without an object has its
 * Gaussian in its middle, as everywhere a centre of nothing is the image's. Train with `loss: meanOverStacks()` and
 * `score: centreScore`.
 */
export function heatmapTask(options: HeatmapTaskOptions = {}): TrainingTask {
  const { stride = 4, sigma = 8, augment = NO_AUGMENTATION } = options
  return {
    name: 'heatmap',
    feed(device, samples, prng, training) {
      const { height, width } = samples[0]!
      if (height % stride !== 0 || width % stride !== 0)
        throw new DataError(
          `heatmapTask: images of ${height}×${width} do not make heatmaps at a stride of ${stride}; take sides that are multiples of it`,
        )
      const { x, y } = stackSamples(device, samples)
      return training ? [x, y, ...feedAugmentation(device, augment, x, prng)] : [x, y]
    },
    prepare([x, y, ...augmentation]) {
      const { x: input, y: mask } = applyAugmentation(x!, y!, augmentation)
      const [h, w] = [input.shape[2]!, input.shape[3]!]
      // Pixel centres are at whole numbers in both: c/stride would lie off by (stride − 1)/2 px of the image.
      const centre = sub(mul(add(centerOfMass(mask), 0.5), 1 / stride), 0.5)
      const target = gaussianHeatmap(centre, {
        size: [h / stride, w / stride],
        sigma: (sigma * Math.min(h, w)) / REFERENCE / stride,
      })
      return { input, target }
    },
  }
}
