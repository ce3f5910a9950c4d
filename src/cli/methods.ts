import type { Device } from '../autograd/device.ts'
import type { Sample, SampleData } from '../data/dataset.ts'
import type { Module } from '../nn/module.ts'
import { type Evaluated, evaluateCartesian, evaluateCrops, evaluatePolar } from '../pipelines/evaluate.ts'
import { cartesianTask, cropTask, polarTask, type TrainingTask } from '../pipelines/tasks.ts'
import { kindOf } from './network-kinds.ts'
import { ObjectBoxes } from './object-boxes.ts'
import { augmentationOf, type MethodName, type Settings } from './settings.ts'

/** A network that a method trains. */
export interface NetworkPlan {
  readonly name: string
  readonly title: string
  readonly task: TrainingTask
  /** Name of an earlier network whose best weights it starts from. */
  readonly from?: string
  /** The validation images as this network sees them, where that differs. */
  readonly validationOf?: (samples: readonly Sample[]) => readonly Sample[]
}

/** What one method made of the held-out images. */
export interface Scored {
  readonly label: string
  readonly images: readonly Evaluated[]
}

/** Networks by name. */
export type Networks = Readonly<Record<string, Module>>

/** The networks that a method trains, in order. */
export function networksOf(method: MethodName, settings: Settings): NetworkPlan[] {
  const augment = augmentationOf(settings)
  const { size, transfer } = settings
  const { title } = kindOf(settings.network)
  const cartesian = { name: 'cartesian', title: `Cartesian ${title}`, task: cartesianTask(augment) }
  if (method === 'cartesian') return [cartesian]
  if (method === 'polar') {
    const from = (transfer ?? false) ? { from: 'cartesian' } : {}
    return [cartesian, { name: 'polar', title: `polar ${title}`, task: polarTask({ augment }), ...from }]
  }
  const whole = cropTask({ size, augment, jitter: 0, boxesOf: () => [] })
  const objects = new ObjectBoxes()
  const crops = cropTask({ size, augment, jitter: Math.min(16, size / 8), boxesOf: (s) => objects.of(s) })
  const validationOf = (samples: readonly Sample[]) => samples.flatMap((s) => objects.apart(s))
  const from = (transfer ?? true) ? { from: 'rough' } : {}
  return [
    { name: 'rough', title: `rough ${title}`, task: whole },
    { name: 'fine', title: `fine ${title}`, task: crops, validationOf, ...from },
  ]
}

/** Scores a method and its baseline on held-out images. */
export async function scoreMethod(
  device: Device,
  method: MethodName,
  settings: Settings,
  nets: Networks,
  samples: readonly Sample[],
): Promise<Scored[]> {
  if (method === 'crops') {
    const { rough, fine } = await evaluateCrops(device, nets.rough!, nets.fine!, samples, settings)
    return [
      { label: 'Uniform (rough net alone)', images: rough },
      { label: 'Segment-then-segment', images: fine },
    ]
  }
  const cartesian = nets.cartesian!
  const { precision } = settings
  const scored: Scored[] = [
    {
      label: 'Cartesian (baseline)',
      images: await evaluateCartesian(device, cartesian, samples, { precision }),
    },
  ]
  if (method === 'cartesian') return scored
  const polar = nets.polar!
  if (settings.origins.includes('truth')) {
    const images = await evaluatePolar(device, polar, samples, { origins: 'truth', precision })
    scored.push({ label: 'Polar, ground-truth origins', images })
  }
  if (settings.origins.includes('cartesian')) {
    const images = await evaluatePolar(device, polar, samples, { origins: { cartesian }, precision })
    scored.push({ label: 'Polar, Cartesian origins (A)', images })
  }
  return scored
}

/** Probability maps (H, W) of prepared images, each in its own size: what `fovea predict` writes. */
export async function predictMasks(
  device: Device,
  method: MethodName,
  settings: Settings,
  nets: Networks,
  images: readonly SampleData[],
): Promise<Float32Array[]> {
  const samples = images.map((data, i): Sample => {
    const { height, width } = data
    return { id: String(i), group: '', imagePath: '', originalSize: [height, width], load: async () => data }
  })
  // The mask that a user gets is the last one: origins from the Cartesian network, fine crops.
  const scored = await scoreMethod(device, method, { ...settings, origins: ['cartesian'] }, nets, samples)
  return scored.at(-1)!.images.map((e) => e.prediction)
}
