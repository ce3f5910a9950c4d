import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { cropResize } from '../../src/autograd/ops/crop-resize.ts'
import { testDevice } from '../device.ts'
import { type Array64, adjoint, checkGradients, randomValues } from '../oracle.ts'
import { expectClose, reference, runCase } from '../reference.ts'
import { sampleOracle } from './warp-oracle.ts'

const file = reference('warps')

describe('PyTorch and torchvision', () => {
  test.each(file.cases.filter((c) => c.op === 'cropResize'))('$name', async (c) => {
    const options = c.attrs as unknown as { size: [number, number] }
    await runCase(
      await testDevice(),
      file,
      c,
      ([x, boxes, batchIndex]) => cropResize(x!, boxes!, batchIndex ? { ...options, batchIndex } : options),
      { atol: 2e-6, gradAtol: 5e-6 },
    )
  })
})

const cropOracle = (x: Array64, boxes: Array64, h: number, w: number, index?: number[]): Float64Array =>
  sampleOracle(
    x,
    [boxes.shape[0]!, h, w],
    (m, i, j) => {
      const [left, top, width, height] = [...boxes.data.subarray(4 * m, 4 * m + 4)] as number[]
      return [left! + ((j + 0.5) * width!) / w - 0.5, top! + ((i + 0.5) * height!) / h - 0.5]
    },
    { padX: 'border', padY: 'border', ...(index && { index }) },
  )

test('gradients in image and boxes', async () => {
  await checkGradients(
    (x, boxes) => cropResize(x, boxes, { size: [4, 5] }),
    (x, boxes) => cropOracle(x, boxes, 4, 5),
    [{ shape: [2, 3, 7, 6] }, { shape: [2, 4], data: [0.83, 1.21, 3.37, 4.13, -1.18, 2.29, 5.21, 6.83] }],
  )
})

test('gradients of many boxes of one image, and of boxes that choose their images', async () => {
  const device = await testDevice()
  const data = [0.83, 1.21, 3.37, 4.13, -1.18, 2.29, 5.21, 6.83, 1.07, 0.13, 2.61, 2.77]
  await checkGradients(
    (x, boxes) => cropResize(x, boxes, { size: 3 }),
    (x, boxes) => cropOracle(x, boxes, 3, 3),
    [{ shape: [1, 2, 7, 6] }, { shape: [3, 4], data }],
  )
  const batchIndex = device.tensor(Int32Array.of(1, -1, 1), [3])
  await checkGradients(
    (x, boxes) => cropResize(x, boxes, { size: 3, batchIndex }),
    (x, boxes) => cropOracle(x, boxes, 3, 3, [1, -1, 1]),
    [{ shape: [2, 2, 7, 6] }, { shape: [3, 4], data }],
  )
})

const size = fc.constantFrom(1, 2, 3, 5, 7, 11)

test('⟨Ax, y⟩ = ⟨x, Aᵀy⟩ for any shape and box', async () => {
  const device = await testDevice()
  await fc.assert(
    fc.asyncProperty(
      fc.tuple(fc.integer({ min: 1, max: 2 }), fc.constantFrom(1, 3), size, size),
      size,
      size,
      fc.constantFrom('bilinear' as const, 'nearest' as const),
      async (shape, h, w, mode) => {
        const boxes = device.tensor(randomValues([shape[0], 4], h * 20 + w, 0.5, 9), [shape[0], 4])
        await adjoint((x) => cropResize(x, boxes, { size: [h, w], mode }), shape)
        boxes.dispose()
      },
    ),
    { numRuns: 20, seed: 42 },
  )
})

/** Resizing by its definition: half-pixel centres, or the pixel that holds the centre. */
function resized(x: Float32Array, h: number, w: number, oh: number, ow: number, nearest: boolean): number[] {
  const tap = (i: number, from: number, to: number): [number, number, number] => {
    if (nearest) return [Math.floor(((2 * i + 1) * from) / (2 * to)), 0, 0]
    const p = Math.min(Math.max(((i + 0.5) * from) / to - 0.5, 0), from - 1)
    return [Math.floor(p), Math.min(Math.floor(p) + 1, from - 1), p - Math.floor(p)]
  }
  return Array.from({ length: oh * ow }, (_, k) => {
    const [a, b, s] = tap(Math.floor(k / ow), h, oh)
    const [c, d, t] = tap(k % ow, w, ow)
    const at = (i: number, j: number): number => x[i * w + j]!
    return (1 - s) * ((1 - t) * at(a, c) + t * at(a, d)) + s * ((1 - t) * at(b, c) + t * at(b, d))
  })
}

