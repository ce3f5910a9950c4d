import { expect, test } from 'vitest'
import type { Device } from '../../src/autograd/device.ts'
import type { Sample } from '../../src/data/dataset.ts'
import { CheckpointError, DataError, TrainingError } from '../../src/gpu/errors.ts'
import { tunerOf } from '../../src/gpu/tuner.ts'
import { UNet } from '../../src/nn/networks/unet.ts'
import { cosineSchedule } from '../../src/nn/optim/schedulers.ts'
import { formatSafetensors, parseSafetensors } from '../../src/nn/safetensors.ts'
import { THESIS_AUGMENTATION } from '../../src/pipelines/augment.ts'
import { batchesOf } from '../../src/pipelines/batches.ts'
import { RecoveringDevice } from '../../src/pipelines/recover.ts'
import { cartesianTask, polarTask } from '../../src/pipelines/tasks.ts'
import { type Startup, type TrainOptions, train } from '../../src/pipelines/training.ts'
import { openDevice, testDevice } from '../device.ts'
import { discs } from './discs.ts'
import { MemoryStore } from './memory-store.ts'

const samples = discs(10)
const shared = { train: samples.slice(0, 7), validation: samples.slice(7), batchSize: 3, seed: 5 }
const unet = (device: Device, features = 2) => new UNet(device, { features, seed: 3 })

/** A short run in which everything random has a part. */
const varied = (store: MemoryStore): TrainOptions => ({
  ...shared,
  task: polarTask({ augment: THESIS_AUGMENTATION }),
  epochs: 3,
  schedule: cosineSchedule({ epochs: 3 }),
  store,
})

async function run(device: Device, options: TrainOptions, features = 2) {
  const net = unet(device, features)
  try {
    return await train(net, device, options)
  } finally {
    if (!device.lost) net.dispose()
  }
}

const weights = (store: MemoryStore): Record<string, number[]> =>
  Object.fromEntries(
    [...parseSafetensors(store.files.get('last')!).tensors].map(([name, { data }]) => [name, [...data]]),
  )

let straight: Promise<MemoryStore> | undefined

/** The uninterrupted run that others are held against. */
function uninterrupted(): Promise<MemoryStore> {
  straight ??= (async () => {
    const store = new MemoryStore()
    await run(await testDevice(), varied(store))
    return store
  })()
  return straight
}

test('a few discs are learnt: the loss falls and the validation DSC passes 0.9', async () => {
  const device = await testDevice()
  const progress: number[] = []
  const starts: Startup[] = []
  const result = await run(
    device,
    {
      ...shared,
      task: cartesianTask(),
      epochs: 20,
      lr: 1e-2,
      onFirstStep: (s) => starts.push(s),
      onProgress: (p) => progress.push(p.step / p.steps),
    },
    4,
  )
  expect(result.history).toHaveLength(20)
  expect(result.history.at(-1)!.trainLoss).toBeLessThan(0.5 * result.history[0]!.trainLoss)
  expect(result.bestScore).toBeGreaterThan(0.9)
  expect(progress).toHaveLength(60)
  expect(starts).toHaveLength(1)
  expect(starts[0]!.seconds).toBeGreaterThan(0)
  expect(starts[0]!.pipelines).toBeGreaterThan(10)
})

test('a run that was aborted in the middle of an epoch and resumed equals the uninterrupted one bit for bit', async () => {
  const device = await testDevice()
  const store = new MemoryStore()
  const controller = new AbortController()
  const first = await run(device, {
    ...varied(store),
    signal: controller.signal,
    onProgress: (p) => p.epoch === 2 && p.step === 2 && controller.abort(),
  })
  expect(first.interrupted).toBe(true)
  expect(first.history).toHaveLength(1)
  const saved = JSON.parse(parseSafetensors(store.files.get('last')!).metadata.fovea!)
  expect(saved.state).toMatchObject({ epoch: 1, step: 2 })
  const second = await run(device, varied(store))
  expect(second.interrupted).toBe(false)
  const expected = await uninterrupted()
  expect(weights(store)).toEqual(weights(expected))
  expect(Buffer.compare(store.files.get('best')!, expected.files.get('best')!)).toBe(0)
  expect(store.lines).toEqual([1, 2, 3])
})

test('a lost device ends training at once, and a new one goes on to the same result', async () => {
  const store = new MemoryStore()
  let writesAtLoss = -1
  let writesAtReopening = -1
  let opened = 0
  const recovering = new RecoveringDevice(
    () => {
      opened++
      return openDevice()
    },
    { onLost: () => (writesAtReopening = store.writes.length) },
  )
  await recovering.run((device) =>
    run(device, {
      ...varied(store),
      onProgress: (p) => {
        if (opened > 1 || p.epoch !== 2 || p.step !== 2) return
        writesAtLoss = store.writes.length
        device.native.destroy()
      },
    }),
  )
  recovering.close()
  expect(opened).toBe(2)
  expect(writesAtLoss).toBeGreaterThan(0)
  expect(writesAtReopening).toBe(writesAtLoss)
  const expected = await uninterrupted()
  expect(weights(store)).toEqual(weights(expected))
  expect(Buffer.compare(store.files.get('best')!, expected.files.get('best')!)).toBe(0)
})

