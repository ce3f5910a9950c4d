import type { Device } from '../../autograd/device.ts'
import type { Sample } from '../../data/dataset.ts'
import { evaluateCartesian } from '../../pipelines/evaluate.ts'
import { cartesianTask } from '../../pipelines/tasks.ts'
import { kindOf } from '../network-kinds.ts'
import { augmentationOf, type Settings } from '../settings.ts'
import type { Method, NetworkPlan, Networks, Scored } from './method.ts'

/** The network on images as they are: of this method, and first of others. */
export const cartesianNetwork = (settings: Settings): NetworkPlan => ({
  name: 'cartesian',
  title: `Cartesian ${kindOf(settings.network).title}`,
  task: cartesianTask(augmentationOf(settings)),
})

export const scoreCartesian = async (
  device: Device,
  nets: Networks,
  samples: readonly Sample[],
  { precision, slidingWindow }: Settings,
  signal?: AbortSignal,
): Promise<Scored> => ({
  key: 'cartesian',
  label: 'Cartesian (baseline)',
  images: await evaluateCartesian(device, nets.cartesian!, samples, { precision, slidingWindow, signal }),
})

/** One network on images as they are. */
export const cartesian: Method = {
  title: 'the baseline alone: a network on images as they are',
  arms: ['cartesian'],
  tiled: true,
  networks: (settings) => [cartesianNetwork(settings)],
  score: async (...args) => [await scoreCartesian(...args)],
}
