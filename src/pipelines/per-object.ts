import type { Sample, SampleData } from '../data/dataset.ts'
import { DataError } from '../gpu/errors.ts'
import { labelComponents } from './components.ts'

/** Labels of masks, kept as long as the masks are. */
const known = new WeakMap<Float32Array, Int32Array>()

function labelsOf({ mask, height, width }: SampleData): Int32Array {
  const labels = known.get(mask) ?? labelComponents(mask, height, width)
  known.set(mask, labels)
  return labels
}

/**
 * A sample for each component of each sample's truth: the training set of several-object polar segmentation (4.4), to be
 * trained on with `polarTask`. Images with many objects count often, those without any not at all. Loads every sample
 * once, one after the other, to count its components; ids are `id#1`, `id#2`, …, in raster order. Throws a DataError
 * where no image has an object.
 */
export async function perObject(samples: readonly Sample[]): Promise<Sample[]> {
  const parted: Sample[] = []
  for (const sample of samples) {
    const count = labelsOf(await sample.load()).reduce((most, label) => Math.max(most, label), 0)
    for (let k = 1; k <= count; k++) {
      const load = async (): Promise<SampleData> => {
        const data = await sample.load()
        return { ...data, object: Float32Array.from(labelsOf(data), (label) => (label === k ? 1 : 0)) }
      }
      parted.push({ ...sample, id: `${sample.id}#${k}`, load })
    }
  }
  if (samples.length > 0 && parted.length === 0)
    throw new DataError(
      `perObject: none of ${samples.length} images has an object in its mask, so there is nothing to unroll; give images with objects`,
    )
  return parted
}
