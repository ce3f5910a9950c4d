import { describe, expect, test } from 'vitest'
import type { Device } from '../../src/autograd/device.ts'
import { AdapterError, FoveaError } from '../../src/gpu/errors.ts'
import { UNet } from '../../src/nn/networks/unet.ts'
import { cosineSchedule } from '../../src/nn/optim/schedulers.ts'
import { parseSafetensors } from '../../src/nn/safetensors.ts'
import { THESIS_AUGMENTATION } from '../../src/pipelines/augment.ts'
import { evaluateCartesian, evaluatePolar } from '../../src/pipelines/evaluate.ts'
import type { Precision } from '../../src/pipelines/precision.ts'
import { cartesianTask, polarTask } from '../../src/pipelines/tasks.ts'
import { type TrainOptions, train } from '../../src/pipelines/training.ts'
import { testDevice } from '../device.ts'
import { discs } from './discs.ts'
import { MemoryStore } from './memory-store.ts'

const device = await testDevice()
const samples = discs(10)
const shared = { train: samples.slice(0, 7), validation: samples.slice(7), batchSize: 3, seed: 5 }

async function run(gpu: Device, options: TrainOptions, features = 2) {
  const net = new UNet(gpu, { features, seed: 3 })
  try {
    return await train(net, gpu, options)
  } finally {
    net.dispose()
  }
}

const tensorsOf = (store: MemoryStore) => parseSafetensors(store.files.get('last')!).tensors

test('a precision that is none is refused', async () => {
  const precision = 'float16' as Precision
  await expect(run(device, { ...shared, task: cartesianTask(), epochs: 1, precision })).rejects.toThrow(
    new FoveaError("train: precision is 'float32' or 'mixed', got 'float16'"),
  )
})

test.runIf(!device.adapter.f16)('mixed precision says what the adapter lacks', async () => {
  const error = await run(device, { ...shared, task: cartesianTask(), epochs: 1, precision: 'mixed' }).catch(
    (e: Error) => e,
  )
  expect(error).toBeInstanceOf(AdapterError)
  expect((error as Error).message).toBe(
    `train: half precision needs shader-f16, which ${device.adapter.name} doesn't offer; use precision 'float32'`,
  )
})

describe.runIf(device.adapter.f16)('training in mixed precision', () => {
  test('learns discs as float32 does', async () => {
    const options = { ...shared, task: cartesianTask(), epochs: 20, lr: 1e-2 }
    const full = await run(device, options, 4)
    const mixed = await run(device, { ...options, precision: 'mixed' }, 4)
    expect(mixed.bestScore).toBeGreaterThan(0.9)
    expect(Math.abs(mixed.bestScore - full.bestScore)).toBeLessThan(0.05)
    // The first epoch has hardly left the common start; the same loss to half precision's digits.
    expect(mixed.history[0]!.trainLoss).not.toBe(full.history[0]!.trainLoss)
    expect(mixed.history[0]!.trainLoss).toBeCloseTo(full.history[0]!.trainLoss, 1)
  })

  test('resumes bit for bit, scale and skipped steps included', async () => {
    const options = (store: MemoryStore): TrainOptions => ({
      ...shared,
      task: polarTask({ augment: THESIS_AUGMENTATION }),
      epochs: 3,
      schedule: cosineSchedule({ epochs: 3 }),
      precision: 'mixed',
      store,
    })
    const straight = new MemoryStore()
    await run(device, options(straight))
    const store = new MemoryStore()
    const controller = new AbortController()
    const first = await run(device, {
      ...options(store),
      signal: controller.signal,
      onProgress: (p) => p.epoch === 2 && p.step === 2 && controller.abort(),
    })
    expect(first.interrupted).toBe(true)
    await run(device, options(store))
    const [got, want] = [tensorsOf(store), tensorsOf(straight)]
    expect(got).toEqual(want)
    expect(want.get('loss.scale')!.data[0]).toBeGreaterThan(0)
    // Nine steps, some of them perhaps skipped while the scale was too large.
    const steps = want.get('optimizer.progress')!.data[4]!
    expect(steps).toBeGreaterThan(3)
    expect(steps).toBeLessThanOrEqual(9)
    // Weights are float32 throughout.
    for (const { dtype } of want.values()) expect(dtype).toBe('float32')
  })

  test('a float32 run goes on in mixed precision', async () => {
    const store = new MemoryStore()
    const options = { ...shared, task: cartesianTask(), store }
    await run(device, { ...options, epochs: 1 })
    const result = await run(device, { ...options, epochs: 2, precision: 'mixed' })
    expect(result.history).toHaveLength(2)
    expect(tensorsOf(store).get('optimizer.progress')!.data[4]).toBeGreaterThan(3)
  })

  test('predictions agree with float32', async () => {
    const net = new UNet(device, { features: 4, seed: 3 })
    await train(net, device, { ...shared, task: cartesianTask(), epochs: 8, lr: 1e-2 })
    for (const evaluate of [
      (precision: Precision) => evaluateCartesian(device, net, samples, { precision }),
      (precision: Precision) => evaluatePolar(device, net, samples, { origins: 'truth', precision }),
    ]) {
      const [full, mixed] = [await evaluate('float32'), await evaluate('mixed')]
      full.forEach((f, i) => {
        const m = mixed[i]!
        const differences = f.prediction.map((v, k) => Math.abs(v - m.prediction[k]!))
        // Logits of up to some 10 with 11 bits: half a unit in the last place moves a probability by 1e-3.
        expect(Math.max(...differences)).toBeLessThan(0.05)
        expect(Math.max(...differences)).toBeGreaterThan(0)
        expect(Math.abs(f.scores.dice - m.scores.dice)).toBeLessThan(0.02)
      })
    }
    net.dispose()
  })
})
