import { expect, test } from 'vitest'
import { benchDealt, type Work } from '../../bench/dealt.ts'
import { sum } from '../../src/autograd/ops/index.ts'
import { openDevice } from '../../src/node/open.ts'

/** A sum, as a compiled step. */
const work: Work = {
  name: 'sum',
  setup(device) {
    const x = device.tensor(Float32Array.from({ length: 100 }, (_, i) => i))
    const call = device.compile(() => sum(x))
    return { call, dispose: () => call.dispose() }
  },
}

test('work is timed dealt out and as the driver cuts it, and the device deals on', async () => {
  const device = await openDevice()
  const { deal } = device
  const bench = benchDealt(device, [work], { budgetMs: 0 })
  if (!deal) {
    await expect(bench).rejects.toThrow(/bench --dealt: .* is given launches as they are/)
  } else {
    const [row, ...others] = await bench
    expect(others).toEqual([])
    expect(row).toMatchObject({ name: 'sum', rounds: 5 })
    const { cutMs, cutMin, dealtMs, dealtMin } = row!
    for (const ms of [cutMin, dealtMin]) expect(ms).toBeGreaterThan(0)
    expect(cutMs).toBeGreaterThanOrEqual(cutMin)
    expect(dealtMs).toBeGreaterThanOrEqual(dealtMin)
  }
  expect(device.deal).toBe(deal)
  device.destroy()
})
