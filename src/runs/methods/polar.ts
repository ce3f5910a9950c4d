import { evaluatePolar } from '../../pipelines/evaluate.ts'
import { polarTask } from '../../pipelines/tasks.ts'
import { kindOf } from '../network-kinds.ts'
import { augmentationOf } from '../settings.ts'
import { cartesianNetwork, scoreCartesian } from './cartesian.ts'
import type { Method } from './method.ts'

/** Segmentation in polar coordinates; origins from the ground truth or from the Cartesian network (thesis 4.3, A). */
export const polar: Method = {
  title:
    'trains a Cartesian and a polar network; origins from the ground truth and from the Cartesian network',
  arms: ['cartesian', 'polar-truth', 'polar-a'],
  networks(settings) {
    const from = (settings.transfer ?? false) ? { from: 'cartesian' } : {}
    const task = polarTask({
      augment: augmentationOf(settings),
      ...(settings.originProbability === undefined ? {} : { originProbability: settings.originProbability }),
    })
    const title = `polar ${kindOf(settings.network).title}`
    return [cartesianNetwork(settings), { name: 'polar', title, task, ...from }]
  },
  async score(device, nets, samples, settings) {
    const cartesian = nets.cartesian!
    const { precision } = settings
    const scored = [await scoreCartesian(device, nets, samples, settings)]
    if (settings.origins.includes('truth')) {
      const images = await evaluatePolar(device, nets.polar!, samples, { origins: 'truth', precision })
      scored.push({ key: 'polar-truth', label: 'Polar, ground-truth origins', images })
    }
    if (settings.origins.includes('cartesian')) {
      const images = await evaluatePolar(device, nets.polar!, samples, { origins: { cartesian }, precision })
      scored.push({ key: 'polar-a', label: 'Polar, Cartesian origins (A)', images })
    }
    return scored
  },
}
