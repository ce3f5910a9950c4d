import { evaluateSeveral } from '../../pipelines/evaluate.ts'
import type { SweepPoint } from '../../pipelines/fuse.ts'
import { perObject } from '../../pipelines/per-object.ts'
import { summarizeScores } from '../../pipelines/scores.ts'
import { polarTask } from '../../pipelines/tasks.ts'
import { kindOf } from '../network-kinds.ts'
import { augmentationOf } from '../settings.ts'
import { cartesianNetwork, scoreCartesian } from './cartesian.ts'
import type { Method, Scored, ThresholdScores } from './method.ts'

/** t₁ and t₂ of the sweep. */
const SWEEP = { low: [0, 0.2, 0.4], high: [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9] }

/** Means over images, a line a pair of thresholds. */
const meansOf = (points: readonly SweepPoint[]): ThresholdScores[] =>
  points.map(({ low, high, scores }) => {
    const { precision, recall, dice } = summarizeScores(scores)
    return { low, high, precision: precision.mean, recall: recall.mean, dice: dice.mean }
  })

/** A polar image for each of an image's objects, their predictions fused (thesis 4.4). */
export const several: Method = {
  title: 'a Cartesian network, and a polar one on an image about each object; predictions fused (thesis 4.4)',
  arms: ['cartesian', 'several-truth', 'several'],
  userOrigins: [],
  networks(settings) {
    const task = polarTask({
      augment: augmentationOf(settings),
      ...(settings.originProbability === undefined ? {} : { originProbability: settings.originProbability }),
    })
    const from = (settings.transfer ?? false) ? { from: 'cartesian' } : {}
    const objects = { trainOf: perObject, validationOf: perObject }
    const title = `polar ${kindOf(settings.network).title}, an image an object`
    return [cartesianNetwork(settings), { name: 'polar', title, task, ...objects, ...from }]
  },
  async score(device, nets, samples, settings, signal) {
    const { precision, hysteresis, origins } = settings
    const [rough, fine] = [nets.cartesian!, nets.polar!]
    const scored: Scored[] = [await scoreCartesian(device, nets, samples, settings, signal)]
    const options = { precision, signal, ...hysteresis }
    if (origins.includes('truth')) {
      const { images } = await evaluateSeveral(device, fine, samples, { ...options, origins: 'truth' })
      scored.push({ key: 'several-truth', label: 'Polar by object, true origins', images })
    }
    // What is predicted for a user has no truth to sweep against.
    const sweep = origins.length > 0 ? SWEEP : undefined
    const { images, points } = await evaluateSeveral(device, fine, samples, {
      ...options,
      origins: { cartesian: rough },
      ...(sweep ? { sweep } : {}),
    })
    const thresholds = points ? { thresholds: meansOf(points) } : {}
    scored.push({ key: 'several', label: 'Polar by object, fused', images, ...thresholds })
    return scored
  },
}
