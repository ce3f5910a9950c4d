import type { Device } from '../autograd/device.ts'
import { squareBoxes } from '../autograd/ops/boxes.ts'
import { concat } from '../autograd/ops/concat.ts'
import { connectedComponents } from '../autograd/ops/connected-components.ts'
import { cropResize } from '../autograd/ops/crop-resize.ts'
import { interpolate } from '../autograd/ops/interpolate.ts'
import { pasteBoxes } from '../autograd/ops/paste-boxes.ts'
import { reshape } from '../autograd/ops/reshape.ts'
import { slice } from '../autograd/ops/slice.ts'
import type { Tensor } from '../autograd/tensor.ts'

export interface SegmentThenSegmentOptions {
  /** Images (N, C, S, S) to rough masks (N, 1, S, S). */
  readonly rough: (x: Tensor) => Tensor
  /** Crops (M, C, S, S) to their masks (M, 1, S, S). */
  readonly fine: (x: Tensor) => Tensor
  /** Side S of both networks' input, pixels. */
  readonly size: number
  /** Added on every side of a squared box; default S/8. */
  readonly padding?: number
  /** Boxes with a side below this are dropped; default 5 pixels. */
  readonly minSize?: number
  /** How overlapping crops are joined: the greatest probability, or a logical or. */
  readonly overlap?: 'max' | 'or'
  /** Crops in one forward pass of the fine network. */
  readonly cropBatch?: number
  /** Components of an image that are refined at most; further ones are left out. */
  readonly maxObjects?: number
}

/** Result for one image. */
export interface SegmentThenSegmentResult {
  /** Rough mask at the image's size (1, 1, H, W), probabilities. */
  readonly rough: Tensor
  /** Refined mask (1, 1, H, W), probabilities. */
  readonly mask: Tensor
  /** Squared and padded boxes (M, 4) in pixels. */
  readonly boxes: Tensor
}

/**
 * Segment-then-segment (5.1, algorithm 1): a rough mask of the shrunken image, a box around each of its
 * components, each box cut from the full-resolution image, segmented, laid back. Images (1, C, H, W) may
 * differ in size. The crops of all images go through the fine network together; the one wait for the GPU
 * reads how many components each image has.
 */
export async function segmentThenSegment(
  device: Device,
  images: readonly Tensor[],
  options: SegmentThenSegmentOptions,
): Promise<SegmentThenSegmentResult[]> {
  const { size, cropBatch = 32, maxObjects = 1024, overlap = 'max' } = options
  const found = device.noGrad(() => device.scope(() => findObjects(device, images, options)))
  const counts = (await found.counts.data()).map((n) => Math.min(n, maxObjects))
  found.counts.dispose()
  return device.noGrad(() =>
    device.scope(() => {
      const boxes = images.map((_, i) => slice(found.boxes[i]!, { starts: [0, 0], ends: [counts[i]!, 4] }))
      const crops = images.flatMap((x, i) => (counts[i]! > 0 ? [cropResize(x, boxes[i]!, { size })] : []))
      const refined =
        crops.length > 0 ? inBatches(concat(crops, { axis: 0 }), cropBatch, options.fine) : undefined
      let from = 0
      const results = images.map((x, i): SegmentThenSegmentResult => {
        const [height, width] = [x.shape[2]!, x.shape[3]!]
        const count = counts[i]!
        const begin = from
        from += count
        const mask =
          refined && count > 0
            ? pasteBoxes(rows(refined, begin, from), boxes[i]!, { height, width, images: 1, reduce: overlap })
            : device.zeros([1, 1, height, width])
        return { rough: found.rough[i]!, mask, boxes: boxes[i]! }
      })
      for (const b of found.boxes) b.dispose()
      return results
    }),
  )
}

/** Rough masks at full size, boxes of their components (squared, padded), and how many there are. */
function findObjects(device: Device, images: readonly Tensor[], options: SegmentThenSegmentOptions) {
  const { size, padding = Math.round(size / 8), minSize = 5, maxObjects = 1024 } = options
  const small = images.map((x) => {
    const [height, width] = [x.shape[2]!, x.shape[3]!]
    return cropResize(x, device.tensor([0, 0, width, height], [1, 4]), { size })
  })
  const maps = options.rough(concat(small, { axis: 0 }))
  const parts = images.map((x, i) => {
    const [height, width] = [x.shape[2]!, x.shape[3]!]
    const rough = interpolate(rows(maps, i, i + 1), { size: [height, width], mode: 'bilinear' })
    const { boxes, count } = connectedComponents(rough, { threshold: 0.5, maxComponents: maxObjects })
    const squared = squareBoxes(reshape(boxes, { shape: [maxObjects, 4] }), {
      padding,
      height,
      width,
      minSize,
    })
    return { rough, boxes: squared, count }
  })
  return {
    rough: parts.map((p) => p.rough),
    boxes: parts.map((p) => p.boxes),
    counts: concat(
      parts.map((p) => p.count),
      { axis: 0 },
    ),
  }
}

/** Rows from…to of the first axis. */
function rows(x: Tensor, from: number, to: number): Tensor {
  return slice(x, { starts: [from, 0, 0, 0], ends: [to, ...x.shape.slice(1)] })
}

function inBatches(x: Tensor, batch: number, f: (x: Tensor) => Tensor): Tensor {
  const n = x.shape[0]!
  if (n <= batch) return f(x)
  const parts: Tensor[] = []
  for (let i = 0; i < n; i += batch) parts.push(f(rows(x, i, Math.min(i + batch, n))))
  return concat(parts, { axis: 0 })
}
