import { add } from '../autograd/ops/add.ts'
import { boundingBoxes } from '../autograd/ops/boxes.ts'
import { lt } from '../autograd/ops/comparison.ts'
import { div } from '../autograd/ops/div.ts'
import { max } from '../autograd/ops/max.ts'
import { mul } from '../autograd/ops/mul.ts'
import { square } from '../autograd/ops/pow.ts'
import { reshape } from '../autograd/ops/reshape.ts'
import { sub } from '../autograd/ops/sub.ts'
import type { Tensor } from '../autograd/tensor.ts'
import type { SampleData } from '../data/dataset.ts'
import { unitHash } from '../data/split.ts'
import { type AugmentOptions, NO_AUGMENTATION } from './augment.ts'
import { cartesianTask, type TrainingTask } from './tasks.ts'
import { column } from './transforms/affine.ts'

/** What is known of an object: its box, or one point in it. */
export type WeakLabel = 'box' | 'point'

/** Options of `weakTask`. */
export interface WeakTaskOptions {
  readonly label: WeakLabel
  /** 'point': radius of the disc that stands for the object, as a part of the shorter side; 0.15. */
  readonly radius?: number
  readonly augment?: AugmentOptions
}

/**
 * Trains a localiser from weak labels: its truth is the ellipse that fills an object's box, or a disc about one point in the
 * object. Its map has a centre of mass, which is all that a polar origin wants. The weak labels are made here from masks,
 * one box around all of the foreground; the point is a pixel of the object that is drawn once an image, so validation is
 * against weak labels, too.
 */
export function weakTask({ label, radius = 0.15, augment = NO_AUGMENTATION }: WeakTaskOptions): TrainingTask {
  const whole = cartesianTask(augment)
  return {
    name: `weak-${label}`,
    feed: (device, samples, prng, training) =>
      whole.feed(
        device,
        label === 'point' ? samples.map((s) => pointed(s, radius)) : samples,
        prng,
        training,
      ),
    prepare(args, training) {
      const { input, target } = whole.prepare(args, training)
      return { input, target: label === 'box' ? ellipses(target) : target }
    },
  }
}

/** The sample with a disc about one of its object's pixels as its mask. */
function pointed(sample: SampleData, radius: number): SampleData {
  const { mask, height, width } = sample
  const inside = [...mask.keys()].filter((i) => mask[i]! > 0)
  const centre =
    inside.length > 0 ? inside[Math.floor(unitHash('point', String(sum(mask))) * inside.length)] : undefined
  const r = radius * Math.min(height, width)
  const disc = mask.map((_, i) => {
    if (centre === undefined) return 0
    const [dx, dy] = [(i % width) - (centre % width), Math.floor(i / width) - Math.floor(centre / width)]
    return Math.hypot(dx, dy) <= r ? 1 : 0
  })
  return { ...sample, mask: disc }
}

/** A number that tells masks apart, the same in every epoch. */
const sum = (mask: Float32Array): number => mask.reduce((s, v, i) => (s + v * (i + 1)) % 2147483647, 0)

/** The ellipse that fills the box of each mask (N, 1, H, W). */
function ellipses(target: Tensor): Tensor {
  const [n, , h, w] = target.shape as [number, number, number, number]
  const boxes = boundingBoxes(target, { threshold: 0.5 })
  const { device } = target
  const along = (axis: 0 | 1, size: number): Tensor => {
    const shape = axis === 0 ? [1, 1, 1, size] : [1, 1, size, 1]
    const at = device.tensor(
      Float32Array.from({ length: size }, (_, i) => i + 0.5),
      shape,
    )
    const half = mul(column(boxes, 2 + axis), 0.5)
    const middle = add(column(boxes, axis), half)
    const each = (t: Tensor) => reshape(t, { shape: [n, 1, 1, 1] })
    return square(div(sub(at, each(middle)), each(half)))
  }
  // An empty mask's box is the whole image: it stays empty.
  const any = max(target, { axes: [1, 2, 3], keepDims: true })
  return mul(lt(add(along(0, w), along(1, h)), 1), any)
}
