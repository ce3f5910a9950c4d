import type { Device } from '../autograd/device.ts'
import { add } from '../autograd/ops/add.ts'
import { affineWarp } from '../autograd/ops/affine-warp.ts'
import { centerOfMass } from '../autograd/ops/center-of-mass.ts'
import { gt } from '../autograd/ops/comparison.ts'
import { concat } from '../autograd/ops/concat.ts'
import { cropResize } from '../autograd/ops/crop-resize.ts'
import { gridWarp } from '../autograd/ops/grid-warp.ts'
import { interpolate } from '../autograd/ops/interpolate.ts'
import { polarWarp } from '../autograd/ops/polar-warp.ts'
import { slice } from '../autograd/ops/slice.ts'
import type { Prng } from '../autograd/random.ts'
import type { Tensor } from '../autograd/tensor.ts'
import type { SampleData } from '../data/dataset.ts'
import { DataError } from '../gpu/errors.ts'
import { type AugmentOptions, drawAugmentation, NO_AUGMENTATION } from './augment.ts'
import { type Box, jitterBox, squareBox } from './boxes.ts'
import type { ParameterFunction } from './transforms/parameters.ts'
import type { PolarOptions } from './transforms/polar.ts'
import type { Transform } from './transforms/transform.ts'

/** How samples become what a network is trained on. */
export interface TrainingTask {
  readonly name: string
  /** Uploads a batch with this step's random draws. The tensors are the arguments of the compiled step. */
  feed(device: Device, samples: readonly SampleData[], prng: Prng, training: boolean): Tensor[]
  /** From the arguments to network input (N, C, H, W) and target (N, 1, H, W); runs inside the compiled step. */
  prepare(args: readonly Tensor[], training: boolean): { input: Tensor; target: Tensor }
}

/** Images of one size as a tensor (N, C, H, W). */
export function stackImages(device: Device, samples: readonly SampleData[]): Tensor {
  const { channels, height, width } = samples[0]!
  const plane = height * width
  const images = new Float32Array(samples.length * channels * plane)
  samples.forEach((s, i) => {
    if (s.height !== height || s.width !== width || s.channels !== channels) {
      throw new DataError(
        `a batch holds images of one size: ${channels}×${height}×${width} and ${s.channels}×${s.height}×${s.width}; open the data set with a size`,
      )
    }
    images.set(s.image, i * channels * plane)
  })
  return device.tensor(images, [samples.length, channels, height, width])
}

/** Images and masks of one size as two tensors: (N, C, H, W) and (N, 1, H, W). */
export function stackSamples(device: Device, samples: readonly SampleData[]): { x: Tensor; y: Tensor } {
  const x = stackImages(device, samples)
  const { height, width } = samples[0]!
  const masks = new Float32Array(samples.length * height * width)
  samples.forEach((s, i) => {
    masks.set(s.mask, i * height * width)
  })
  return { x, y: device.tensor(masks, [samples.length, 1, height, width]) }
}

/** Uploads this step's augmentation: matrices (N, 2, 3) and grid displacements (N, 2, g, g). */
export function feedAugmentation(device: Device, options: AugmentOptions, x: Tensor, prng: Prng): Tensor[] {
  const [n, , h, w] = x.shape as [number, number, number, number]
  const { matrices, displacements, nodes } = drawAugmentation(options, n, h, w, prng)
  const result = [device.tensor(matrices, [n, 2, 3])]
  if ((options.grid ?? 0) > 0) result.push(device.tensor(displacements, [n, 2, nodes, nodes]))
  return result
}

/** Warps image and mask by the same draw: the image bilinear with its border repeated, the mask nearest and zero outside. */
export function applyAugmentation(
  x: Tensor,
  y: Tensor,
  [matrix, grid]: readonly Tensor[],
): { x: Tensor; y: Tensor } {
  let [xa, ya] = [x, y]
  if (matrix) {
    xa = affineWarp(xa, matrix, { paddingMode: 'border' })
    ya = affineWarp(ya, matrix, { mode: 'nearest' })
  }
  if (grid) {
    xa = gridWarp(xa, grid, { paddingMode: 'border' })
    ya = gridWarp(ya, grid, { mode: 'nearest' })
  }
  return { x: xa, y: ya }
}

