import { EndToEndCrops } from '../../pipelines/end-to-end.ts'
import { evaluateEndToEnd, evaluateShrunken } from '../../pipelines/evaluate.ts'
import { cartesianTask, shrunkenTask } from '../../pipelines/tasks.ts'
import { kindOf, type NetworkKind } from '../network-kinds.ts'
import { augmentationOf, type Settings } from '../settings.ts'
import type { Method, NetworkPlan, Scored } from './method.ts'

/** Side of the images that crops are cut from, px. */
const resolutionOf = ({ resolution, size }: Settings): number => resolution ?? 4 * size

/** The thesis adds 20 px in images of 1,024. */
const paddingOf = (settings: Settings): number => Math.round((20 * resolutionOf(settings)) / 1024)

/** Its learning rate beside that of pretraining, where nothing is said: the thesis's 1e-4 beside the 1e-3 of other methods. */
const LEARNING_RATE = 0.1

/** A coarse and a fine network of the settings' kind as one. */
function joined(settings: Settings): NetworkKind {
  const base = kindOf(settings.network)
  const { size, box = 'hard' } = settings
  return {
    title: `two ${base.title}s`,
    network: 'EndToEndCrops',
    step: base.step,
    build: (device, { inChannels, ...rest }) =>
      new EndToEndCrops(
        device,
        {
          coarse: base.build(device, { inChannels, ...rest }),
          fine: base.build(device, { inChannels: inChannels + 1, ...rest }),
        },
        { size, padding: paddingOf(settings), box },
      ),
  }
}

/** Coarse network, box, crop and fine network, trained as one from two copies of a pretrained network (thesis 5.2). */
export const endToEnd: Method = {
  title: 'trains a coarse network, then it and a fine one on its crop together, through the mask',
  arms: ['coarse', 'coarse-long', 'end-to-end'],
  imageSize: resolutionOf,
  networks(settings) {
    const augment = augmentationOf(settings)
    const kind = joined(settings)
    const coarse: NetworkPlan = {
      name: 'coarse',
      title: `coarse ${kindOf(settings.network).title}`,
      task: shrunkenTask({ size: settings.size, augment }),
    }
    const second = { learningRate: settings.jointRate ?? LEARNING_RATE, from: 'coarse' }
    return [
      coarse,
      ...(settings.longBaseline
        ? [{ ...coarse, ...second, name: 'coarse-long', title: `${coarse.title}, trained as long` }]
        : []),
      {
        ...{ ...second, name: 'end-to-end', title: `end to end, ${kind.title}` },
        task: cartesianTask(augment),
        kind,
        receive: (net, from) => void (net as EndToEndCrops).takeFrom(from),
      },
    ]
  },
  async score(device, nets, samples, settings, signal) {
    const { coarse, mask } = await evaluateEndToEnd(
      device,
      nets.coarse!,
      nets['end-to-end'] as EndToEndCrops,
      samples,
      { ...settings, signal },
    )
    const long = nets['coarse-long']
    return [
      { key: 'coarse', label: 'Uniform (coarse net alone)', images: coarse },
      ...(long
        ? [
            {
              key: 'coarse-long',
              label: 'Uniform (coarse net alone), trained as long',
              images: await evaluateShrunken(device, long, samples, { ...settings, signal }),
            },
          ]
        : []),
      {
        key: 'end-to-end',
        label: `End-to-end crops${settings.box === 'soft' ? ', soft box' : ''}`,
        images: mask,
      },
    ] satisfies Scored[]
  },
}
