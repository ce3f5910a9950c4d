import { describe, expect, test } from 'vitest'
import { fusePolar } from '../../src/autograd/ops/fuse-polar.ts'
import { inversePolarWarp, type PolarLayout } from '../../src/autograd/ops/polar-warp.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { testDevice } from '../device.ts'
import { adjoint, checkGradients, randomValues } from '../oracle.ts'
import { expectClose } from '../reference.ts'
import { inverseOracle } from './warp-oracle.ts'

const layouts: PolarLayout[] = ['radius-up', 'angles-down']
/** Objects of three images; one lies on none, image 1 has none, and they do not come in order. */
const INDEX = [2, 0, -1, 2, 0, 3, 2]
const IMAGES = 3
const SHAPE = [INDEX.length, 2, 6, 9]
const size = { height: 7, width: 8, maxRadius: 5.5 }

/** The canvases of the objects, added up one by one. */
function added(canvases: ArrayLike<number>, plane: number): Float64Array {
  const y = new Float64Array(IMAGES * plane)
  INDEX.forEach((n, m) => {
    if (n < 0 || n >= IMAGES) return
    for (let i = 0; i < plane; i++) y[n * plane + i]! += canvases[m * plane + i]!
  })
  return y
}

describe.each(layouts)('%s', (layout) => {
  const options = { ...size, layout, images: IMAGES }

  test('is the sum of the inverse warps of each image', async () => {
    const device = await testDevice()
    const p = device.tensor(randomValues(SHAPE), SHAPE)
    const center = device.tensor(randomValues([INDEX.length, 2], 3, 1, 6), [INDEX.length, 2])
    const batchIndex = device.tensor(Int32Array.from(INDEX), [INDEX.length])
    const y = fusePolar(p, center, { ...options, batchIndex })
    expect(y.shape).toEqual([IMAGES, 2, 7, 8])
    const each = await inversePolarWarp(p, center, { ...size, layout }).data()
    expectClose(await y.data(), added(each, 2 * 7 * 8), 1e-6, 1e-6, 'sum')
  })

  test('gradients in the polar images and the centres', async () => {
    const device = await testDevice()
    const batchIndex = device.tensor(Int32Array.from(INDEX), [INDEX.length]).keep()
    await checkGradients(
      (p, c) => fusePolar(p, c, { ...options, batchIndex }),
      (p, c) => added(inverseOracle(p, c, 7, 8, 5.5, layout), 2 * 7 * 8),
      [
        { shape: SHAPE },
        {
          shape: [7, 2],
          data: [3.31, 2.77, 5.13, 1.29, 2.23, 4.41, 6.17, 3.83, 1.71, 5.37, 4.59, 0.67, 3.03, 3.59],
        },
      ],
    )
    await adjoint(
      (p: Tensor) => fusePolar(p, device.full([7, 2], 3.3), { ...options, batchIndex, mode: 'nearest' }),
      SHAPE,
    )
  })
})

test('the same in a compiled step; one image of one object is its inverse warp', async () => {
  const device = await testDevice()
  const p = device.tensor(randomValues([1, 1, 16, 16]), [1, 1, 16, 16])
  const center = device.tensor([7.3, 8.1], [1, 2])
  const batchIndex = device.tensor(Int32Array.of(0), [1])
  const step = device.compile((a: Tensor, b: Tensor, c: Tensor) =>
    fusePolar(a, b, { height: 16, width: 16, batchIndex: c, images: 1 }),
  )
  const single = await inversePolarWarp(p, center, { height: 16, width: 16 }).data()
  expect([...(await step(p, center, batchIndex).data())]).toEqual([...single])
  step.dispose()
})

test('refuses what does not fit by a sentence', async () => {
  const device = await testDevice()
  const p = device.zeros([2, 1, 4, 4])
  const center = device.zeros([2, 2])
  const batchIndex = device.zeros([2], { dtype: 'int32' })
  const all = { height: 4, width: 4, batchIndex, images: 1 }
  expect(() => fusePolar(p, device.zeros([3, 2]), all)).toThrow(
    'fusePolar: center is float32 (3, 2), p (2, 1, 4, 4); give a float32 centre for each polar image',
  )
  expect(() => fusePolar(p, center, { ...all, batchIndex: device.zeros([2]) })).toThrow(
    'fusePolar: batchIndex is float32 (2); it must be int32 (2), one image number a row of p',
  )
  expect(() => fusePolar(p, center, { ...all, images: 0 })).toThrow('images is a whole number of at least 1')
  expect(() => fusePolar(p, center, { height: 4, width: 4, batchIndex } as never)).toThrow(
    /fusePolar.*images/,
  )
})
