import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { hostile, noise } from '../../bench/masks.ts'
import { componentContaining, largestComponent } from '../../src/autograd/ops/select-component.ts'
import { testDevice } from '../device.ts'
import { floodFill } from '../masks.ts'

const pictures = fc.record({
  h: fc.integer({ min: 1, max: 25 }),
  w: fc.integer({ min: 1, max: 75 }),
  density: fc.double({ min: 0.1, max: 0.9, noNaN: true }),
  seed: fc.integer(),
  connectivity: fc.constantFrom(4 as const, 8 as const),
})

describe('componentContaining', () => {
  it('keeps what the point lies in, nothing for a point on the background', async () => {
    const device = await testDevice()
    await fc.assert(
      fc.asyncProperty(
        pictures,
        fc.array(fc.double({ min: -0.2, max: 1.2, noNaN: true }), { minLength: 4, maxLength: 4 }),
        async ({ h, w, density, seed, connectivity }, at) => {
          const masks = [noise(h, w, density, seed), noise(h, w, density, seed + 1)]
          const points = Float32Array.of(at[0]! * w, at[1]! * h, at[2]! * w, at[3]! * h)
          using x = device.tensor(Float32Array.from(masks.flatMap((m) => [...m])), [2, 1, h, w])
          using p = device.tensor(points, [2, 2])
          using y = componentContaining(x, p, { connectivity })
          const expected = masks.flatMap((mask, n) => {
            const { labels } = floodFill(mask, h, w, connectivity)
            const [px, py] = [Math.floor(points[2 * n]! + 0.5), Math.floor(points[2 * n + 1]! + 0.5)]
            const label = px >= 0 && py >= 0 && px < w && py < h ? labels[py * w + px]! : 0
            return Array.from(labels, (l) => (label > 0 && l === label ? 1 : 0))
          })
          expect([...(await y.data())]).toEqual(expected)
        },
      ),
      { numRuns: 40 },
    )
  })

  it('takes the nearest pixel; points outside or not finite keep nothing', async () => {
    const device = await testDevice()
    const row = Float32Array.of(1, 0, 1, 1)
    const cases: [number, number, number[]][] = [
      [-0.5, 0, [1, 0, 0, 0]],
      [-0.51, 0, [0, 0, 0, 0]],
      [1.49, 0.4, [0, 0, 0, 0]],
      [1.5, -0.4, [0, 0, 1, 1]],
      [3.49, 0, [0, 0, 1, 1]],
      [3.5, 0, [0, 0, 0, 0]],
      [0, 0.5, [0, 0, 0, 0]],
      [Number.NaN, 0, [0, 0, 0, 0]],
      [0, Number.POSITIVE_INFINITY, [0, 0, 0, 0]],
      [-1e30, 0, [0, 0, 0, 0]],
    ]
    for (const [px, py, expected] of cases) {
      using x = device.tensor(row, [1, 1, 1, 4])
      using p = device.tensor([px, py], [1, 2])
      using y = componentContaining(x, p)
      expect([...(await y.data())], `${px}, ${py}`).toEqual(expected)
    }
  })

  it('refuses other points by a sentence', async () => {
    const device = await testDevice()
    using x = device.zeros([2, 1, 4, 4])
    using p = device.zeros([1, 2])
    expect(() => componentContaining(x, p)).toThrow(
      'componentContaining: points must be float32 (2, 2), a point (x, y) for each image of mask, got float32 (1, 2)',
    )
  })
})

describe('largestComponent', () => {
  it('keeps the most pixels; of equal ones the first', async () => {
    const device = await testDevice()
    const check = async (masks: Float32Array[], h: number, w: number, connectivity: 4 | 8) => {
      using x = device.tensor(Float32Array.from(masks.flatMap((m) => [...m])), [masks.length, 1, h, w])
      using y = largestComponent(x, { connectivity })
      const expected = masks.flatMap((mask) => {
        const { labels, areas } = floodFill(mask, h, w, connectivity)
        const label = areas.indexOf(Math.max(0, ...areas)) + 1
        return Array.from(labels, (l) => (l > 0 && l === label ? 1 : 0))
      })
      expect([...(await y.data())]).toEqual(expected)
    }
    await fc.assert(
      fc.asyncProperty(pictures, async ({ h, w, density, seed, connectivity }) => {
        await check([noise(h, w, density, seed), noise(h, w, density, seed + 1)], h, w, connectivity)
      }),
      { numRuns: 40 },
    )
    await check(Object.values(hostile(64)), 64, 64, 4)
  })
})
