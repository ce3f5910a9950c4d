import { weakTask } from '../../pipelines/weak-task.ts'
import { kindOf } from '../network-kinds.ts'
import { augmentationOf } from '../settings.ts'
import type { Method } from './method.ts'
import { polar, polarArm } from './polar.ts'

/** Weak labels, and how they are called. */
const LABELS = [
  { label: 'point', title: 'points' },
  { label: 'box', title: 'boxes' },
] as const

/** Origins from networks that saw a box or a point of each object in place of its mask; the polar network saw masks. */
export const weakOrigin: Method = {
  title:
    'polar, with origins from networks that were trained on weak labels: points, boxes (beyond the thesis)',
  arms: [...polar.arms, 'weak-point', 'weak-box'],
  userOrigins: [],
  networks: (settings) => [
    ...polar.networks(settings),
    ...LABELS.map(({ label, title }) => ({
      name: `weak-${label}`,
      title: `${kindOf(settings.network).title} of ${title}`,
      task: weakTask({ label, augment: augmentationOf(settings) }),
    })),
  ],
  async score(device, nets, samples, settings, signal) {
    const scored = await polar.score(device, nets, samples, settings, signal)
    for (const { label, title } of LABELS) {
      const key = `weak-${label}`
      const name = [key, `Polar, origins learned from ${title}`] as const
      const origins = { cartesian: nets[key]! }
      scored.push(await polarArm(name, device, nets.polar!, samples, settings, origins, signal))
    }
    return scored
  },
}
