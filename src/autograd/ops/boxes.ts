import source from '../../../kernels/boxes.wgsl'
import { ShapeError } from '../../gpu/errors.ts'
import { kernel } from '../../gpu/kernel.ts'
import { defineUnaryResult } from '../op.ts'
import { checkOptions } from '../options.ts'
import { checkTensor, formatShape, type Tensor } from '../tensor.ts'
import { checkNumber, checkPlane } from './union_find.ts'

/*
 * Boxes are (left, top, width, height) in pixels: the first pixel and how many there are. Pixel i covers
 * [i − ½, i + ½], so the box of the whole image is (0, 0, W, H).
 */

const kernels = kernel('boxes', source)

/** Every parameter of the file; a launch sets those it uses. */
const none = {
  words: 0,
  row_words: 0,
  images: 0,
  boxes: 0,
  height: 0,
  width: 0,
  threshold: 0,
  padding: 0,
  min_size: 0,
}

export interface BoundingBoxesOptions {
  /** Foreground is mask > threshold. Default 0; 0.5 for probabilities. NaN is background. */
  readonly threshold?: number
  /** Added on every side, px, and clipped to the image. Default 0; the thesis's end-to-end crops take 20. */
  readonly padding?: number
}

const around = defineUnaryResult<Required<BoundingBoxesOptions>>({
  name: 'boundingBoxes',
  forward(run, [mask], { threshold, padding }) {
    const [images, height, width] = checkPlane(run.op, 'mask', mask!)
    const rowWords = Math.ceil(width / 32)
    const words = images * height * rowWords
    const extent = run.zeros([images, 4], 'uint32')
    const boxes = run.empty([images, 4])
    const params = { ...none, words, row_words: rowWords, images, height, width, threshold, padding }
    const shared = { kernel: kernels, params }
    const wide = width % 32 === 0
    run.launch({
      ...shared,
      entry: wide ? 'find_extent_wide' : 'find_extent',
      bindings: wide ? { wide_x: mask!, extent } : { x: mask!, extent },
      threads: words,
    })
    run.launch({ ...shared, entry: 'box_extent', bindings: { extent, boxes }, threads: images })
    return boxes
  },
  nonDifferentiable: 'the edges of a box step as pixels change sides',
})

/**
 * One box around all the foreground of each image; the whole image where there is none (thesis section 5.2).
 *
 * mask: float32 (N, 1, H, W) → float32 (N, 4) as (left, top, width, height), px. `padding` grows the box on
 * every side, clipped to the image. For a box a component, see connectedComponents.
 *
 * No gradient. Throws a ShapeError for other shapes.
 */
export function boundingBoxes(mask: Tensor, options: BoundingBoxesOptions = {}): Tensor {
  checkOptions('boundingBoxes', options, [], ['threshold', 'padding'])
  const { threshold = 0, padding = 0 } = options
  checkPlane('boundingBoxes', 'mask', mask)
  checkNumber('boundingBoxes', 'threshold', threshold)
  checkNumber('boundingBoxes', 'padding', padding, 0)
  return around([mask], { threshold, padding })
}

export interface SquareBoxesOptions {
  /** Size of the image that the boxes lie in, px. */
  readonly height: number
  readonly width: number
  /** Added on every side after squaring, px. Default 0; the thesis takes S/8 for an input size S. */
  readonly padding?: number
  /** A result of which a side is shorter is dropped. Default 5 px. */
  readonly minSize?: number
}

const square = defineUnaryResult<Required<SquareBoxesOptions>>({
  name: 'squareBoxes',
  forward(run, [given], { height, width, padding, minSize }) {
    const boxes = run.empty(given!.shape)
    const count = given!.size / 4
    run.launch({
      kernel: kernels,
      entry: 'square',
      bindings: { given: given!, boxes },
      params: { ...none, boxes: count, height, width, padding, min_size: minSize },
      threads: count,
    })
    return boxes
  },
  nonDifferentiable: 'boxes come from labels, which have no gradient',
})

/**
 * The crops of segment-then-segment (thesis section 5.1, Algorithm 1). For each box, in this order: squared to
 * its larger side about its centre; padded on every side; shifted inside the image, and clipped where it is
 * larger than the image (then it is no square); dropped if a side is under `minSize`. Padding counts towards
 * minSize, as in the thesis: it measures the crop. A dropped box, and an empty one (the unused rows of
 * connectedComponents' tables), stays in its place as (0, 0, 0, 0).
 *
 * boxes: float32 (…, 4) as (left, top, width, height), px → the same shape. Fractions are kept: an odd
 * difference of sides gives a box at half pixels.
 *
 * No gradient. Throws a ShapeError for other shapes or sizes.
 */
export function squareBoxes(boxes: Tensor, options: SquareBoxesOptions): Tensor {
  checkOptions('squareBoxes', options, ['height', 'width'], ['padding', 'minSize'])
  const { height, width, padding = 0, minSize = 5 } = options
  checkTensor('squareBoxes', 'boxes', boxes)
  if (boxes.dtype !== 'float32' || boxes.shape.at(-1) !== 4) {
    throw new ShapeError(
      'squareBoxes',
      `boxes must be float32 (…, 4) as (left, top, width, height), got ${boxes.dtype} ${formatShape(boxes.shape)}`,
    )
  }
  for (const [name, value] of Object.entries({ height, width })) {
    if (!Number.isInteger(value) || value < 1)
      throw new ShapeError(
        'squareBoxes',
        `${name} is the image's, a whole number of at least 1 px, got ${value}`,
      )
  }
  checkNumber('squareBoxes', 'padding', padding, 0)
  checkNumber('squareBoxes', 'minSize', minSize, 0)
  return square([boxes], { height, width, padding, minSize })
}
