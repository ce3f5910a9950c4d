import fc from 'fast-check'
import { expect, test } from 'vitest'
import { cropResize } from '../../src/autograd/ops/crop-resize.ts'
import { pasteBoxes } from '../../src/autograd/ops/paste-boxes.ts'
import { testDevice } from '../device.ts'
import { type Array64, adjoint, checkGradients, randomValues, uniforms } from '../oracle.ts'
import { expectClose } from '../reference.ts'
import { sampleOracle, smoothImage } from './warp-oracle.ts'

/** Each crop resized over the whole image by sampling, then the greatest of those whose box holds the pixel. */
function pasteOracle(
  crops: Array64,
  boxes: ArrayLike<number>,
  index: readonly number[],
  images: number,
  height: number,
  width: number,
  mode: 'bilinear' | 'nearest' = 'bilinear',
): Float64Array {
  const [m, c, h, w] = crops.shape as [number, number, number, number]
  const box = (k: number) => [boxes[4 * k]!, boxes[4 * k + 1]!, boxes[4 * k + 2]!, boxes[4 * k + 3]!] as const
  const layers = sampleOracle(
    crops,
    [m, height, width],
    (k, v, u) => {
      const [left, top, bw, bh] = box(k)
      return [((u + 0.5 - left) * w) / bw - 0.5, ((v + 0.5 - top) * h) / bh - 0.5]
    },
    { padX: 'border', padY: 'border', mode, index: Array.from({ length: m }, (_, k) => k) },
  )
  const area = height * width
  const y = new Float64Array(images * c * area)
  for (let i = 0; i < y.length; i++) {
    const [n, k, v, u] = [
      Math.floor(i / (c * area)),
      Math.floor(i / area) % c,
      Math.floor((i % area) / width),
      i % width,
    ]
    const values = index.flatMap((of, b) => {
      const [left, top, bw, bh] = box(b)
      const [x, y] = [u + 0.5 - left, v + 0.5 - top]
      return of === n && x >= 0 && x < bw && y >= 0 && y < bh
        ? [layers[(b * c + k) * area + v * width + u]!]
        : []
    })
    y[i] = values.length > 0 ? Math.max(...values) : 0
  }
  return y
}

const boxes = [0.8, 1.2, 5.3, 4.1, 3.4, 2.3, 5.2, 6.8, -1.4, -0.7, 4.6, 3.7, 2, 0, 7, 9]

test.each(['bilinear', 'nearest'] as const)('values and gradient in overlapping crops: %s', async (mode) => {
  const device = await testDevice()
  const index = [0, 0, 1, -1]
  const batchIndex = device.tensor(Int32Array.from(index), [4])
  const at = device.tensor(boxes, [4, 4])
  await checkGradients(
    (crops) => pasteBoxes(crops, at, { height: 9, width: 8, batchIndex, images: 2, mode }),
    (crops) => pasteOracle(crops, boxes.map(Math.fround), index, 2, 9, 8, mode),
    [{ shape: [4, 2, 3, 5] }],
  )
})

test.each([
  ['max', 75, 101],
  ['or', 75, 101],
  ['max', 150, 104],
  ['or', 150, 104],
] as const)(
  'boxes of several images, looked up by tile: %s of %i, %i px wide',
  async (reduce, count, width) => {
    const device = await testDevice()
    // Boxes of images 2, 0 and of none, some across tiles, some outside, some empty; image 1 has none.
    const height = 70
    const random = uniforms(5)
    const index = Array.from({ length: count }, (_, m) => (m < 0.53 * count ? 2 : m < 0.93 * count ? 0 : 7))
    const many = index.flatMap((_, m) => {
      const [l, t, w, h] = [random() * 110 - 8, random() * 76 - 6, random() * 45, random() * 30]
      return m % 13 === 0 ? [0, 0, 0, 0] : m % 11 === 0 ? [32, 32, 32, 32] : [l, t, w, h]
    })
    const crops = {
      shape: [count, 2, 5, 4],
      data: Float64Array.from(randomValues([count, 2, 5, 4], 8, -0.2, 1)),
    }
    const tensors = [
      device.tensor(Float32Array.from(crops.data), crops.shape),
      device.tensor(many, [count, 4]),
    ] as const
    const batchIndex = device.tensor(Int32Array.from(index), [count])
    const y = await pasteBoxes(...tensors, { height, width, batchIndex, images: 3, reduce }).data()
    const exact = pasteOracle(crops, many.map(Math.fround), index, 3, height, width)
    expectClose(y, reduce === 'max' ? exact : exact.map((v) => (v > 0.5 ? 1 : 0)), 1e-4, 1e-4, reduce)
  },
)

