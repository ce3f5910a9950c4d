import { describe, expect, test, vi } from 'vitest'
import { add } from '../../src/autograd/ops/add.ts'
import { affineWarp } from '../../src/autograd/ops/affine-warp.ts'
import { cropResize } from '../../src/autograd/ops/crop-resize.ts'
import { interpolate } from '../../src/autograd/ops/interpolate.ts'
import { mul } from '../../src/autograd/ops/mul.ts'
import { pasteBoxes } from '../../src/autograd/ops/paste-boxes.ts'
import { polarWarp } from '../../src/autograd/ops/polar-warp.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { inEveryForm, testDevice } from '../device.ts'
import { randomValues } from '../oracle.ts'
import { expectClose } from '../reference.ts'
import { type OracleOptions, spreadOracle } from './warp-oracle.ts'

/*
 * Gradients in images, pixel by pixel, against a transposed sampling in float64: on images that several invocations share,
 * whose widths are no multiple of what one takes.
 */

const modes = ['bilinear', 'nearest'] as const
const [N, C, H, W] = [2, 2, 37, 41]

/** Boxes (left, top, width, height) on images of H×W. */
const BOXES = {
  'at the same scale': [2.25, 3.5, 30, 20],
  'over the border': [-9.3, -12.1, 40.7, 35.2],
  'around the image': [-20, -30, 90, 110],
  'beside the image': [60, 50, 12, 9],
  'one pixel': [7, 31, 1, 1],
  'thinner than a pixel': [11.3, 8.2, 0.3, 0.2],
  empty: [5, 6, 0, 0],
  mirrored: [33.2, 30.4, -25.1, -28.7],
} as const

/** Position of sample (v, u) of `size` in a box, rounded as float32 rounds it where a half decides. */
const inBox =
  (boxes: readonly (readonly number[])[], [h, w]: readonly [number, number]) =>
  (m: number, v: number, u: number): readonly [number, number] => {
    const [left, top, width, height] = boxes[m]!.map(Math.fround) as [number, number, number, number]
    const along = (i: number, first: number, length: number, count: number) =>
      Math.fround(first + Math.fround(Math.fround((i + 0.5) * length) / count - 0.5))
    return [along(u, left, width, w), along(v, top, height, h)]
  }

/** dx of `fn` for a random upstream gradient, and that gradient. */
async function gradient(fn: (x: Tensor) => Tensor, shape: readonly number[]) {
  const device = await testDevice()
  const x = device.tensor(randomValues(shape, 3), shape, { requiresGrad: true })
  const y = fn(x)
  const dy = { data: Float64Array.from(randomValues(y.shape, 4)), shape: y.shape }
  y.backward(device.tensor(Float32Array.from(dy.data), y.shape))
  const dx = await x.grad!.data()
  for (const t of [x.grad, x, y]) t?.dispose()
  return { dx, dy }
}

describe.each(Object.entries(BOXES))('crops %s', (_, box) => {
  // Larger and smaller than the box: a pixel goes into up to dozens of samples, or into none.
  test.each([
    [20, 30],
    [7, 5],
    [83, 130],
    [1, 1],
  ] as const)('of %i×%i', async (h, w) => {
    const device = await testDevice()
    const boxes = [box, box.map((v) => 0.9 * v)]
    const tensor = device.tensor(boxes.flat(), [2, 4])
    for (const mode of modes) {
      const options: OracleOptions = { mode, padX: 'border', padY: 'border' }
      // A width that four divides is stored in fours.
      for (const width of [W, 40]) {
        const { dx, dy } = await gradient(
          (x) => cropResize(x, tensor, { size: [h, w], mode }),
          [N, C, H, width],
        )
        const exact = spreadOracle(dy, [N, H, width], inBox(boxes, [h, w]), options)
        // Thousands of samples may meet in a pixel of the border.
        expectClose(dx, exact, 1e-4, mode === 'bilinear' ? 2e-4 : 1e-4, `${mode} ${width}`)
      }
    }
    tensor.dispose()
  })
})