test('a device that is lost again and again is given up', async () => {
  const device = await testDevice()
  const lost = { lost: true } as Device
  let opened = 0
  const open = async () => {
    opened++
    return lost
  }
  const recovering = new RecoveringDevice(open, { retries: 2 })
  await expect(recovering.run(() => Promise.reject(new Error('gone')))).rejects.toThrow('gone')
  expect(opened).toBe(3)
  const whole = new RecoveringDevice(async () => device)
  await expect(whole.run(() => Promise.reject(new Error('another fault')))).rejects.toThrow('another fault')
})

test('images that are not finite end training with advice; earlier checkpoints stay as they are', async () => {
  const device = await testDevice()
  const store = new MemoryStore()
  const options = { ...shared, task: cartesianTask(), store }
  await run(device, { ...options, epochs: 1 })
  const [last, best] = [store.files.get('last'), store.files.get('best')]
  const spoilt = shared.train.map(
    (s, i): Sample =>
      i > 0
        ? s
        : {
            ...s,
            load: async () => {
              const data = await s.load()
              return { ...data, image: data.image.map(() => Number.NaN) }
            },
          },
  )
  const training = run(device, { ...options, train: spoilt, epochs: 2 })
  await expect(training).rejects.toThrow(TrainingError)
  await expect(training).rejects.toThrow(
    /loss became NaN in epoch 2.*lower the learning rate|images or masks/is,
  )
  expect(store.files.get('last')).toBe(last)
  expect(store.files.get('best')).toBe(best)
})

test('a learning rate that is far too high ends training with a TrainingError', async () => {
  const device = await testDevice()
  const options = { ...shared, task: cartesianTask(), epochs: 3, lr: 1e30 }
  await expect(run(device, options)).rejects.toThrow(TrainingError)
})

test('a run from before the validation score had its name goes on, its history whole', async () => {
  const device = await testDevice()
  const store = new MemoryStore()
  const options = { ...shared, task: cartesianTask(), store }
  await run(device, { ...options, epochs: 1 })
  const { tensors, metadata } = parseSafetensors(store.files.get('last')!)
  const old = { ...metadata, fovea: metadata.fovea!.replace('"validationScore"', '"validationDice"') }
  expect(old.fovea).not.toBe(metadata.fovea)
  store.files.set('last', formatSafetensors(tensors, old))
  const { history } = await run(device, { ...options, epochs: 2 })
  expect(history.map((m) => typeof m.validationScore)).toEqual(['number', 'number'])
  expect(history[0]).not.toHaveProperty('validationDice')
})

test('a checkpoint of another network is refused and kept', async () => {
  const device = await testDevice()
  const store = await uninterrupted()
  const last = store.files.get('last')
  await expect(run(device, { ...varied(store), epochs: 4 }, 3)).rejects.toThrow(CheckpointError)
  expect(store.files.get('last')).toBe(last)
})

test('patience ends training early; no images are refused', async () => {
  const device = await testDevice()
  const flat = await run(device, { ...shared, task: cartesianTask(), epochs: 9, lr: 1e-12, patience: 2 })
  expect(flat.history.length).toBeLessThan(9)
  await expect(run(device, { ...shared, train: [], task: cartesianTask(), epochs: 1 })).rejects.toThrow(
    DataError,
  )
})

test('a last batch that is too small for the network joins the one before', () => {
  const items = [1, 2, 3, 4, 5]
  expect(batchesOf(items, 2, 1)).toEqual([[1, 2], [3, 4], [5]])
  expect(batchesOf(items, 2, 2)).toEqual([
    [1, 2],
    [3, 4, 5],
  ])
  expect(batchesOf(items, 4, 2)).toEqual([[1, 2, 3, 4, 5]])
  expect(batchesOf([1], 4, 2)).toEqual([[1]])
})

test('a checkpoint names the kernels that were chosen, and a resumed run takes the same', async () => {
  const device = await openDevice()
  const options = { ...shared, task: cartesianTask(), epochs: 1 }
  await run(device, options)
  const tuner = tunerOf(device)
  const forward = Object.keys(tuner.export().choices).filter((key) => key.startsWith('conv2d.forward'))
  expect(forward.length).toBeGreaterThan(5)
  // As if a measurement had found them.
  tuner.clear()
  for (const key of forward) tuner.set(key, 'direct')
  const store = new MemoryStore()
  await run(device, { ...options, store })
  device.destroy()
  const fresh = await openDevice()
  await run(fresh, { ...options, epochs: 2, store })
  const taken = tunerOf(fresh).export().choices
  expect(forward.map((key) => taken[key])).toEqual(forward.map(() => 'direct'))
  fresh.destroy()
})
