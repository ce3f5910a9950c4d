import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { argmax2d } from '../../src/autograd/ops/argmax2d.ts'
import { testDevice } from '../device.ts'
import { reference, runCase } from '../reference.ts'

const file = reference('warps')

describe('NumPy', () => {
  test.each(file.cases.filter((c) => c.op === 'argmax2d'))('$name', async (c) => {
    await runCase(await testDevice(), file, c, ([x]) => argmax2d(x!), { rtol: 0, atol: 0 })
  })
})

test('the first of equals, for any shape', async () => {
  const device = await testDevice()
  const size = fc.constantFrom(1, 2, 5, 9, 31)
  await fc.assert(
    fc.asyncProperty(size, size, fc.infiniteStream(fc.integer({ min: -2, max: 2 })), async (h, w, stream) => {
      const values = Float32Array.from({ length: h * w }, () => stream.next().value)
      const first = values.indexOf(Math.max(...values))
      const x = device.tensor(values, [1, 1, h, w])
      expect([...(await argmax2d(x).data())]).toEqual([first % w, Math.floor(first / w)])
    }),
    { numRuns: 20, seed: 42 },
  )
})

test('has no gradient, and says why', async () => {
  const device = await testDevice()
  const x = device.zeros([1, 1, 2, 2], { requiresGrad: true })
  expect(() => argmax2d(x).backward(device.ones([1, 2]))).toThrow(/argmax2d has no gradient/)
})
