import { CENTRE_AUGMENTATION, NO_AUGMENTATION } from '../../pipelines/augment.ts'
import { heatmapTask } from '../../pipelines/heatmap-task.ts'
import { centreScore, meanOverStacks } from '../../pipelines/losses.ts'
import { heatmapKindOf } from '../network-kinds.ts'
import type { Settings } from '../settings.ts'
import type { Measure, Method, NetworkPlan } from './method.ts'
import { polar, polarArm } from './polar.ts'

/**
 * Heatmaps against Gaussians: mean over the stacks of their mean squared errors, best where centres are nearest.
 *
 * @param stride pixels of the input a pixel of the heatmap, in which the score is
 */
const measureAt = (stride: number): Measure => ({
  loss: meanOverStacks(),
  score: centreScore,
  lossName: 'mean squared error of heatmaps',
  scoreName:
    stride === 1 ? 'centre score (−px)' : `centre score (−px of the heatmap, ${stride} of the input)`,
})

function heatmapNetwork(settings: Settings): NetworkPlan {
  const { augment, sigma, batch, heatmapBatch = batch } = settings
  const kind = heatmapKindOf(settings)
  const task = heatmapTask({
    stride: kind.stride,
    augment: augment === 'none' ? NO_AUGMENTATION : CENTRE_AUGMENTATION,
    ...(sigma === undefined ? {} : { sigma }),
  })
  const measure = measureAt(kind.stride)
  return { name: 'heatmap', title: `heatmap ${kind.title}`, task, kind, measure, batch: heatmapBatch }
}

/** Segmentation in polar coordinates about centres that a network of heatmaps finds (thesis 4.3, approach B). */
export const centreHeatmap: Method = {
  title: 'polar, and a network of heatmaps (an hourglass) whose brightest pixel is the origin (approach B)',
  arms: [...polar.arms, 'polar-b'],
  userOrigins: [],
  networks: (settings) => [...polar.networks(settings), heatmapNetwork(settings)],
  async score(device, nets, samples, settings, signal) {
    const others = await polar.score(device, nets, samples, settings, signal)
    const name = ['polar-b', 'Polar, heatmap origins (B)'] as const
    const origins = { heatmap: nets.heatmap! }
    return [...others, await polarArm(name, device, nets.polar!, samples, settings, origins, signal)]
  },
}
