import { expect, test } from 'vitest'
import type { NetworkCase } from '../../bench/networks.ts'
import { benchPixels, spread } from '../../bench/pixels.ts'
import { openDevice } from '../../src/node/open.ts'

test('sizes of a network and batch are timed in turns, phase by phase', async () => {
  const device = await openDevice()
  const at = (batch: number, side: number): NetworkCase => ({
    network: 'unet',
    features: 4,
    inChannels: 1,
    batch,
    side,
  })
  const groups: number[][] = []
  const rows = await benchPixels(device, [at(1, 32), at(2, 32), at(1, 64)], {
    batchMs: 1,
    rounds: 2,
    onRows: (group) => groups.push(group.map((r) => r.side)),
  })
  expect(groups).toEqual([[32, 64], [32, 64], [32], [32]])
  expect(rows.map(({ phase, batch, side, pixels }) => [phase, batch, side, pixels])).toEqual([
    ['inference', 1, 32, 1024],
    ['inference', 1, 64, 4096],
    ['training step', 1, 32, 1024],
    ['training step', 1, 64, 4096],
    ['inference', 2, 32, 2048],
    ['training step', 2, 32, 2048],
  ])
  for (const { ms, min, rounds } of rows) {
    expect(rounds).toBe(2)
    expect(min).toBeGreaterThan(0)
    expect(ms).toBeGreaterThanOrEqual(min)
  }
  device.destroy()
})

test('the spread of time a pixel is that of the dearest over the cheapest', () => {
  const row = {
    title: 'net',
    phase: 'inference',
    batch: 1,
    inChannels: 1,
    side: 1,
    min: 0,
    rounds: 1,
  } as const
  const rows = [
    { ...row, pixels: 10, ms: 20 },
    { ...row, pixels: 40, ms: 60 },
    { ...row, pixels: 20, ms: 50 },
  ]
  expect(spread(rows, (r) => r.ms)).toBeCloseTo(2.5 / 1.5, 12)
})
