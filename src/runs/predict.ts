import type { Device } from '../autograd/device.ts'
import type { Sample, SampleData } from '../data/dataset.ts'
import { type FlipAxes, mirrorings } from '../pipelines/inference.ts'
import { fillHoles, keepLargest } from '../pipelines/postprocess.ts'
import type { Method, Networks } from './methods/method.ts'
import type { Settings } from './settings.ts'

/** What is done beside one pass through a run's networks. */
export interface Refinement {
  /** Mirror images whose maps are averaged with the image's own: left and right, up and down, or all four. */
  readonly flip?: FlipAxes
  /** Components that a mask keeps, the largest first. */
  readonly keepLargest?: number
  readonly fillHoles?: boolean
}

/** Planes (…, H, W) mirrored along x and/or y. */
function mirrored(planes: Float32Array, [h, w]: readonly [number, number], x: boolean, y: boolean) {
  if (!x && !y) return planes
  return planes.map((_, i) => {
    const [row, column] = [Math.floor(i / w), i % w]
    const from = y ? row - (row % h) + (h - 1 - (row % h)) : row
    return planes[from * w + (x ? w - 1 - column : column)]!
  })
}

/**
 * Probability maps (H, W) of prepared images, each in its own size: what `fovea predict` writes. Whole images are mirrored
 * for `flip`, so that every step of a method sees them so. With `keepLargest` or `fillHoles` the maps hold 0 and 1;
 * components are 4-connected, and of filled masks the largest are kept.
 */
export async function predictMasks(
  device: Device,
  method: Method,
  settings: Settings,
  nets: Networks,
  images: readonly SampleData[],
  { flip, keepLargest: k, fillHoles: filled = false }: Refinement = {},
): Promise<Float32Array[]> {
  const passes = flip ? mirrorings(flip) : [[false, false] as const]
  const sums = images.map(({ height, width }) => new Float32Array(height * width))
  for (const [x, y] of passes) {
    const samples = images.map((data, i): Sample => {
      const size = [data.height, data.width] as const
      const { inRange } = data
      const seen: SampleData = {
        ...data,
        image: mirrored(data.image, size, x, y),
        ...(inRange ? { inRange: mirrored(inRange, size, x, y) } : {}),
      }
      return { id: String(i), group: '', imagePath: '', originalSize: [...size], load: async () => seen }
    })
    // The mask that a user gets is the last one: origins that a network found, fine crops.
    const scored = await method.score(device, nets, samples, {
      ...settings,
      origins: method.userOrigins ?? ['cartesian'],
    })
    for (const [i, { prediction }] of scored.at(-1)!.images.entries()) {
      const { height, width } = images[i]!
      const sum = sums[i]!
      mirrored(prediction, [height, width], x, y).forEach((v, p) => {
        sum[p]! += v / passes.length
      })
    }
  }
  if (k === undefined && !filled) return sums
  const masks: Float32Array[] = []
  for (const [i, map] of sums.entries()) {
    const { height, width } = images[i]!
    const mask = device.noGrad(() =>
      device.scope(() => {
        const read = device.tensor(map, [1, 1, height, width])
        const whole = filled ? fillHoles(read) : read
        return k === undefined ? whole : keepLargest(whole, { k })
      }),
    )
    masks.push(Float32Array.from(await mask.data()))
    mask.dispose()
  }
  return masks
}
