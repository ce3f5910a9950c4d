import type { Device } from '../../autograd/device.ts'
import { LocalisedNetwork } from '../../pipelines/localised-network.ts'
import { cartesianTask } from '../../pipelines/tasks.ts'
import { type ParameterFunction, softCentreOfMap } from '../../pipelines/transforms/parameters.ts'
import { polarTransform } from '../../pipelines/transforms/polar.ts'
import { kindOf, type NetworkKind } from '../network-kinds.ts'
import { augmentationOf, type Settings } from '../settings.ts'
import type { Method, NetworkPlan } from './method.ts'
import { polar, polarArm } from './polar.ts'

/** A Cartesian and a polar network as one: the map's soft centre is the origin. */
function joined(settings: Settings, parametersOn: (device: Device) => ParameterFunction): NetworkKind {
  const base = kindOf(settings.network)
  return {
    title: `two ${base.title}s`,
    network: 'LocalisedNetwork',
    step: base.step,
    build: (device, options) =>
      new LocalisedNetwork(device, {
        localise: base.build(device, options),
        segment: base.build(device, options),
        parameters: parametersOn(device),
        transform: polarTransform(),
      }),
  }
}

/** The soft centre without its gradient: the polar network learns, the origin stays where the Cartesian network has it. */
const heldCentre =
  (device: Device): ParameterFunction =>
  (map, image) =>
    device.noGrad(() => softCentreOfMap()(map, image))

/** Both start from approach A's networks, as end-to-end crops do: at a tenth of the learning rate. */
const TUNED = { from: { localise: 'cartesian', segment: 'polar' }, learningRate: 0.1 } as const

/** What is trained on the loss of the final mask, and the arm that each network is. */
const ARMS = [
  { key: 'learned', label: 'Polar, origin learned from nothing' },
  { key: 'tuned-held', label: 'Polar (A), tuned by the final mask, origin held' },
  { key: 'tuned', label: 'Polar (A), tuned by the final mask through the origin' },
] as const

/** A polar origin learned end to end: the gradient of the final mask's loss passes through it to the Cartesian network. */
export const learnedOrigin: Method = {
  title:
    'polar, and both networks trained on the final mask, the gradient passing through the origin (beyond the thesis)',
  arms: [...polar.arms, ...ARMS.map(({ key }) => key)],
  userOrigins: [],
  networks(settings) {
    const task = cartesianTask(augmentationOf(settings))
    const plan = (name: string, kind: NetworkKind): NetworkPlan => ({
      name,
      title: `${name}, ${kind.title}`,
      task,
      kind,
    })
    const soft = joined(settings, softCentreOfMap)
    return [
      ...polar.networks(settings),
      plan('learned', soft),
      { ...plan('tuned-held', joined(settings, heldCentre)), ...TUNED },
      { ...plan('tuned', soft), ...TUNED },
    ]
  },
  async score(device, nets, samples, settings, signal) {
    const scored = await polar.score(device, nets, samples, settings, signal)
    for (const { key, label } of ARMS) {
      const { localise, segment } = (nets[key] as LocalisedNetwork).networks
      const origins = { network: localise, at: softCentreOfMap() }
      scored.push(await polarArm([key, label], device, segment, samples, settings, origins, signal))
    }
    return scored
  },
}
