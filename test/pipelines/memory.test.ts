import { totalmem } from 'node:os'
import { afterAll, expect, test } from 'vitest'
import type { Device } from '../../src/autograd/device.ts'
import type { Sample } from '../../src/data/dataset.ts'
import { GpuOutOfMemoryError } from '../../src/gpu/errors.ts'
import { UNet } from '../../src/nn/networks/unet.ts'
import { largestFitting, type TrainingMemory } from '../../src/pipelines/memory.ts'
import { cartesianTask } from '../../src/pipelines/tasks.ts'
import { type TrainOptions, train } from '../../src/pipelines/training.ts'
import { openDevice } from '../device.ts'
import { discs } from './discs.ts'
import { MemoryStore } from './memory-store.ts'

const opened: Device[] = []
async function open(options: Parameters<typeof openDevice>[0] = {}): Promise<Device> {
  const device = await openDevice(options)
  opened.push(device)
  return device
}
afterAll(() => {
  for (const d of opened) d.destroy()
})

const samples = discs(21, { size: 64 })
const shared = {
  train: samples.slice(0, 16),
  validation: samples.slice(16),
  task: cartesianTask(),
  epochs: 1,
}

async function run(device: Device, options: Partial<TrainOptions>) {
  const net = new UNet(device, { features: 2 })
  let memory: TrainingMemory | undefined
  const onStart = (m: TrainingMemory) => {
    memory = m
  }
  try {
    const result = await train(net, device, { ...shared, onStart, ...options })
    expect(result.memory).toEqual(memory)
    return { memory: memory!, peak: device.memory().peakBytes }
  } finally {
    if (!device.lost) net.dispose()
  }
}

const batchOf = (message: string): number => Number(/a batch of (\d+) (?:should fit|fits)/.exec(message)?.[1])

test('what a run is going to hold is what it holds at most, checkpoints included', async () => {
  const { memory, peak } = await run(await open(), { batchSize: 6, store: new MemoryStore() })
  expect(peak).toBeLessThanOrEqual(memory.peak)
  expect(peak).toBeGreaterThan(0.95 * memory.peak)
})

test('a batch that does not fit is refused before the first step; the batch that the error names fits, one more does not', async () => {
  const { memory } = await run(await open(), { batchSize: 8 })
  const limited = async (batchSize: number) => {
    const device = await open({ memoryLimit: memory.peak })
    const { dispatches } = device.counters
    const error = await run(device, { batchSize }).then(
      () => undefined,
      (e: unknown) => e as Error,
    )
    if (error) expect(device.counters.dispatches - dispatches).toBe(0)
    return error
  }
  const error = await limited(16)
  expect(error).toBeInstanceOf(GpuOutOfMemoryError)
  expect(error!.message).toMatch(
    /^train: a batch of 16 at 64×64 needs \d+\.\d MB, the limit is \d+\.\d MB; a batch of 8 fits, one of 1\d fits with activation checkpointing$/,
  )
  expect(await limited(8)).toBeUndefined()
  expect((await limited(9))?.message).toMatch(/a batch of 8 fits/)
})

test('on a driver that runs on the CPU the limit is what the process may have; what is asked for goes before', async () => {
  const device = await open()
  if (device.adapter.cpu) {
    expect(device.memoryLimit).toBeGreaterThan(2 ** 28)
    expect(device.memoryLimit).toBeLessThanOrEqual(totalmem())
  } else expect(device.memoryLimit).toBe(Number.POSITIVE_INFINITY)
  expect((await open({ memoryLimit: 2 ** 40 })).memoryLimit).toBe(2 ** 40)
  expect((await open({ memoryLimit: Number.POSITIVE_INFINITY })).memoryLimit).toBe(Number.POSITIVE_INFINITY)
})

test('where not even one image fits, it says so', async () => {
  const device = await open({ memoryLimit: 2 ** 20 })
  await expect(run(device, {})).rejects.toThrow(
    /train: a batch of 8 at 64×64 needs .* MB, the limit is 1.0 MB; not even one image fits: use smaller images or fewer features/,
  )
})

