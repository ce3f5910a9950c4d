import type { Sample } from '../../data/dataset.ts'
import { DataError } from '../../gpu/errors.ts'
import type { Evaluated } from '../../pipelines/evaluate.ts'
import { scoreWhole } from '../../pipelines/score-masks.ts'
import { kindOf } from '../network-kinds.ts'
import { cartesianNetwork, scoreCartesian } from './cartesian.ts'
import type { Method, Scored } from './method.ts'

/** Of a sample's pericardium, the pixels of fat. */
async function fatInside(
  sample: Sample,
  inside: Evaluated,
): Promise<{ evaluated: Evaluated; measured: number; truth: number }> {
  const { mask, inRange } = await sample.load()
  if (!inRange) throw new DataError(`${sample.id}: was opened without its range of fat; pass range: 'fat'`)
  const prediction = inside.prediction.map((v, i) => v * inRange[i]!)
  const truth = mask.map((v, i) => v * inRange[i]!)
  const count = (values: Float32Array) => values.reduce((n, v) => n + (v > 0.5 ? 1 : 0), 0)
  const { height, width, spacing } = inside
  const scores = scoreWhole(prediction, truth, [height, width], spacing ? { spacing } : {})
  return {
    evaluated: { ...inside, prediction, truth, scores },
    measured: count(prediction),
    truth: count(truth),
  }
}

/** Epicardial fat (thesis 6): a network finds the pericardium, fat is what lies inside it in the range of fat. */
export const eat: Method = {
  title: 'trains a network for the pericardium; epicardial fat is what inside it is in −200…−30 HU',
  arms: ['pericardium', 'eat'],
  range: 'fat',
  tiled: true,
  networks: (settings) => [
    {
      ...cartesianNetwork(settings),
      name: 'pericardium',
      title: `pericardium ${kindOf(settings.network).title}`,
    },
  ],
  async score(device, nets, samples, settings, signal) {
    const found = await scoreCartesian(device, { cartesian: nets.pericardium! }, samples, settings, signal)
    const fat = await Promise.all(found.images.map((e, i) => fatInside(samples[i]!, e)))
    const result: Scored = {
      key: 'eat',
      label: 'Epicardial fat',
      images: fat.map((f) => f.evaluated),
      amounts: {
        title: 'EAT pixels a slice',
        measured: fat.map((f) => f.measured),
        truth: fat.map((f) => f.truth),
      },
    }
    return [{ ...found, key: 'pericardium', label: 'Pericardium' }, result]
  },
}