// Of many boxes that shrink the image samples are scattered, else they are gathered.
test.each([
  [19, 52],
  [2, 3],
] as const)('crops of 21 boxes of one image to %i×%i, in every form of the kernels', async (h, w) => {
  const device = await testDevice()
  const known = Object.values(BOXES)
  const boxes = [1, 0.7, 0.4].flatMap((scale) => known.slice(0, 7).map((b) => b.map((v) => scale * v + 1.3)))
  const tensor = device.tensor(boxes.flat(), [boxes.length, 4])
  await inEveryForm(async () => {
    const { dx, dy } = await gradient((x) => cropResize(x, tensor, { size: [h, w] }), [1, 3, H, W])
    const exact = spreadOracle(dy, [1, H, W], inBox(boxes, [h, w]), { padX: 'border', padY: 'border' })
    expectClose(dx, exact, 1e-4, 2e-4, 'dx')
  })
})

describe.each(Object.entries(BOXES))('pastes %s', (_, box) => {
  test.each([
    [20, 30],
    [7, 5],
    [83, 132],
    [1, 1],
  ] as const)('of %i×%i', async (h, w) => {
    const device = await testDevice()
    const boxes = [box, box.map((v) => 0.9 * v)].map((b) => b.map(Math.fround))
    const tensor = device.tensor(boxes.flat(), [2, 4])
    const place = (m: number, v: number, u: number): readonly [number, number] | undefined => {
      const [left, top, width, height] = boxes[m]! as [number, number, number, number]
      const [x, y] = [Math.fround(u + 0.5 - left), Math.fround(v + 0.5 - top)]
      if (!(x >= 0 && x < width && y >= 0 && y < height)) return undefined
      const inside = (p: number, size: number) => Math.min(Math.max(p, 0), size - 1)
      const along = (p: number, length: number, size: number) =>
        inside(Math.fround(Math.fround(Math.fround(p * size) / length) - 0.5), size)
      return [along(x, width, w), along(y, height, h)]
    }
    for (const mode of modes) {
      for (const index of [undefined, [1, 0]]) {
        const batchIndex = index && device.tensor(Int32Array.from(index), [2])
        const { dx, dy } = await gradient(
          (crops) =>
            pasteBoxes(crops, tensor, {
              ...{ height: H, width: W, mode, images: 2 },
              ...(batchIndex && { batchIndex }),
            }),
          [2, C, h, w],
        )
        // dy of image `index[m]` is that of crop m: the same boxes, the other way round.
        const order = index ?? [0, 1]
        const plane = C * H * W
        const data = new Float64Array(dy.data.length)
        for (const [m, n] of order.entries())
          data.set(dy.data.subarray(n * plane, (n + 1) * plane), m * plane)
        const exact = spreadOracle({ data, shape: dy.shape }, [2, h, w], place, {
          ...{ mode, padX: 'border', padY: 'border' },
          index: [0, 1],
        })
        expectClose(dx, exact, 1e-4, 1e-4, `${mode} ${index}`)
        batchIndex?.dispose()
      }
    }
    tensor.dispose()
  })
})

test.each([
  [37, 41],
  [80, 91],
  [300, 20],
  [9, 400],
  [3, 2],
] as const)('resizing to %i×%i', async (h, w) => {
  const at = (i: number, size: number, out: number) =>
    Math.min(Math.max((i + 0.5) * (size / out) - 0.5, 0), size - 1)
  await inEveryForm(async () => {
    const { dx, dy } = await gradient((x) => interpolate(x, { size: [h, w], mode: 'bilinear' }), [1, 5, H, W])
    const exact = spreadOracle(dy, [1, H, W], (_m, v, u) => [at(u, W, w), at(v, H, h)], {
      padX: 'border',
      padY: 'border',
    })
    expectClose(dx, exact, 1e-4, 2e-5, `${h}×${w}`)
  })
})

