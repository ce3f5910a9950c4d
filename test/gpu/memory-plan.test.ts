import fc from 'fast-check'
import { expect, test } from 'vitest'
import { formatBytes, parseBytes } from '../../src/gpu/bytes.ts'
import { type Lifetime, liveBytes, shareBuffers } from '../../src/gpu/memory-plan.ts'

const life = (bytes: number, first: number, last: number): Lifetime => ({ bytes, first, last })

test('bytes that are alive at once', () => {
  expect(liveBytes([])).toBe(0)
  expect(liveBytes([life(3, 0, 1), life(4, 2, 5), life(5, 5, 6)])).toBe(9)
  expect(liveBytes([life(3, 0, 1), life(4, 2, 5), life(5, 6, 6)])).toBe(5)
})

test('what follows each other shares a buffer, what overlaps does not; buffers that are there are taken first', () => {
  const lifetimes = [life(8, 0, 1), life(4, 1, 2), life(8, 2, 3)]
  expect(shareBuffers(lifetimes)).toEqual({ places: [0, 1, 0], sizes: [8, 4] })
  expect(shareBuffers(lifetimes, [2, 16, 4])).toEqual({ places: [1, 2, 1], sizes: [2, 16, 4] })
})

test('any lifetimes: buffers are large enough, never shared at one time, and no fewer bytes than are alive', () => {
  const lifetime = fc
    .tuple(fc.integer({ min: 1, max: 64 }), fc.nat(40), fc.nat(12))
    .map(([bytes, first, length]) => life(bytes, first, first + length))
  fc.assert(
    fc.property(
      fc.array(lifetime, { maxLength: 40 }),
      fc.array(fc.nat(64), { maxLength: 4 }),
      (all, there) => {
        const { places, sizes } = shareBuffers(all, there)
        expect(sizes.slice(0, there.length)).toEqual(there)
        all.forEach((a, i) => {
          expect(sizes[places[i]!]).toBeGreaterThanOrEqual(a.bytes)
          all.forEach((b, k) => {
            if (k > i && places[i] === places[k]) expect(a.last < b.first || b.last < a.first).toBe(true)
          })
        })
        const planned = [...new Set(places)].reduce((sum, p) => sum + sizes[p]!, 0)
        expect(planned).toBeGreaterThanOrEqual(liveBytes(all))
      },
    ),
  )
})

test('bytes as people write them', () => {
  expect(['8GB', '8 gib', '512 MB', '1.5k', '1048576', '7 bytes', '2b'].map(parseBytes)).toEqual([
    2 ** 33,
    2 ** 33,
    2 ** 29,
    1536,
    2 ** 20,
    7,
    2,
  ])
  for (const bad of ['', 'GB', '-1GB', '0', '8 GBs', '1e9', 'four MB', '1.2.3', '99999999TB'])
    expect(parseBytes(bad), bad).toBeUndefined()
  expect([300, 2048, 9.1 * 2 ** 30, 5 * 2 ** 50].map(formatBytes)).toEqual([
    '300 bytes',
    '2.0 KB',
    '9.1 GB',
    '5120.0 TB',
  ])
})
