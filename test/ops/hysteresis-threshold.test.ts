import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { hostile } from '../../bench/masks.ts'
import { hysteresisThreshold } from '../../src/autograd/ops/hysteresis-threshold.ts'
import { inEveryForm, testDevice } from '../device.ts'
import { floodFill } from '../masks.ts'
import { uniforms } from '../oracle.ts'
import { reference, runCase } from '../reference.ts'

type Options = Parameters<typeof hysteresisThreshold>[1]

async function thresholded(values: Float32Array, n: number, h: number, w: number, options: Options) {
  const device = await testDevice()
  using x = device.tensor(values, [n, 1, h, w])
  using y = hysteresisThreshold(x, options)
  return await y.data()
}

/** Values of a few levels, so that many equal the thresholds. */
function levels(count: number, seed: number): Float32Array {
  const next = uniforms(seed)
  return Float32Array.from({ length: count }, () => Math.floor(next() * 9) / 8)
}

function oracle(values: Float32Array, h: number, w: number, { low, high, connectivity = 4 }: Options) {
  const { labels } = floodFill(
    values.map((v) => (v > low ? 1 : 0)),
    h,
    w,
    connectivity,
  )
  const strong = new Set(labels.filter((_, i) => values[i]! > high))
  strong.delete(0)
  return Float32Array.from(labels, (l) => (strong.has(l) ? 1 : 0))
}

const size = fc.record({
  h: fc.integer({ min: 1, max: 25 }),
  w: fc.integer({ min: 1, max: 75 }),
  seed: fc.integer(),
  connectivity: fc.constantFrom(4 as const, 8 as const),
})
const level = fc.integer({ min: -1, max: 9 }).map((k) => k / 8)

describe('hysteresisThreshold', () => {
  const file = reference('components')
  it.each(file.cases.filter((c) => c.op === 'hysteresisThreshold').map((c) => [c.name, c] as const))(
    'gives the values of scikit-image and SciPy: %s',
    async (_, c) => {
      const device = await testDevice()
      await runCase(device, file, c, ([x], attrs) => hysteresisThreshold(x!, attrs as unknown as Options), {
        rtol: 0,
        atol: 0,
      })
    },
  )

  it('gives what the definition gives, in batches', async () => {
    await fc.assert(
      fc.asyncProperty(size, level, level, async ({ h, w, seed, connectivity }, a, b) => {
        const options = { low: Math.min(a, b), high: Math.max(a, b), connectivity }
        const values = levels(2 * h * w, seed)
        const halves = [values.slice(0, h * w), values.slice(h * w)]
        expect([...(await thresholded(values, 2, h, w, options))]).toEqual(
          halves.flatMap((v) => [...oracle(v, h, w, options)]),
        )
      }),
      { numRuns: 40 },
    )
  })

  it('is monotone in both thresholds, and idempotent', async () => {
    await fc.assert(
      fc.asyncProperty(
        size,
        fc.array(level, { minLength: 3, maxLength: 3 }),
        async ({ h, w, seed, connectivity }, three) => {
          const [a, b, c] = three.sort((p, q) => p - q) as [number, number, number]
          const values = levels(h * w, seed)
          const of = (low: number, high: number) => thresholded(values, 1, h, w, { low, high, connectivity })
          const [wide, raisedHigh, raisedLow] = [await of(a, b), await of(a, c), await of(b, c)]
          expect(raisedHigh.every((v, i) => v <= wide[i]!)).toBe(true)
          expect(raisedLow.every((v, i) => v <= raisedHigh[i]!)).toBe(true)
          const again = await thresholded(Float32Array.from(wide), 1, h, w, {
            low: 0,
            high: 0.4,
            connectivity,
          })
          expect(again).toEqual(wide)
        },
      ),
      { numRuns: 20 },
    )
  })

  it('hostile masks with one strong pixel', async () => {
    for (const [name, mask] of Object.entries(hostile(128))) {
      const at = mask.lastIndexOf(1)
      const values = mask.map((v, i) => (i === at ? 1 : 0.5 * v))
      const options = { low: 0, high: 0.9 }
      expect(await thresholded(values, 1, 128, 128, options), name).toEqual(oracle(values, 128, 128, options))
    }
  })

  it('the forms for CPU drivers and for GPUs', () =>
    inEveryForm(async () => {
      for (const w of [100, 103]) {
        const values = levels(61 * w, w)
        const options = { low: 0.2, high: 0.7 }
        expect(await thresholded(values, 1, 61, w, options)).toEqual(oracle(values, 61, w, options))
      }
    }))

  it('NaN is below every threshold', async () => {
    const values = Float32Array.of(Number.NaN, 0.5, Number.NaN, 1, 0.5)
    expect([...(await thresholded(values, 1, 1, 5, { low: 0, high: 0.9 }))]).toEqual([0, 0, 0, 1, 1])
  })

  it('refuses other shapes and thresholds in the wrong order by a sentence', async () => {
    const device = await testDevice()
    using x = device.zeros([2, 1, 4, 5])
    using two = device.zeros([1, 2, 4, 5])
    expect(() => hysteresisThreshold(two, { low: 0, high: 1 })).toThrow(
      'hysteresisThreshold: x must have one channel, (N, 1, H, W), got (1, 2, 4, 5)',
    )
    expect(() => hysteresisThreshold(x, { low: 0.5, high: 0.4 })).toThrow('high (0.4) is below low (0.5)')
    expect(() => hysteresisThreshold(x, { low: Number.NaN, high: 0.4 })).toThrow('low is a finite number')
  })
})
