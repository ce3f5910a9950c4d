import type { Sample } from '../../data/dataset.ts'
import { evaluateCrops } from '../../pipelines/evaluate.ts'
import { cropTask } from '../../pipelines/tasks.ts'
import { kindOf } from '../network-kinds.ts'
import { ObjectBoxes } from '../object-boxes.ts'
import { augmentationOf } from '../settings.ts'
import type { Method } from './method.ts'

/** Segment-then-segment: a rough network finds objects, a fine one sees a crop of each (thesis 5.1). */
export const crops: Method = {
  title: 'trains a rough and a fine network; scores the rough one, and segment-then-segment, at full size',
  arms: ['rough', 'crops'],
  fullSize: true,
  networks(settings) {
    const { size, transfer } = settings
    const { title } = kindOf(settings.network)
    const augment = augmentationOf(settings)
    const whole = cropTask({ size, augment, jitter: 0, boxesOf: () => [] })
    const objects = new ObjectBoxes()
    const crops = cropTask({ size, augment, jitter: Math.min(16, size / 8), boxesOf: (s) => objects.of(s) })
    const validationOf = (samples: readonly Sample[]) => samples.flatMap((s) => objects.apart(s))
    const from = (transfer ?? true) ? { from: 'rough' } : {}
    return [
      { name: 'rough', title: `rough ${title}`, task: whole },
      { name: 'fine', title: `fine ${title}`, task: crops, validationOf, ...from },
    ]
  },
  async score(device, nets, samples, settings, signal) {
    const options = { ...settings, signal }
    const { rough, fine } = await evaluateCrops(device, nets.rough!, nets.fine!, samples, options)
    return [
      { key: 'rough', label: 'Uniform (rough net alone)', images: rough },
      { key: 'crops', label: 'Segment-then-segment', images: fine },
    ]
  },
}
