import type { Sample, SampleData } from '../data/dataset.ts'
import { type Box, boxesOfLabels } from '../pipelines/boxes.ts'
import { labelComponents } from '../pipelines/components.ts'

/** Crops of one image in validation. */
const APART = 4

/**
 * Boxes of a sample's objects: the components of its mask, as the fine network will meet them, where touching
 * objects are one; found once a sample.
 */
export class ObjectBoxes {
  readonly #known = new WeakMap<Float32Array, readonly Box[]>()
  readonly #chosen = new WeakMap<SampleData, Box>()

  of(sample: SampleData): readonly Box[] {
    const chosen = this.#chosen.get(sample)
    if (chosen) return [chosen]
    const { mask, height, width } = sample
    const boxes = this.#known.get(mask) ?? boxesOfLabels(labelComponents(mask, height, width), height, width)
    this.#known.set(mask, boxes)
    return boxes
  }

  /** The sample several times, each time with another of its objects: a validation of more than one crop an image. */
  apart(sample: Sample): Sample[] {
    return Array.from({ length: APART }, (_, k) => ({
      ...sample,
      id: `${sample.id}#${k}`,
      load: async () => {
        const data = { ...(await sample.load()) }
        const boxes = this.of(data)
        const box = boxes[Math.floor(((k + 0.5) / APART) * boxes.length)]
        if (box) this.#chosen.set(data, box)
        return data
      },
    }))
  }
}
