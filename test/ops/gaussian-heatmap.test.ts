import { describe, expect, test } from 'vitest'
import { argmax2d } from '../../src/autograd/ops/argmax2d.ts'
import { gaussianHeatmap } from '../../src/autograd/ops/gaussian-heatmap.ts'
import { testDevice } from '../device.ts'
import { checkGradients } from '../oracle.ts'
import { reference, runCase } from '../reference.ts'

const file = reference('warps')

describe('PyTorch', () => {
  test.each(file.cases.filter((c) => c.op === 'gaussianHeatmap'))('$name', async (c) => {
    const options = c.attrs as unknown as { size: [number, number]; sigma: number }
    await runCase(await testDevice(), file, c, ([centers]) => gaussianHeatmap(centers!, options), {
      rtol: 2e-5,
      gradAtol: 5e-6,
    })
  })
})

// Odd widths; fours of columns, in pairs, with one left over, and more of them than lanes beside each other.
test.each([
  [5, 7],
  [5, 8],
  [4, 12],
  [3, 140],
])('values and gradients, %i×%i', async (h, w) => {
  const sigma = 1.7
  await checkGradients(
    (centers) => gaussianHeatmap(centers, { size: [h, w], sigma }),
    ({ data }) =>
      Float64Array.from({ length: 3 * h * w }, (_, i) => {
        const n = Math.floor(i / (h * w))
        const [u, v] = [(i % w) - data[2 * n]!, (Math.floor(i / w) % h) - data[2 * n + 1]!]
        return Math.exp(-(u * u + v * v) / (2 * sigma * sigma))
      }),
    [{ shape: [3, 2], low: -1, high: w }],
  )
})

test('is one at its centre, where argmax2d finds it', async () => {
  const device = await testDevice()
  const centers = device.tensor([4, 3, 0, 6], [2, 2])
  const y = gaussianHeatmap(centers, { size: [7, 9], sigma: 2 })
  expect(Math.max(...(await y.data()))).toBe(1)
  expect([...(await argmax2d(y).data())]).toEqual([4, 3, 0, 6])
})

test('what does not fit', async () => {
  const device = await testDevice()
  expect(() => gaussianHeatmap(device.zeros([2, 3]), { size: 4, sigma: 1 })).toThrow(
    'gaussianHeatmap: centers must be float32 (N, 2), an (x, y) in pixels each, got float32 (2, 3)',
  )
  expect(() => gaussianHeatmap(device.zeros([2, 2]), { size: 4, sigma: 0 })).toThrow(
    'gaussianHeatmap: sigma is a length in pixels above 0, got 0',
  )
})
