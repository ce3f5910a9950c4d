import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { centerOfMass } from '../../src/autograd/ops/center-of-mass.ts'
import { inEveryForm, testDevice } from '../device.ts'
import { type Array64, checkGradients, randomValues } from '../oracle.ts'
import { expectClose, reference, runCase } from '../reference.ts'

const file = reference('warps')

describe('SciPy', () => {
  test.each(file.cases.filter((c) => c.op === 'centerOfMass'))('$name', async (c) => {
    await runCase(await testDevice(), file, c, ([x]) => centerOfMass(x!), { atol: 5e-6 })
  })
})

function oracle({ data, shape }: Array64): Float64Array {
  const [n, , h, w] = shape as [number, number, number, number]
  const y = new Float64Array(2 * n)
  for (let k = 0; k < n; k++) {
    let [mass, mx, my] = [0, 0, 0]
    for (let i = 0; i < h * w; i++) {
      const value = data[k * h * w + i]!
      mass += value
      mx += value * (i % w)
      my += value * Math.floor(i / w)
    }
    y[2 * k] = mass === 0 ? (w - 1) / 2 : mx / mass
    y[2 * k + 1] = mass === 0 ? (h - 1) / 2 : my / mass
  }
  return y
}

test('values and gradients for any shape', async () => {
  const size = fc.constantFrom(1, 2, 3, 7, 16, 70)
  const property = fc.asyncProperty(fc.constantFrom(1, 3), size, size, async (n, h, w) => {
    await checkGradients(centerOfMass, oracle, [{ shape: [n, 1, h, w], low: 0.1, high: 1 }], {
      maxElements: 20,
    })
  })
  await inEveryForm(() => fc.assert(property, { numRuns: 15, seed: 42 }))
})

test.each([1031, 1032])('a large image keeps the fraction to 1e-4 px, %i px wide', async (width) => {
  const device = await testDevice()
  const shape = [2, 1, 517, width]
  const data = randomValues(shape, 4, 0, 1)
  await inEveryForm(async () => {
    const y = await centerOfMass(device.tensor(data, shape)).data()
    expectClose(y, oracle({ data: Float64Array.from(data), shape }), 0, 1e-4, 'centres')
  })
})

test('needs one channel', async () => {
  const device = await testDevice()
  expect(() => centerOfMass(device.zeros([2, 3, 4, 4]))).toThrow(
    'centerOfMass: x must be (N, 1, H, W) with pixels, got (2, 3, 4, 4); reshape channels into the batch to treat each on its own',
  )
})