// On CPU drivers invocations have planes to themselves, or copies of planes; at 80² from 3² they share one by atomics.
test.each([
  [1, 1, 37, 41],
  [2, 2, 37, 41],
  [3, 1, 36, 40],
  [5, 3, 37, 41],
  [1, 11, 9, 7],
  [1, 2, 80, 80],
] as const)('affine warps of (%i, %i, %i, %i), in every form of the kernels', async (n, c, h, w) => {
  const device = await testDevice()
  const size = h === 80 ? 3 : 40
  // Rotated, enlarged, shrunken to a few pixels, mirrored.
  const matrices = [
    [0.8, -0.5, 9, 0.5, 0.8, -6],
    [0.1, 0, 3, 0.05, 0.2, 4],
    [7, 1, -50, -2, 9, -40],
    [-0.9, 0.1, 33, 0.2, 1, 1],
  ]
  for (const index of [undefined, [1, 0, -1, 0, 1, n - 1, 0].map((i) => Math.min(i, n - 1))]) {
    const outputs = index?.length ?? (n === 1 ? 4 : n)
    const rows = Array.from({ length: outputs }, (_, m) => matrices[m % 4]!.map(Math.fround))
    const matrix = device.tensor(rows.flat(), [outputs, 2, 3])
    const batchIndex = index && device.tensor(Int32Array.from(index), [outputs])
    for (const paddingMode of ['zeros', 'border', 'reflection'] as const) {
      const options = { size, paddingMode, ...(batchIndex && { batchIndex }) }
      await inEveryForm(async () => {
        const { dx, dy } = await gradient((x) => affineWarp(x, matrix, options), [n, c, h, w])
        const exact = spreadOracle(
          dy,
          [n, h, w],
          (m, v, u) => {
            const [a, b, e, d, f, g] = rows[m]! as [number, number, number, number, number, number]
            return [a * u + b * v + e, d * u + f * v + g]
          },
          { padX: paddingMode, padY: paddingMode, ...(index && { index }) },
        )
        expectClose(dx, exact, 1e-4, 1e-4, `${paddingMode} ${index}`)
      })
    }
    matrix.dispose()
    batchIndex?.dispose()
  }
})

test.each([1, 9])('gradients in %i planes have the same bits on any number of cores', async (planes) => {
  const device = await testDevice()
  const center = device.tensor([20, 17], [1, 2])
  const onCores = async (hardwareConcurrency: number) => {
    vi.stubGlobal('navigator', { hardwareConcurrency })
    const { dx } = await gradient((x) => polarWarp(x, center), [1, planes, H, W])
    vi.unstubAllGlobals()
    return [...new Uint32Array(dx.buffer)]
  }
  const one = await onCores(1)
  expect(await onCores(3)).toEqual(one)
  expect(await onCores(64)).toEqual(one)
  center.dispose()
})

test('gradients are added to what other consumers left, and to that of a leaf', async () => {
  const device = await testDevice()
  const boxes = device.tensor([3.3, 2.1, 14, 12.5], [1, 4])
  const matrix = device.tensor([0.9, -0.3, 2, 0.3, 0.9, -1], [1, 2, 3])
  const center = device.tensor([8.5, 9.25], [1, 2])
  const consumers: readonly ((x: Tensor) => Tensor)[] = [
    (x) => cropResize(x, boxes, { size: 17 }),
    (x) => interpolate(x, { size: 17, mode: 'bilinear' }),
    (x) => pasteBoxes(x, boxes, { height: 17, width: 17 }),
    (x) => affineWarp(x, matrix, { size: 17 }),
    (x) => polarWarp(x, center, { angles: 17, radii: 17 }),
  ]
  for (const channels of [2, 9]) {
    const shape = [1, channels, 21, 20]
    const parts = await Promise.all(consumers.map((f) => gradient(f, shape)))
    const total = parts[0]!.dx.map((_, i) => parts.reduce((sum, { dx }) => sum + dx[i]!, 0))
    const all = (x: Tensor) => consumers.map((f) => f(x)).reduce((sum, y) => add(sum, y))
    expectClose((await gradient(all, shape)).dx, total, 1e-5, 1e-5, 'of a leaf')
    const doubled = await gradient((x) => all(mul(x, 2)), shape)
    expectClose(
      doubled.dx,
      total.map((v) => 2 * v),
      1e-5,
      2e-5,
      'of an intermediate',
    )
    expect(total.some((v) => v !== 0)).toBe(true)
  }
})