/** Plain segmentation of whole images. */
export function cartesianTask(augment: AugmentOptions = NO_AUGMENTATION): TrainingTask {
  return {
    name: 'cartesian',
    feed(device, samples, prng, training) {
      const { x, y } = stackSamples(device, samples)
      return training ? [x, y, ...feedAugmentation(device, augment, x, prng)] : [x, y]
    },
    prepare([x, y, ...augmentation]) {
      const { x: input, y: target } = applyAugmentation(x!, y!, augmentation)
      return { input, target }
    },
  }
}

/** Segmentation of images that are shrunken to a square of `size` px on the GPU: the coarse network of `EndToEndCrops`. */
export function shrunkenTask({
  size,
  augment = NO_AUGMENTATION,
}: {
  readonly size: number
  readonly augment?: AugmentOptions
}): TrainingTask {
  const whole = cartesianTask(augment)
  return {
    name: 'shrunken',
    feed: whole.feed,
    prepare(args, training) {
      const { input, target } = whole.prepare(args, training)
      return {
        input: interpolate(input, { size, mode: 'bilinear' }),
        target: gt(interpolate(target, { size, mode: 'bilinear' }), 0.5),
      }
    },
  }
}

export interface PolarTaskOptions extends PolarOptions {
  readonly augment?: AugmentOptions
  /** Probability that a training origin is moved (thesis: 0.3). */
  readonly originProbability?: number
  /** Largest move of each coordinate, as a part of the shorter side (thesis: 0.05). */
  readonly originShift?: number
}

/** The truth (N, 1, H, W), and behind it as a second channel the objects that the samples are about, if they are. */
function withObjects(device: Device, samples: readonly SampleData[], y: Tensor): Tensor {
  if (!samples[0]!.object) return y
  const plane = samples[0]!.mask.length
  const objects = new Float32Array(samples.length * plane)
  samples.forEach((s, i) => {
    if (!s.object)
      throw new DataError(
        'polarTask: some samples are about one object and some are not; take all of perObject',
      )
    objects.set(s.object, i * plane)
  })
  const object = device.tensor(objects, y.shape)
  const both = concat([y, object], { axis: 1 })
  for (const t of [y, object]) t.dispose()
  return both
}

/** One channel of (N, C, H, W). */
const channel = (x: Tensor, k: number): Tensor =>
  slice(x, { starts: [0, k, 0, 0], ends: [x.shape[0]!, k + 1, x.shape[2]!, x.shape[3]!] })

/**
 * Segmentation of polar images about the centre of mass of the ground truth, moved a little in training (4.6). Samples
 * of `perObject` are unrolled about their object; the truth is all objects that its polar image shows (4.4).
 */
export function polarTask(options: PolarTaskOptions = {}): TrainingTask {
  const { augment = NO_AUGMENTATION, originProbability = 0.3, originShift = 0.05, ...polar } = options
  return {
    name: 'polar',
    feed(device, samples, prng, training) {
      const { x, y: truth } = stackSamples(device, samples)
      const y = withObjects(device, samples, truth)
      const [n, , h, w] = x.shape as [number, number, number, number]
      const limit = originShift * Math.min(h, w)
      const moves = new Float32Array(2 * n)
      for (let i = 0; i < n; i++) {
        const moved = prng.uniform() < originProbability
        for (let k = 0; k < 2; k++) {
          const move = (2 * prng.uniform() - 1) * limit
          if (moved && training) moves[2 * i + k] = move
        }
      }
      const origin = device.tensor(moves, [n, 2])
      return training ? [x, y, origin, ...feedAugmentation(device, augment, x, prng)] : [x, y, origin]
    },
    prepare([x, y, move, ...augmentation]) {
      const varied = applyAugmentation(x!, y!, augmentation)
      const parted = varied.y.shape[1] === 2
      const center = add(centerOfMass(parted ? channel(varied.y, 1) : varied.y), move!)
      return {
        input: polarWarp(varied.x, center, polar),
        target: polarWarp(parted ? channel(varied.y, 0) : varied.y, center, { ...polar, mode: 'nearest' }),
      }
    },
  }
}