test('⟨Ax, y⟩ = ⟨x, Aᵀy⟩ where boxes do not overlap, whatever the sizes', async () => {
  const device = await testDevice()
  const size = fc.constantFrom(1, 2, 3, 5, 8, 13)
  await fc.assert(
    fc.asyncProperty(
      size,
      size,
      size,
      size,
      fc.constantFrom('bilinear' as const, 'nearest' as const),
      async (h, w, height, width, mode) => {
        const at = device.tensor(randomValues([3, 4], h * 31 + w, 0.3, 9), [3, 4])
        await adjoint((crops) => pasteBoxes(crops, at, { height, width, mode }), [3, 2, h, w])
        at.dispose()
      },
    ),
    { numRuns: 20, seed: 42 },
  )
})

test('paste(crop(x)) is x inside the box and zero outside', async () => {
  const device = await testDevice()
  const values = smoothImage(24, 20, uniforms(3))
  const x = device.tensor(values, [1, 1, 24, 20])
  const at = device.tensor([4, 6, 12, 10], [1, 4])
  const y = await pasteBoxes(cropResize(x, at, { size: [30, 36] }), at, { height: 24, width: 20 }).data()
  for (let i = 0; i < 480; i++) {
    const [v, u] = [Math.floor(i / 20), i % 20]
    const inside = u >= 4 && u < 16 && v >= 6 && v < 16
    expect(Math.abs(y[i]! - (inside ? values[i]! : 0))).toBeLessThan(inside ? 0.01 : 1e-9)
  }
})

test("reduce 'or' of masks: one where any box says so", async () => {
  const device = await testDevice()
  const crops = device.tensor([1, 0.4, 0, 1, 0.6, 0, 0, 0], [2, 1, 2, 2])
  const at = device.tensor([0, 0, 2, 2, 1, 1, 2, 2], [2, 4])
  const options = { height: 3, width: 4, images: 1 }
  expect([...(await pasteBoxes(crops, at, { ...options, reduce: 'or' }).data())]).toEqual([
    1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0,
  ])
  expect([...(await pasteBoxes(crops, at, options).data())].map((v) => Math.round(v * 10))).toEqual([
    10, 4, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0,
  ])
})

test('no boxes give zeros; what does not fit is said', async () => {
  const device = await testDevice()
  const none = pasteBoxes(device.zeros([0, 1, 2, 2]), device.zeros([0, 4]), {
    height: 3,
    width: 2,
    images: 2,
    batchIndex: device.tensor(new Int32Array(0)),
  })
  expect([...(await none.data())]).toEqual(new Array(12).fill(0))
  const crops = device.zeros([2, 1, 3, 3])
  const at = device.zeros([2, 4])
  expect(() => pasteBoxes(crops, device.zeros([3, 4]), { height: 4, width: 4 })).toThrow(
    'pasteBoxes: boxes (3, 4) and crops (2, 1, 3, 3) must be as many',
  )
  expect(() => pasteBoxes(crops, at, { height: 4, width: 4, images: 3 })).toThrow(/2 boxes for 3 images/)
  expect(() =>
    pasteBoxes(crops, at, { height: 4, width: 4, batchIndex: device.tensor(Int32Array.of(0, 0)) }),
  ).toThrow(/say how many images there are/)
})
