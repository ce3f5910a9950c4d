import type { Device } from '../autograd/device.ts'
import { squareBoxes } from '../autograd/ops/boxes.ts'
import { connectedComponents } from '../autograd/ops/connected-components.ts'
import { cropResize } from '../autograd/ops/crop-resize.ts'
import { interpolate } from '../autograd/ops/interpolate.ts'
import { pasteBoxes } from '../autograd/ops/paste-boxes.ts'
import { slice } from '../autograd/ops/slice.ts'
import type { Tensor } from '../autograd/tensor.ts'
import { evenSpans, firstRows, joined, objectsAPass, ownersOf } from './object-rows.ts'

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
  /** Crops in one forward pass of the fine network at most; default 2¹⁸ pixels of them, 64 for S = 64. */
  readonly cropBatch?: number
  /** Components of an image that are refined at most; further ones are left out. */
  readonly maxObjects?: number
}

/** Result for the images of one tensor. */
export interface SegmentThenSegmentResult {
  /** Rough masks at the images' size (N, 1, H, W), probabilities. */
  readonly rough: Tensor
  /** Refined masks (N, 1, H, W), probabilities; of an image without a component all zero. */
  readonly mask: Tensor
  /**
   * Squared and padded boxes (M, 4) in pixels, those of the first image first. One that was dropped is (0, 0, 0, 0): its
   * component is not in the mask.
   */
  readonly boxes: Tensor
  /** Boxes of each image, M in all. */
  readonly counts: readonly number[]
}

/**
 * Segment-then-segment (5.1, algorithm 1): a rough mask of the shrunken image, a box around each of its
 * components, each box cut from the full-resolution image, segmented, laid back. Each tensor (N, C, H, W) holds images of
 * one size; tensors may differ in size. All images are shrunken for one pass of the rough network, and the crops of all
 * go through the fine network together; the one wait for the GPU reads how many components each image has.
 *
 * An image without a component gets an empty mask. A component at the border has its box shifted inside, and a box larger
 * than the image is clipped to it, then the crop is stretched.
 */
export async function segmentThenSegment(
  device: Device,
  images: readonly Tensor[],
  options: SegmentThenSegmentOptions,
): Promise<SegmentThenSegmentResult[]> {
  const { size, cropBatch = objectsAPass(size, size), maxObjects = 1024, overlap = 'max' } = options
  if (images.length === 0) return []
  const found = device.noGrad(() => device.scope(() => findObjects(device, images, options)))
  const all = Array.from(await found.counts.data(), (n) => Math.min(n, maxObjects))
  found.counts.dispose()
  return device.noGrad(() =>
    device.scope(() => {
      let image = 0
      let begin = 0
      const groups = images.map((x, i): Group => {
        const counts = all.slice(image, image + x.shape[0]!)
        image += counts.length
        const index = ownersOf(counts)
        const first = begin
        begin += index.length
        return {
          x,
          counts,
          index,
          begin: first,
          boxes: firstRows(found.boxes[i]!, counts) ?? device.zeros([0, 4]),
        }
      })
      for (const b of found.boxes) b.dispose()
      const passes = evenSpans(begin, cropBatch).map(([from, to]) =>
        options.fine(cropsOf(groups, from, to, size)),
      )
      const refined = passes.length > 0 ? joined(passes) : undefined
      return groups.map(({ x, counts, index, begin, boxes }, i): SegmentThenSegmentResult => {
        const [n, , height, width] = x.shape as [number, number, number, number]
        const rough = found.rough[i]!
        if (!refined || index.length === 0)
          return { rough, mask: device.zeros([n, 1, height, width]), boxes, counts }
        const batchIndex = device.tensor(index, [index.length])
        const own = groups.length > 1 ? rows(refined, begin, begin + index.length) : refined
        const mask = pasteBoxes(own, boxes, { height, width, batchIndex, images: n, reduce: overlap })
        return { rough, mask, boxes, counts }
      })
    }),
  )
}

/** Images of one size and their boxes, which are those from `begin` on among all. */
interface Group {
  readonly x: Tensor
  readonly boxes: Tensor
  /** The image of each box. */
  readonly index: Int32Array
  readonly counts: readonly number[]
  readonly begin: number
}

/** Crops of the boxes from…to among all. */
function cropsOf(groups: readonly Group[], from: number, to: number, size: number): Tensor {
  const parts = groups.flatMap(({ x, boxes, index, begin }) => {
    const [a, b] = [Math.max(from - begin, 0), Math.min(to - begin, index.length)]
    if (a >= b) return []
    const some = b - a < index.length ? slice(boxes, { starts: [a, 0], ends: [b, 4] }) : boxes
    const batchIndex = x.device.tensor(index.slice(a, b), [b - a])
    return [cropResize(x, some, { size, batchIndex })]
  })
  return joined(parts)
}

/** Rough masks at full size, tables of their components' boxes (squared, padded), and how many there are. */
function findObjects(device: Device, images: readonly Tensor[], options: SegmentThenSegmentOptions) {
  const { size, padding = Math.round(size / 8), minSize = 5, maxObjects = 1024 } = options
  const small = images.map((x) => {
    const [n, , height, width] = x.shape as [number, number, number, number]
    const whole = Array.from({ length: n }, () => [0, 0, width, height]).flat()
    return cropResize(x, device.tensor(whole, [n, 4]), { size })
  })
  const maps = options.rough(joined(small))
  let begin = 0
  const parts = images.map((x) => {
    const [n, , height, width] = x.shape as [number, number, number, number]
    const own = images.length > 1 ? rows(maps, begin, begin + n) : maps
    begin += n
    const rough = interpolate(own, { size: [height, width], mode: 'bilinear' })
    const { boxes, count } = connectedComponents(rough, { threshold: 0.5, maxComponents: maxObjects })
    return { rough, boxes: squareBoxes(boxes, { padding, height, width, minSize }), count }
  })
  return {
    rough: parts.map((p) => p.rough),
    boxes: parts.map((p) => p.boxes),
    counts: joined(parts.map((p) => p.count)),
  }
}

/** Rows from…to of the first axis. */
function rows(x: Tensor, from: number, to: number): Tensor {
  return slice(x, { starts: [from, 0, 0, 0], ends: [to, ...x.shape.slice(1)] })
}