export interface CropTaskOptions {
  /** Side of the crops, pixels. */
  readonly size: number
  /** Added on every side of the squared box, pixels of the full image; default size/8. */
  readonly padding?: number
  /** Each of left, top, width and height of a training box moves by a whole number up to this (thesis: 16). */
  readonly jitter?: number
  readonly augment?: AugmentOptions
  /** Boxes of the objects of a sample. */
  readonly boxesOf: (sample: SampleData) => readonly Box[]
}

/**
 * Crops around one random object of each image, from the full-resolution image, resized to one size
 * (5.1): the fine network of segment-then-segment. The whole image where it has no object. In validation
 * the first object's box, without jitter.
 */
export function cropTask(options: CropTaskOptions): TrainingTask {
  const { size, padding = Math.round(size / 8), jitter = 16, augment = NO_AUGMENTATION, boxesOf } = options
  return {
    name: 'crops',
    feed(device, samples, prng, training) {
      const uploads = samples.map((s) => {
        const boxes = boxesOf(s)
        const pick = training ? Math.floor(prng.uniform() * boxes.length) : 0
        const squared = boxes[pick]
          ? squareBox(boxes[pick], { padding, height: s.height, width: s.width })
          : wholeImage(s)
        const box = training ? jitterBox(squared, jitter, s, prng) : squared
        return { ...stackSamples(device, [s]), box: device.tensor(Float32Array.from(box), [1, 4]) }
      })
      const xs = uploads.map(({ x, box }) => cropResize(x, box, { size }))
      const ys = uploads.map(({ y, box }) => cropResize(y, box, { size, mode: 'nearest' }))
      const x = concat(xs, { axis: 0 })
      const y = concat(ys, { axis: 0 })
      for (const u of uploads) for (const t of [u.x, u.y, u.box]) t.dispose()
      for (const t of [...xs, ...ys]) t.dispose()
      return training ? [x, y, ...feedAugmentation(device, augment, x, prng)] : [x, y]
    },
    prepare([x, y, ...augmentation]) {
      const { x: input, y: target } = applyAugmentation(x!, y!, augmentation)
      return { input, target }
    },
  }
}

const wholeImage = (s: SampleData): Box => [0, 0, s.width, s.height]

/** Options of `transformedTask`. */
export interface TransformedTaskOptions {
  readonly transform: Transform
  /** f_ϕ, applied to the ground truth. */
  readonly parameters: ParameterFunction
  /** z_ϕ: with this probability each parameter of an image moves uniformly within ± its `within`. */
  readonly noise?: {
    readonly probability: number
    /** One for each parameter, in its unit. */
    readonly within: readonly number[]
  }
  readonly augment?: AugmentOptions
}

/**
 * Segmentation of transformed images (4.6), for any transform: T_ϕ(I) and T_ϕ(M_gt) with ϕ = f_ϕ(M_gt) + z_ϕ.
 * Without noise in validation.
 */
export function transformedTask(options: TransformedTaskOptions): TrainingTask {
  const { transform, parameters, noise, augment = NO_AUGMENTATION } = options
  const count = transform.parameterCount
  if (noise && noise.within.length !== count)
    throw new DataError(
      `transformedTask: ${transform.name} has ${count} parameters, the noise is given for ${noise.within.length}`,
    )
  return {
    name: transform.name,
    feed(device, samples, prng, training) {
      const { x, y } = stackSamples(device, samples)
      const n = samples.length
      const moves = new Float32Array(count * n)
      for (let i = 0; i < n; i++) {
        const moved = prng.uniform() < (noise?.probability ?? 0)
        for (let k = 0; k < count; k++) {
          const move = (2 * prng.uniform() - 1) * (noise?.within[k] ?? 0)
          if (moved && training) moves[count * i + k] = move
        }
      }
      const z = device.tensor(moves, [n, count])
      return training ? [x, y, z, ...feedAugmentation(device, augment, x, prng)] : [x, y, z]
    },
    prepare([x, y, z, ...augmentation]) {
      const varied = applyAugmentation(x!, y!, augmentation)
      const phi = add(parameters(varied.y, varied.x), z!)
      return {
        input: transform.apply(varied.x, phi),
        target: transform.apply(varied.y, phi, { mode: 'nearest' }),
      }
    },
  }
}
