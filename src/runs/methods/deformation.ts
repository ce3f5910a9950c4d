import { diceLoss } from '../../autograd/ops/dice-loss.ts'
import type { Tensor } from '../../autograd/tensor.ts'
import { ParameterHead } from '../../nn/networks/parameter-head.ts'
import { evaluateCartesian } from '../../pipelines/evaluate.ts'
import { LocalisedNetwork } from '../../pipelines/localised-network.ts'
import { cartesianTask } from '../../pipelines/tasks.ts'
import { deformationTransform, fieldRoughness } from '../../pipelines/transforms/deformation.ts'
import { kindOf, type NetworkKind } from '../network-kinds.ts'
import { augmentationOf, type Settings } from '../settings.ts'
import { cartesianNetwork, scoreCartesian } from './cartesian.ts'
import type { Method } from './method.ts'

/** Points of the field along each side. */
const NODES = 4

/** Weight of the field's roughness beside the soft Dice loss. */
const ROUGHNESS = 0.1

/** A head that says a deformation, and a network that segments the deformed image. */
function deformed(settings: Settings): NetworkKind {
  const base = kindOf(settings.network)
  const transform = deformationTransform({ nodes: NODES })
  const each = (v: number) => new Array<number>(transform.parameterCount).fill(v)
  return {
    title: `${base.title} behind a deformation`,
    network: 'LocalisedNetwork',
    step: base.step,
    build: (device, options) =>
      new LocalisedNetwork(device, {
        localise: new ParameterHead(device, { ...options, centre: each(0), reach: each(2) }),
        segment: base.build(device, options),
        transform,
      }),
  }
}

/** Segmentation of an image that a learned field deforms, smooth and one to one; the mask goes back by its inverse. */
export const deformation: Method = {
  title: 'a network behind a learned deformation of the image, against the baseline (beyond the thesis)',
  arms: ['cartesian', 'deformation'],
  networks(settings) {
    const kind = deformed(settings)
    return [
      cartesianNetwork(settings),
      {
        name: 'deformation',
        title: kind.title,
        task: cartesianTask(augmentationOf(settings)),
        kind,
        lossOf(net) {
          const loss = (net as LocalisedNetwork).penalised(
            (phi) => fieldRoughness(phi, NODES),
            ROUGHNESS,
            diceLoss,
          )
          return (mask, truth) => loss(mask as Tensor, truth)
        },
      },
    ]
  },
  async score(device, nets, samples, settings, signal) {
    const { precision } = settings
    const images = await evaluateCartesian(device, nets.deformation!, samples, { precision, signal })
    return [
      await scoreCartesian(device, nets, samples, settings, signal),
      { key: 'deformation', label: 'Behind a learned deformation', images },
    ]
  },
}
