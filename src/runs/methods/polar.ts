import type { Device } from '../../autograd/device.ts'
import type { Sample } from '../../data/dataset.ts'
import type { Module } from '../../nn/module.ts'
import { evaluatePolar, type PolarEvaluation } from '../../pipelines/evaluate.ts'
import { polarTask } from '../../pipelines/tasks.ts'
import { kindOf } from '../network-kinds.ts'
import { augmentationOf, type Settings } from '../settings.ts'
import { cartesianNetwork, scoreCartesian } from './cartesian.ts'
import type { Method, Scored } from './method.ts'

/** What a polar network makes of the held-out images with origins from one source. */
export async function polarArm(
  [key, label]: readonly [key: string, label: string],
  device: Device,
  net: Module,
  samples: readonly Sample[],
  { precision }: Settings,
  origins: PolarEvaluation['origins'],
  signal?: AbortSignal,
): Promise<Scored> {
  return { key, label, images: await evaluatePolar(device, net, samples, { origins, precision, signal }) }
}

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
  async score(device, nets, samples, settings, signal) {
    const arm = (name: readonly [string, string], origins: PolarEvaluation['origins']) =>
      polarArm(name, device, nets.polar!, samples, settings, origins, signal)
    const scored = [await scoreCartesian(device, nets, samples, settings, signal)]
    if (settings.origins.includes('truth'))
      scored.push(await arm(['polar-truth', 'Polar, ground-truth origins'], 'truth'))
    if (settings.origins.includes('cartesian'))
      scored.push(await arm(['polar-a', 'Polar, Cartesian origins (A)'], { cartesian: nets.cartesian! }))
    return scored
  },
}
