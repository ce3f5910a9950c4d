import { expect, test } from 'vitest'
import { timeInTurns } from '../../bench/measure.ts'
import type { Device } from '../../src/autograd/device.ts'

/** A device on which a call takes as long as it says. */
function pretended(milliseconds: Record<string, number>) {
  let due = 0
  const log: string[] = []
  const device = {
    async idle() {
      const end = performance.now() + due
      due = 0
      log.push('|')
      while (performance.now() < end);
    },
  } as unknown as Device
  const calls = Object.entries(milliseconds).map(([name, ms]) => () => {
    log.push(name)
    due += ms
  })
  return { device, calls, log }
}

test('calls are timed in turns, each batch as long as the longest call', async () => {
  const { device, calls, log } = pretended({ a: 2, b: 20 })
  const times = await timeInTurns(device, calls, { batchMs: 5, budgetMs: 0, rounds: 3 })
  expect(times.map((t) => t.length)).toEqual([3, 3])
  const batches = log.join('').split('|').slice(0, -1)
  const rounds = batches.slice(-6)
  expect(rounds.map((b) => b[0])).toEqual(['a', 'b', 'a', 'b', 'a', 'b'])
  for (const [i, batch] of rounds.entries()) {
    if (i % 2 === 1) expect(batch).toBe('b')
    // Ten calls of 2 ms, one more or some fewer as the clock has it.
    else expect(batch.length).toBeGreaterThanOrEqual(4)
  }
  for (const ms of times[1]!) expect(ms).toBeGreaterThanOrEqual(20)
})

test('turns are taken until the budget is spent', async () => {
  const { device, calls } = pretended({ a: 5 })
  const [times] = await timeInTurns(device, calls, { batchMs: 5, budgetMs: 100, rounds: 1 })
  expect(times!.length).toBeGreaterThan(1)
})
