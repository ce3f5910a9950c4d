import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { noise } from '../../bench/masks.ts'
import { boundingBoxes, squareBoxes } from '../../src/autograd/ops/boxes.ts'
import { connectedComponents } from '../../src/autograd/ops/connected-components.ts'
import { testDevice } from '../device.ts'
import { expectClose } from '../reference.ts'

describe('boundingBoxes', () => {
  it('is around all foreground, padded and clipped; the whole image where there is none', async () => {
    const device = await testDevice()
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 100 }),
        fc.constantFrom(0, 0.002, 0.01, 0.1, 1),
        fc.constantFrom(0, 1, 2.5, 20),
        fc.integer(),
        async (h, w, density, padding, seed) => {
          const masks = [0, 1, 2].map((k) => noise(h, w, density, seed + k))
          using x = device.tensor(Float32Array.from(masks.flatMap((m) => [...m])), [3, 1, h, w])
          using boxes = boundingBoxes(x, { padding })
          const expected = masks.flatMap((mask) => {
            const on = [...mask.keys()].filter((i) => mask[i]! > 0)
            if (on.length === 0) return [0, 0, w, h]
            const xs = on.map((i) => i % w)
            const ys = on.map((i) => Math.floor(i / w))
            const left = Math.max(0, Math.min(...xs) - padding)
            const top = Math.max(0, Math.min(...ys) - padding)
            const right = Math.min(w, Math.max(...xs) + 1 + padding)
            const bottom = Math.min(h, Math.max(...ys) + 1 + padding)
            return [left, top, right - left, bottom - top]
          })
          expect([...(await boxes.data())]).toEqual(expected)
        },
      ),
      { numRuns: 40 },
    )
  })

  it('foreground is above the threshold, never NaN', async () => {
    const device = await testDevice()
    using x = device.tensor([Number.NaN, 0.5, 0.6, 0.4], [1, 1, 1, 4])
    using boxes = boundingBoxes(x, { threshold: 0.5 })
    expect([...(await boxes.data())]).toEqual([2, 0, 1, 1])
  })

  it('refuses other shapes and padding by a sentence', async () => {
    const device = await testDevice()
    using x = device.zeros([1, 1, 4, 4])
    using flat = device.zeros([4, 4])
    expect(() => boundingBoxes(flat)).toThrow(
      'boundingBoxes: mask must have one channel, (N, 1, H, W), got (4, 4)',
    )
    expect(() => boundingBoxes(x, { padding: -1 })).toThrow(
      'padding is a finite number of at least 0, got -1',
    )
  })
})

/** Algorithm 1 of the thesis, step by step. */
function oracle(
  [left, top, width, height]: readonly [number, number, number, number],
  size: { padding: number; height: number; width: number; minSize: number },
): number[] {
  if (width <= 0 || height <= 0) return [0, 0, 0, 0]
  const side = Math.max(width, height)
  let [l, t, w, h] = [left - (side - width) / 2, top - (side - height) / 2, side, side]
  l -= size.padding
  t -= size.padding
  w += 2 * size.padding
  h += 2 * size.padding
  if (w > size.width) [l, w] = [0, size.width]
  if (h > size.height) [t, h] = [0, size.height]
  if (l < 0) l = 0
  if (t < 0) t = 0
  if (l + w > size.width) l = size.width - w
  if (t + h > size.height) t = size.height - h
  return w < size.minSize || h < size.minSize ? [0, 0, 0, 0] : [l, t, w, h]
}

describe('squareBoxes', () => {
  it('squares, pads, shifts, clips, drops', async () => {
    const device = await testDevice()
    const side = fc.integer({ min: 1, max: 60 })
    await fc.assert(
      fc.asyncProperty(
        side,
        side,
        fc.constantFrom(0, 2, 3.5, 16),
        fc.constantFrom(0, 5, 9),
        fc.array(
          fc.tuple(
            fc.integer({ min: -80, max: 280 }),
            fc.integer({ min: -80, max: 280 }),
            fc.integer({ min: 0, max: 280 }),
            fc.integer({ min: 0, max: 280 }),
          ),
          { minLength: 1, maxLength: 70 },
        ),
        async (height, width, padding, minSize, quarters) => {
          const given = quarters.map((b) => b.map((v) => v / 4) as [number, number, number, number])
          using boxes = device.tensor(given.flat(), [1, given.length, 4])
          using squared = squareBoxes(boxes, { height, width, padding, minSize })
          expect(squared.shape).toEqual(boxes.shape)
          expectClose(
            await squared.data(),
            given.flatMap((b) => oracle(b, { height, width, padding, minSize })),
            1e-6,
            1e-5,
            'boxes',
          )
        },
      ),
      { numRuns: 40 },
    )
  })

  it('takes the tables of connectedComponents: unused rows and specks stay in place as zeros', async () => {
    const device = await testDevice()
    const mask = new Float32Array(20 * 30)
    for (let y = 2; y < 10; y++) for (let x = 4; x < 10; x++) mask[30 * y + x] = 1
    mask[30 * 15 + 20] = 1
    using x = device.tensor(mask, [1, 1, 20, 30])
    const c = connectedComponents(x, { maxComponents: 3 })
    using crops = squareBoxes(c.boxes, { height: 20, width: 30 })
    expect([...(await crops.data())]).toEqual([3, 2, 8, 8, 0, 0, 0, 0, 0, 0, 0, 0])
    for (const t of Object.values(c)) t.dispose()
  })

  it('refuses other shapes and sizes by a sentence', async () => {
    const device = await testDevice()
    using boxes = device.zeros([2, 4])
    using three = device.zeros([2, 3])
    expect(() => squareBoxes(three, { height: 4, width: 4 })).toThrow(
      'squareBoxes: boxes must be float32 (…, 4) as (left, top, width, height), got float32 (2, 3)',
    )
    expect(() => squareBoxes(boxes, { height: 0, width: 4 })).toThrow('height is the image')
    expect(() => squareBoxes(boxes, { height: 4, width: 4, minSize: -1 })).toThrow('minSize')
  })
})
