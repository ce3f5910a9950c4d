import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { measureQuickly, time, timeInTurns } from '../../bench/measure.ts'
import type { Device } from '../../src/autograd/device.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] })
})
afterEach(() => {
  measureQuickly(false)
  vi.useRealTimers()
})

/** A device on which each call takes as long as it says, by the clock of the test; and what was called between waits. */
function pretended(milliseconds: Record<string, number>) {
  let due = 0
  let batch = ''
  const batches: string[] = []
  const device = {
    async idle() {
      vi.advanceTimersByTime(due)
      batches.push(batch)
      due = 0
      batch = ''
    },
  } as unknown as Device
  const calls = Object.entries(milliseconds).map(([name, ms]) => () => {
    batch += name
    due += ms
  })
  return { device, calls, batches }
}

test('calls are timed in turns, each batch as long as the longest call', async () => {
  const { device, calls, batches } = pretended({ a: 2, b: 20 })
  const times = await timeInTurns(device, calls, { batchMs: 5, budgetMs: 0, rounds: 3 })
  expect(times).toEqual([
    [2, 2, 2],
    [20, 20, 20],
  ])
  expect(batches.slice(-6)).toEqual(['a'.repeat(10), 'b', 'a'.repeat(10), 'b', 'a'.repeat(10), 'b'])
})

test('turns are taken until the budget is spent', async () => {
  const { device, calls } = pretended({ a: 5, b: 5 })
  const times = await timeInTurns(device, calls, { batchMs: 5, budgetMs: 100, rounds: 1 })
  expect(times.map((t) => t.length)).toEqual([10, 10])
})

test('a quick measurement takes a fraction of the time', async () => {
  const spent = async () => {
    const { device, calls } = pretended({ a: 2 })
    const begin = performance.now()
    expect(await time(device, calls[0]!, { budgetMs: 1000 })).toMatchObject({ median: 2, min: 2 })
    return performance.now() - begin
  }
  const usual = await spent()
  measureQuickly(true)
  const quick = await spent()
  measureQuickly(false)
  expect(quick).toBeLessThan(usual / 10)
  expect(await spent()).toBe(usual)
})
