import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { prepareSample, type SampleData, sampleCache } from '../../src/data/dataset.ts'
import { binarizeMask, convertChannels } from '../../src/data/image.ts'
import {
  aortaWindow,
  fatWindow,
  liverWindow,
  rgbToSigned,
  toUnit,
  windowedToCentred,
} from '../../src/data/normalize.ts'
import { resizeImage, resizeLabels } from '../../src/data/resize.ts'

const f32 = (...values: number[]) => Float32Array.from(values)
const rounded = (data: Float32Array) => Array.from(data, (v) => +v.toFixed(5))

describe('resizeImage', () => {
  test('shrinking takes area-weighted means, as Pillow does', () => {
    expect(rounded(resizeImage(f32(0, 1, 2, 3), [1, 1, 4], [1, 2]))).toEqual([0.71429, 2.28571])
    expect(rounded(resizeImage(f32(0, 2, 4, 6), [1, 2, 2], [1, 1]))).toEqual([3])
  })
  test('enlarging interpolates between pixel centres', () => {
    expect(rounded(resizeImage(f32(0, 4), [1, 1, 2], [1, 4]))).toEqual([0, 1, 3, 4])
  })
  test('constants stay, means stay in range, channels do not mix, the same size is the same array', () => {
    const side = fc.integer({ min: 1, max: 9 })
    fc.assert(
      fc.property(side, side, side, side, (h, w, oh, ow) => {
        const data = new Float32Array(2 * h * w).fill(3).fill(7, h * w)
        const out = resizeImage(data, [2, h, w], [oh, ow])
        expect(out.length).toBe(2 * oh * ow)
        out.forEach((v, i) => {
          expect(v).toBeCloseTo(i < oh * ow ? 3 : 7, 5)
        })
        expect(resizeImage(data, [2, h, w], [h, w])).toBe(data)
      }),
    )
  })
})

test('resizeLabels: no new label, and enlarging by a whole factor repeats', () => {
  const side = fc.integer({ min: 1, max: 9 })
  fc.assert(
    fc.property(side, side, side, side, (h, w, oh, ow) => {
      const labels = Int32Array.from({ length: h * w }, (_, i) => i)
      const out = resizeLabels(labels, [h, w], [oh, ow])
      expect(out.length).toBe(oh * ow)
      expect(out.every((v) => labels.includes(v))).toBe(true)
      const twice = resizeLabels(labels, [h, w], [2 * h, 2 * w])
      expect(resizeLabels(twice, [2 * h, 2 * w], [h, w])).toEqual(labels)
    }),
  )
  expect([...resizeLabels(f32(1, 2), [1, 2], [2, 4])]).toEqual([1, 1, 2, 2, 1, 1, 2, 2])
  expect([...resizeLabels(f32(1, 2, 3), [1, 3], [1, 1])]).toEqual([2])
})

test('normalisations', () => {
  expect(rounded(rgbToSigned(f32(0, 127.5, 255), 255))).toEqual([-0.5, 0, 0.5])
  expect(rounded(rgbToSigned(f32(65535), 65535))).toEqual([0.5])
  expect(rounded(toUnit(f32(0, 51), 255))).toEqual([0, 0.2])
  expect(rounded(windowedToCentred(f32(0, 255), 255))).toEqual([-0.1, 0.9])
  expect(rounded(liverWindow(f32(-10, 0, 100, 200, 999), 1))).toEqual([-0.1, -0.1, 0.4, 0.9, 0.9])
  expect(rounded(fatWindow(f32(-300, -200, -115, -30, 0), 1))).toEqual([-0.1, -0.1, 0.4, 0.9, 0.9])
  expect(rounded(aortaWindow(f32(0, 200, 350, 500, 800), 1))).toEqual([-0.6, -0.6, -0.1, 0.4, 0.4])
})

test('channels', () => {
  expect([...convertChannels(f32(1, 2), 1, 3)]).toEqual([1, 2, 1, 2, 1, 2])
  expect(rounded(convertChannels(f32(100, 10, 1), 3, 1))).toEqual([35.884])
  const data = f32(1, 2, 3)
  expect(convertChannels(data, 3, 3)).toBe(data)
})

test('binarizeMask', () => {
  const of = (lossy: boolean, ...data: number[]) => [
    ...binarizeMask({ data: f32(...data), shape: [1, 1, data.length], max: 255 }, { lossy }),
  ]
  expect(of(false, 0, 127, 128)).toEqual([0, 0, 1])
  expect(of(false, 0, 1, 2)).toEqual([0, 1, 1])
  expect(of(false, 0, 0)).toEqual([0, 0])
  expect(of(true, 0, 3)).toEqual([0, 0])
})

test('prepareSample: mask from instances, depth as a last channel', () => {
  const image = { data: f32(0, 255), shape: [1, 1, 2] as [number, number, number], max: 255 }
  const instances = Int32Array.from([0, 9])
  const data = prepareSample({ image, instances }, { channels: 3, normalize: 'rgb', depth: 0.25 })
  expect([...data.image]).toEqual([-0.5, 0.5, -0.5, 0.5, -0.5, 0.5, 0.25, 0.25])
  expect([[...data.mask], data.channels, data.height, data.width]).toEqual([[0, 1], 4, 1, 2])
  const own = prepareSample(
    { image, mask: f32(1, 0) },
    { channels: 1, normalize: (x) => x.map((v) => v + 1) },
  )
  expect([[...own.image], [...own.mask], own.instances]).toEqual([[1, 256], [1, 0], undefined])
})

describe('sampleCache', () => {
  const data = (): SampleData => ({ image: f32(0), mask: f32(0), height: 1, width: 1, channels: 1 })

  test('keeps those that came first within its bytes, for good', async () => {
    const loads: string[] = []
    const cache = sampleCache(16)
    const load = (key: string) =>
      cache(key, async () => {
        loads.push(key)
        return data()
      })
    for (const key of ['a', 'b', 'a', 'c', 'a', 'b', 'c']) await load(key)
    expect(loads).toEqual(['a', 'b', 'c', 'c'])
  })

  test('does not keep a failure, nor a sample over the limit', async () => {
    const cache = sampleCache(16)
    await expect(cache('a', () => Promise.reject(new Error('no')))).rejects.toThrow('no')
    const one = await cache('a', async () => data())
    expect(await cache('a', async () => data())).toBe(one)
    const none = sampleCache(7)
    expect(await none('a', async () => data())).not.toBe(await none('a', async () => data()))
  })
})
