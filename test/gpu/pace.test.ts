import { expect, test } from 'vitest'
import { add } from '../../src/autograd/ops/add.ts'
import { paceDawn } from '../../src/node/pace.ts'
import { testDevice } from '../device.ts'

const device = await testDevice()

/** Work for some tenths of a second. */
function longWork(): void {
  device.scope(() => {
    let x = device.zeros([1 << 22])
    for (let i = 0; i < 12; i++) x = add(x, 1)
  })
  device.flush()
}

test('waiting for the GPU leaves the processor alone, and the host its setImmediate', async () => {
  longWork()
  await device.idle()
  const host = globalThis.setImmediate
  let seen = 0
  let foreign = 0
  const counting = ((f: (...a: unknown[]) => void, ...args: unknown[]) => {
    seen++
    return host(f, ...args)
  }) as typeof host
  globalThis.setImmediate = counting
  try {
    const start = performance.now()
    longWork()
    const waiting = device.idle()
    for (let i = 0; i < 5; i++) {
      await new Promise((r) => setTimeout(r, 2))
      if (globalThis.setImmediate !== counting) foreign++
    }
    await waiting
    expect(performance.now() - start).toBeGreaterThan(10)
  } finally {
    globalThis.setImmediate = host
  }
  expect(foreign).toBe(0)
  // Dawn by itself asks some 200 times a millisecond through it.
  expect(seen).toBeLessThan(10)
})

test('a call that throws leaves the host its setImmediate; arguments and result pass through', () => {
  class GPUQueue {
    onSubmittedWorkDone(text: string): string {
      if (text === 'bad') throw new Error('refused')
      return `${text} done`
    }
  }
  paceDawn({ GPUQueue })
  const host = globalThis.setImmediate
  expect(new GPUQueue().onSubmittedWorkDone('all')).toBe('all done')
  expect(() => new GPUQueue().onSubmittedWorkDone('bad')).toThrow('refused')
  expect(globalThis.setImmediate).toBe(host)
})

test('a question is asked at once after a call, then after pauses that grow to three milliseconds, until nothing is pending', async () => {
  let left = 0
  let asked = 0
  const ask = () => {
    asked++
    if (--left > 0) globalThis.setImmediate(ask)
  }
  class GPUBuffer {
    mapAsync(): void {
      left = 1e6
      globalThis.setImmediate(ask)
    }
  }
  paceDawn({ GPUBuffer })
  const start = performance.now()
  new GPUBuffer().mapAsync()
  await new Promise((r) => setImmediate(() => setImmediate(r)))
  const soon = asked
  await new Promise((r) => setTimeout(r, 60))
  const before = asked
  await new Promise((r) => setTimeout(r, 60))
  const late = asked - before
  left = 0
  expect(performance.now() - start).toBeGreaterThan(100)
  expect(soon).toBeGreaterThan(0)
  // A tenth of a millisecond without a pause, then 16·ln(480) of a sixteenth of what was waited, then some of three milliseconds.
  expect(before).toBeLessThan(1000)
  expect(late).toBeGreaterThan(0)
  expect(late).toBeLessThanOrEqual(50)
})