test('the crop of a whole image is the image, resized', async () => {
  const device = await testDevice()
  await fc.assert(
    fc.asyncProperty(size, size, size, size, fc.boolean(), async (h, w, oh, ow, nearest) => {
      const values = randomValues([h, w], h + w)
      const x = device.tensor(values, [1, 1, h, w])
      const y = cropResize(x, device.tensor([0, 0, w, h], [1, 4]), {
        size: [oh, ow],
        mode: nearest ? 'nearest' : 'bilinear',
      })
      expectClose(
        await y.data(),
        resized(values, h, w, oh, ow, nearest),
        1e-5,
        2e-6,
        `${h}×${w} to ${oh}×${ow}`,
      )
    }),
    { numRuns: 30, seed: 42 },
  )
})

test('a box of whole pixels cut at its own size is a slice', async () => {
  const device = await testDevice()
  const values = randomValues([9, 13])
  const x = device.tensor(values, [1, 1, 9, 13])
  const y = await cropResize(x, device.tensor([3, 2, 7, 5], [1, 4]), { size: [5, 7] }).data()
  expect([...y]).toEqual(
    Array.from({ length: 35 }, (_, i) => values[(2 + Math.floor(i / 7)) * 13 + 3 + (i % 7)]!),
  )
})

test('dx of many boxes of each image, that enlarge it and shrink it', async () => {
  const device = await testDevice()
  const shape = [3, 2, 11, 9]
  // Partly outside, on the border, empty, mirrored, of no image, thinner than a pixel.
  const rows = [
    [1.3, 2.1, 5.5, 6.2], [-3, -2, 8, 7], [6, 8, 9, 9], [0, 0, 0, 0], [7, 6, -5, -4.5], [2, 2, 3, 3], [4.2, 5.1, 0.3, 0.2],
  ] // biome-ignore format: a table
  const index = [2, 0, 2, 0, 2, -1, 0]
  for (const size of [
    [12, 10],
    [2, 3],
  ] as const) {
    for (const mode of ['bilinear', 'nearest'] as const) {
      const boxes = device.tensor(rows.flat(), [rows.length, 4])
      const batchIndex = device.tensor(Int32Array.from(index), [index.length])
      await adjoint((x) => cropResize(x, boxes, { size, mode, batchIndex }), shape)
      // The same by one crop an image.
      const x = device.tensor(randomValues(shape), shape, { requiresGrad: true })
      const dy = randomValues([rows.length, 2, ...size], 5)
      cropResize(x, boxes, { size, mode, batchIndex }).backward(device.tensor(dy, [rows.length, 2, ...size]))
      const got = await x.grad!.data()
      const expected = new Float64Array(x.size)
      const [plane, crop] = [2 * 11 * 9, 2 * size[0] * size[1]]
      const values = await x.data()
      for (const [m, n] of index.entries()) {
        if (n < 0) continue
        const one = device.tensor(values.slice(n * plane, (n + 1) * plane), [1, 2, 11, 9], {
          requiresGrad: true,
        })
        const box = device.tensor(rows[m]!, [1, 4])
        cropResize(one, box, { size, mode }).backward(
          device.tensor(dy.slice(m * crop, (m + 1) * crop), [1, 2, ...size]),
        )
        const part = await one.grad!.data()
        for (let i = 0; i < plane; i++) expected[n * plane + i]! += part[i]!
      }
      expectClose(got, expected, 1e-5, 1e-5, `dx ${size} ${mode}`)
    }
  }
})

test('no boxes, and boxes that do not fit', async () => {
  const device = await testDevice()
  const x = device.zeros([2, 3, 8, 8])
  expect(
    cropResize(x, device.zeros([0, 4]), { size: 4, batchIndex: device.tensor(new Int32Array(0)) }).shape,
  ).toEqual([0, 3, 4, 4])
  expect(() => cropResize(x, device.zeros([2, 5]), { size: 4 })).toThrow(
    'cropResize: boxes must be float32 (M, 4), a (left, top, width, height) in pixels each, got float32 (2, 5)',
  )
  expect(() => cropResize(x, device.zeros([3, 4]), { size: 4 })).toThrow(
    'cropResize: boxes (3, 4) holds 3 rows, x has 2 images; give one row an image, or a batchIndex that says which image each row is for',
  )
  expect(() => cropResize(x, device.zeros([2, 4]), { size: 0 })).toThrow(
    /size is a whole number of at least 1/,
  )
})
