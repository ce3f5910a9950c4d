import { expect, test } from 'vitest'
import { gt } from '../../src/autograd/ops/comparison.ts'
import { Prng } from '../../src/autograd/random.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { Module } from '../../src/nn/module.ts'
import { CENTRE_AUGMENTATION, NO_AUGMENTATION, THESIS_AUGMENTATION } from '../../src/pipelines/augment.ts'
import { heatmapTask } from '../../src/pipelines/heatmap-task.ts'
import { perObject } from '../../src/pipelines/per-object.ts'
import { cartesianTask, cropTask, type TrainingTask } from '../../src/pipelines/tasks.ts'
import { centreHeatmap } from '../../src/runs/methods/centre-heatmap.ts'
import { crops } from '../../src/runs/methods/crops.ts'
import { endToEnd } from '../../src/runs/methods/end-to-end.ts'
import { METHODS, type MethodName } from '../../src/runs/methods/index.ts'
import { several } from '../../src/runs/methods/several.ts'
import { ObjectBoxes } from '../../src/runs/object-boxes.ts'
import type { Settings } from '../../src/runs/settings.ts'
import { testDevice } from '../device.ts'
import { discs } from '../pipelines/discs.ts'

const settings: Settings = {
  ...{
    method: 'auto',
    size: 32,
    features: 2,
    epochs: 1,
    batch: 4,
    lr: 1e-3,
    weightDecay: 0,
    seed: 1,
    share: 1,
  },
  ...{
    patience: null,
    plateau: null,
    schedule: 'constant',
    augment: 'none',
    origins: ['truth', 'cartesian'],
  },
  ...{ transfer: null, depthChannel: false, validation: 0.1, test: 0.1 },
}

/** What a network sees of two discs in a training step. */
async function seen(task: TrainingTask, seed = 3): Promise<number[]> {
  const device = await testDevice()
  const samples = await Promise.all(discs(2, { size: 32 }).map((s) => s.load()))
  const { input } = task.prepare(task.feed(device, samples, new Prng(seed), true), true)
  return [...(await input.data())]
}

test('approach B augments images of its heatmaps by the amounts for centres, others by the thesis’s', async () => {
  const [cartesian, , heatmap] = centreHeatmap.networks({ ...settings, augment: 'thesis' })
  const centres = await seen(heatmapTask({ augment: CENTRE_AUGMENTATION }))
  expect(await seen(heatmap!.task)).toEqual(centres)
  expect(await seen(cartesian!.task)).toEqual(await seen(cartesianTask(THESIS_AUGMENTATION)))
  expect(centres).not.toEqual(await seen(heatmapTask({ augment: THESIS_AUGMENTATION })))
  const still = centreHeatmap.networks(settings)[2]!
  expect(await seen(still.task)).toEqual(await seen(heatmapTask({ augment: NO_AUGMENTATION })))
})

test('several: the polar network is trained and validated on a sample an object, the Cartesian one on images', () => {
  const [cartesian, polar] = several.networks(settings)
  expect([cartesian!.trainOf, cartesian!.validationOf]).toEqual([undefined, undefined])
  expect([polar!.trainOf, polar!.validationOf]).toEqual([perObject, perObject])
})

test('several: t₁ and t₂ are those of the settings', async () => {
  const device = await testDevice()
  const dice = async (more: Partial<Settings>) => {
    const arms = await several.score(device, BRIGHT, discs(2, { size: 32 }), {
      ...settings,
      origins: [],
      ...more,
    })
    return arms.at(-1)!.images.map((e) => e.scores.dice)
  }
  for (const value of await dice({})) expect(value).toBeGreaterThan(0.8)
  // Nothing is above 1.
  expect(await dice({ hysteresis: { low: 0, high: 1 } })).toEqual([0, 0])
})

/** A bright pixel is the object: stands in for any network, alone or as the parts of a joint one. */
class Bright extends Module {
  readonly options = { size: 32 }
  forward = (x: Tensor) => gt(x, 0)
  get networks() {
    return { localise: new Bright(), segment: new Bright() }
  }
}

/** Finds nothing. */
class Dark extends Bright {
  override forward = (x: Tensor) => gt(x, Infinity)
}

const BRIGHT = new Proxy({}, { get: () => new Bright() }) as Record<string, Module>

test.each(Object.keys(METHODS) as MethodName[])(
  '%s: a signal ends the scoring before the next batch',
  async (name) => {
    const device = await testDevice()
    const reason = new Error('enough')
    const scored = METHODS[name].score(
      device,
      BRIGHT,
      discs(2, { size: 32 }),
      settings,
      AbortSignal.abort(reason),
    )
    await expect(scored).rejects.toBe(reason)
  },
)

test.each(['polar', 'centre-heatmap', 'several', 'weak-origin', 'learned-origin'] as const)(
  '%s: every arm heeds the signal, in every batch',
  async (name) => {
    const device = await testDevice()
    let asked = 0
    const signal = { throwIfAborted: () => void asked++ } as AbortSignal
    // Ten images are two batches.
    const arms = await METHODS[name].score(device, BRIGHT, discs(10, { size: 32 }), settings, signal)
    expect(arms.map(({ key }) => key)).toEqual(METHODS[name].arms)
    expect(asked).toBe(2 * arms.length)
  },
)

test('end-to-end: the baseline that is trained as long is a network of its own, and one more row', async () => {
  const device = await testDevice()
  const long = { ...settings, longBaseline: true } as const
  const [, second, pair] = endToEnd.networks(long)
  expect([second!.name, second!.from, pair!.from]).toEqual(['coarse-long', 'coarse', 'coarse'])
  expect(second!.learningRate).toBe(pair!.learningRate)
  expect(endToEnd.networks(settings).map(({ name }) => name)).toEqual(['coarse', 'end-to-end'])
  const nets = { coarse: new Bright(), 'coarse-long': new Dark(), 'end-to-end': new Bright() }
  const arms = await endToEnd.score(device, nets, discs(2, { size: 32 }), long)
  expect(arms.map(({ key }) => key)).toEqual(endToEnd.arms)
  const dice = arms.map(({ images }) => images[0]!.scores.dice)
  expect(dice[0]).toBeGreaterThan(0.8)
  expect(dice.slice(1)).toEqual([0, dice[0]])
})

test('crops: the fine network begins from the rough one and sees boxes moved by up to S/8 px, 16 at most', async () => {
  const [rough, fine] = crops.networks(settings)
  expect([rough!.from, fine!.from]).toEqual([undefined, 'rough'])
  expect(crops.networks({ ...settings, transfer: false })[1]!.from).toBeUndefined()
  const objects = new ObjectBoxes()
  for (const [size, jitter] of [
    [32, 4],
    [256, 16],
  ] as const) {
    const own = crops.networks({ ...settings, size })[1]!.task
    const moved = cropTask({ size, jitter, boxesOf: (s) => objects.of(s) })
    expect(await seen(own)).toEqual(await seen(moved))
    expect(await seen(own)).not.toEqual(
      await seen(cropTask({ size, jitter: 0, boxesOf: (s) => objects.of(s) })),
    )
  }
  // The rough one sees whole images, whatever the draw.
  expect(await seen(rough!.task, 1)).toEqual(await seen(rough!.task, 2))
})
