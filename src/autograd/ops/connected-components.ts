import { ShapeError } from '../../gpu/errors.ts'
import { defineOp } from '../op.ts'
import { checkOptions } from '../options.ts'
import type { Tensor } from '../tensor.ts'
import { type Connectivity, checkConnectivity, checkNumber, checkPlane, Forest } from './union_find.ts'

export interface ComponentOptions {
  /** 4: pixels that share an edge are neighbours (default). 8: those that share a corner, too. */
  readonly connectivity?: Connectivity
  /** Foreground is mask > threshold. Default 0; 0.5 for probabilities. NaN is background. */
  readonly threshold?: number
}

export interface ConnectedComponentsOptions extends ComponentOptions {
  /** Rows of the tables, M. Default 1024. */
  readonly maxComponents?: number
}

/** Components of a batch of masks. Free them together by `device.scope`, or one by one. */
export interface Components {
  /** int32 (N, 1, H, W): 0 background, 1…n in raster order of each component's first pixel. */
  readonly labels: Tensor
  /** int32 (N): how many there are in each image. */
  readonly count: Tensor
  /** int32 (N, M), px: row k − 1 is that of label k; 0 past the last. */
  readonly areas: Tensor
  /** float32 (N, M, 4): left, top, width, height, px; 0 past the last. */
  readonly boxes: Tensor
  /** float32 (N, M, 2): mean x and y of the pixels, px; 0 past the last. */
  readonly centroids: Tensor
}

interface Attrs {
  readonly connectivity: Connectivity
  readonly threshold: number
  readonly maxComponents: number
}

const apply = defineOp<Attrs>({
  name: 'connectedComponents',
  forward(run, [mask], { maxComponents, ...options }) {
    const forest = new Forest(run, mask!, { ...options, slots: maxComponents })
    const count = forest.number()
    const tables = forest.tables(count)
    return [forest.labels(), count, ...tables]
  },
  nonDifferentiable: 'labels are integers, and areas, boxes and centroids step as pixels change sides',
})

/**
 * Labels the connected components of each mask, on the GPU, without waiting for it.
 *
 * mask: float32 (N, 1, H, W), foreground where mask > threshold. Labels are exact and the same on every
 * adapter: numbered from 1 in each image, in raster order of the components' first pixels. Areas, boxes and
 * centroids come as tables of `maxComponents` rows an image, since only the GPU knows how many there are: the
 * rows of labels past the count are zero. Where an image has more components than rows, labels and count still
 * hold all of them and the tables the first `maxComponents`: compare `count` if you need to know. Centroids are
 * exact sums over areas, rounded once or twice to float32.
 *
 * Union-find on runs of pixels (algorithm and sources: union_find.ts): work is near-linear in the pixels for
 * any mask, spirals, combs, checkerboards and percolation noise included; the number of launches depends on
 * the shape alone. Temporary memory: about 2.3 bytes a pixel.
 *
 * No gradient. Throws a ShapeError for a mask that is not float32 (N, 1, H, W) or a side over 2²⁴ px.
 */
export function connectedComponents(mask: Tensor, options: ConnectedComponentsOptions = {}): Components {
  checkOptions('connectedComponents', options, [], ['connectivity', 'threshold', 'maxComponents'])
  const { connectivity = 4, threshold = 0, maxComponents = 1024 } = options
  checkPlane('connectedComponents', 'mask', mask)
  checkConnectivity('connectedComponents', connectivity)
  checkNumber('connectedComponents', 'threshold', threshold)
  if (!Number.isInteger(maxComponents) || maxComponents < 1) {
    throw new ShapeError(
      'connectedComponents',
      `maxComponents is a whole number of at least 1, got ${maxComponents}`,
    )
  }
  const [labels, count, areas, boxes, centroids] = apply([mask], { connectivity, threshold, maxComponents })
  return { labels: labels!, count: count!, areas: areas!, boxes: boxes!, centroids: centroids! }
}
