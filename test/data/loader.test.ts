import { expect, test } from 'vitest'
import type { Sample, SampleData } from '../../src/data/dataset.ts'
import { BatchLoader } from '../../src/data/loader.ts'

/** Samples that load when told to; `begun` are the ids of those that were begun. */
function slowSamples(count: number, bytes = 4) {
  const begun: string[] = []
  const finish: (() => void)[] = []
  const samples = Array.from({ length: count }, (_, i): Sample => {
    const id = String(i)
    return {
      id,
      group: id,
      imagePath: id,
      originalSize: [1, 1],
      load: () => {
        begun.push(id)
        return new Promise<SampleData>((resolve, reject) => {
          finish[i] = () => {
            if (bytes < 0) reject(new Error(`${id}.png: damaged`))
            const [image, mask] = [new Float32Array(bytes / 4), new Float32Array(0)]
            resolve({ image, mask, height: 1, width: 1, channels: i })
          }
        })
      },
    }
  })
  const end = (...ids: number[]) => {
    for (const i of ids) finish[i]!()
  }
  return { samples, begun, finish: end }
}

const pairs = (samples: readonly Sample[]): Sample[][] =>
  Array.from({ length: samples.length / 2 }, (_, i) => samples.slice(2 * i, 2 * i + 2))
const settled = () => new Promise((resolve) => setTimeout(resolve, 0))

test('batches come in order, whichever is loaded first; two are loaded ahead of the one in use', async () => {
  const { samples, begun, finish } = slowSamples(10)
  const loader = new BatchLoader(pairs(samples))
  expect(begun).toEqual(['0', '1', '2', '3'])
  finish(3, 2)
  const first = loader.next()
  expect(begun).toEqual(['0', '1', '2', '3', '4', '5'])
  await settled()
  finish(1, 0)
  expect((await first)!.map((s) => s.channels)).toEqual([0, 1])
  expect(loader.waitedMs).toBeGreaterThan(0)
  expect((await loader.next())!.map((s) => s.channels)).toEqual([2, 3])
  expect(begun).toHaveLength(8)
  finish(4, 5, 6, 7)
  await loader.next()
  await loader.next()
  finish(8, 9)
  expect((await loader.next())!.map((s) => s.channels)).toEqual([8, 9])
  expect(await loader.next()).toBeUndefined()
})

test('while batches that lie ready fill the memory bound, none is begun', async () => {
  const { samples, begun, finish } = slowSamples(12, 400)
  const loader = new BatchLoader(pairs(samples), { ahead: 4, maxBytes: 1000 })
  expect(begun).toHaveLength(8)
  finish(0, 1, 2, 3, 4, 5)
  await settled()
  // Three batches of 800 bytes lie ready, one is being loaded.
  await loader.next()
  expect(begun).toHaveLength(8)
  await loader.next()
  expect(begun).toHaveLength(12)
  // Nothing is ready: a batch that is wanted is begun all the same.
  const tight = slowSamples(4, 400)
  const one = new BatchLoader(pairs(tight.samples), { ahead: 1, maxBytes: 1 })
  tight.finish(0, 1)
  await settled()
  await one.next()
  expect(tight.begun).toHaveLength(4)
})

test('a batch that cannot be loaded is told when it is asked for, by the name of its file', async () => {
  const good = slowSamples(2)
  const bad = slowSamples(2, -1)
  const loader = new BatchLoader([good.samples, bad.samples, good.samples])
  bad.finish(0, 1)
  await settled()
  good.finish(0, 1)
  expect(await loader.next()).toHaveLength(2)
  await expect(loader.next()).rejects.toThrow('0.png: damaged')
  good.finish(0, 1)
  await loader.close()
})

test('closed, it begins no batch and waits for those under way', async () => {
  const { samples, begun, finish } = slowSamples(10)
  const loader = new BatchLoader(pairs(samples))
  let closed = false
  const closing = loader.close().then(() => {
    closed = true
  })
  await settled()
  expect(closed).toBe(false)
  finish(0, 1, 2, 3)
  await closing
  expect(begun).toHaveLength(4)
  expect(await loader.next()).toHaveLength(2)
})
