import { resizeLabels } from '../src/data/resize.ts'
import { DataError } from '../src/gpu/errors.ts'
import { openDataset } from '../src/node/folders.ts'
import { boxesOfLabels } from '../src/pipelines/boxes.ts'
import { labelComponents } from '../src/pipelines/components.ts'

/** Objects for methods that take an image apart by them. */
export interface Scene {
  /** What they are, for the table. */
  readonly title: string
  /** Size of the image, px. */
  readonly height: number
  readonly width: number
  /** Where objects are, at any size: (H, W) of 0 and 1. */
  readonly at: (height: number, width: number) => Float32Array
}

/** Rows and columns of discs. */
const GRID = [11, 14] as const

/** Discs of several sizes in a grid: 154 objects. */
export const DISCS: Scene = {
  title: 'discs',
  height: 520,
  width: 696,
  at(height, width) {
    const pitch = Math.min(height / GRID[0], width / GRID[1])
    return Float32Array.from({ length: height * width }, (_, i) => {
      const [x, y] = [((i % width) * GRID[1]) / width, (Math.floor(i / width) * GRID[0]) / height]
      const [column, row] = [Math.floor(x), Math.floor(y)]
      const radius = 0.2 + 0.03 * ((7 * row + 3 * column) % 6)
      const [dx, dy] = [((x - column - 0.5) * width) / GRID[1], ((y - row - 0.5) * height) / GRID[0]]
      return Math.hypot(dx, dy) < radius * pitch ? 1 : 0
    })
  },
}

/** Objects of an image from which on it counts as one of many. */
const MANY = 100

/**
 * The objects of the first image of a folder, by id, that has at least 100, touching ones as one.
 *
 * @throws DataError when none has
 */
export async function sceneOf(folder: string): Promise<Scene> {
  const { samples } = await openDataset(folder)
  for (const { id, load } of samples) {
    const { mask, height, width } = await load()
    const objects = boxesOfLabels(labelComponents(mask, height, width), height, width).length
    if (objects < MANY) continue
    const labels = Int32Array.from(mask)
    const at = (h: number, w: number) => Float32Array.from(resizeLabels(labels, [height, width], [h, w]))
    return { title: id, height, width, at }
  }
  throw new DataError(
    `bench --data ${folder}: none of its ${samples.length} images has ${MANY} objects; give a folder of images with many`,
  )
}