test('where already the images of a batch pass the limit, that is what it says', async () => {
  const device = await open({ memoryLimit: 0.4 * 2 ** 20 })
  await expect(run(device, { batchSize: 16 })).rejects.toThrow(
    /^train: a batch of 16 at 64×64 needs more than there is, the limit is 409\.6 KB; /,
  )
})

/** Makes a driver refuse every buffer past so many bytes in all, as one without memory does. */
function refuseBeyond(native: GPUDevice, bytes: number): void {
  let made = 0
  let refused = false
  const scopes: GPUErrorFilter[] = []
  const { pushErrorScope, popErrorScope, createBuffer } = native
  native.pushErrorScope = (filter) => {
    scopes.push(filter)
    return pushErrorScope.call(native, filter)
  }
  native.popErrorScope = () => {
    const error = popErrorScope.call(native)
    if (scopes.pop() !== 'out-of-memory' || !refused) return error
    refused = false
    return error.then(() => ({ message: 'VK_ERROR_OUT_OF_DEVICE_MEMORY' }) as GPUError)
  }
  native.createBuffer = (descriptor) => {
    made += descriptor.size
    refused = made > bytes
    return createBuffer.call(native, descriptor)
  }
}

test('a driver that refuses memory ends training with the same advice, which holds', async () => {
  const { memory } = await run(await open(), { batchSize: 8 })
  const device = await open()
  refuseBeyond(device.native, memory.peak)
  const error = await run(device, { batchSize: 16 }).catch((e: unknown) => e as Error)
  expect(error).toBeInstanceOf(GpuOutOfMemoryError)
  const { message, cause } = error as Error
  expect(message).toMatch(
    /^train: a batch of 16 at 64×64 needs .* MB, the GPU refused more than .* MB; a batch of/,
  )
  expect((cause as Error).message).toMatch(/no room on the GPU for .* VK_ERROR_OUT_OF_DEVICE_MEMORY/)
  const advised = batchOf(message)
  expect(advised).toBeGreaterThan(2)
  expect(advised).toBeLessThanOrEqual(8)
  const { peak } = await run(await open(), { batchSize: advised })
  expect(peak).toBeLessThanOrEqual(memory.peak)
})

test('the largest batch, by bisection', () => {
  for (const best of [0, 1, 5, 15]) expect(largestFitting(16, (n) => n <= best)).toBe(best)
  expect(largestFitting(1, () => true)).toBe(0)
})

test('an image that cannot be decoded ends training at its step, by its name; none is loaded after the end', async () => {
  const device = await open()
  let loads = 0
  let running = true
  const watched = samples.map(
    (s, i): Sample => ({
      ...s,
      load: async () => {
        expect(running).toBe(true)
        loads++
        await new Promise((resolve) => setTimeout(resolve, 2))
        if (i === 9) throw new Error('disc9.png: the PNG cannot be decoded')
        return s.load()
      },
    }),
  )
  const steps: number[] = []
  const options = {
    train: watched.slice(0, 16),
    batchSize: 4,
    onProgress: (p: { step: number }) => steps.push(p.step),
  }
  await expect(run(device, options)).rejects.toThrow('disc9.png: the PNG cannot be decoded')
  running = false
  // The batch with it is the first, second, third or fourth in this seed's order.
  expect(steps).toEqual(Array.from({ length: steps.length }, (_, i) => i + 1))
  expect(steps.length).toBeLessThan(4)
  running = true
  const controller = new AbortController()
  loads = 0
  const fine = watched.map((s, i) => (i === 9 ? samples[9]! : s))
  const net = new UNet(device, { features: 2 })
  const ended = await train(net, device, {
    ...shared,
    train: fine.slice(0, 16),
    batchSize: 4,
    epochs: 5,
    signal: controller.signal,
    onProgress: (p) => p.step === 2 && controller.abort(),
  })
  running = false
  expect(ended.interrupted).toBe(true)
  // Two batches that were used and two ahead, at most.
  expect(loads).toBeLessThanOrEqual(16)
  await new Promise((resolve) => setTimeout(resolve, 20))
  net.dispose()
})
