import type { Tensor } from '../../autograd/tensor.ts'
import { ParameterHead } from '../../nn/networks/parameter-head.ts'
import { originLoss, originScore } from '../../pipelines/losses.ts'
import { cartesianTask } from '../../pipelines/tasks.ts'
import { augmentationOf, type Settings } from '../settings.ts'
import type { Measure, Method, NetworkPlan } from './method.ts'
import { polar, polarArm } from './polar.ts'

/** Distances of what the head says from the truth's centres. */
const MEASURE: Measure = {
  loss: (origins, truth) => originLoss(origins as Tensor, truth),
  score: (origins, truth) => originScore(origins as Tensor, truth),
  lossName: 'mean squared distance, sides',
  scoreName: 'origin score (−px)',
}

/** Its epochs cost a tenth of a U-Net's, and in as many as the U-Net has it learns little. */
const EPOCHS = 5

function headNetwork(settings: Settings): NetworkPlan {
  const middle = (settings.size - 1) / 2
  return {
    name: 'head',
    title: 'regression head for the origin',
    task: cartesianTask(augmentationOf(settings)),
    measure: MEASURE,
    epochs: EPOCHS,
    kind: {
      title: 'regression head',
      network: 'ParameterHead',
      step: 16,
      build: (device, options) =>
        new ParameterHead(device, { ...options, centre: [middle, middle], reach: [middle, middle] }),
    },
  }
}

/** Origins that a small network regresses from the image, without a map. */
export const headOrigin: Method = {
  title: 'polar, with origins that a small network regresses from the image (beyond the thesis)',
  arms: [...polar.arms, 'head'],
  userOrigins: [],
  networks: (settings) => [...polar.networks(settings), headNetwork(settings)],
  async score(device, nets, samples, settings, signal) {
    const others = await polar.score(device, nets, samples, settings, signal)
    const name = ['head', 'Polar, regressed origins'] as const
    const origins = { network: nets.head!, at: (phi: Tensor) => phi }
    return [...others, await polarArm(name, device, nets.polar!, samples, settings, origins, signal)]
  },
}
