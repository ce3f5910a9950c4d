import fc from 'fast-check'
import { expect, test } from 'vitest'
import { where } from '../../src/autograd/ops/where.ts'
import { testDevice } from '../device.ts'
import { broadcastOracle, checkGradients } from '../oracle.ts'
import { reference, runCase } from '../reference.ts'

const file = reference('ops')

test.each(file.cases.filter((c) => c.op === 'where'))('$name', async (c) => {
  await runCase(await testDevice(), file, c, ([condition, a, b]) => where(condition!, a!, b!))
})

test('any shapes that broadcast', async () => {
  const axes = fc.array(fc.tuple(fc.constantFrom(1, 2, 3, 4, 7), fc.nat(7)), { maxLength: 5 })
  await fc.assert(
    fc.asyncProperty(axes, fc.nat(1000), async (dims, seed) => {
      const part = (bit: number) => dims.map(([d, has]) => (has & bit ? d : 1))
      const shape = part(1)
      const count = shape.reduce<number>((n, d) => n * d, 1)
      const condition = Float32Array.from({ length: count }, (_, i) => [0, 1, -2, -0][(i + seed) % 4]!)
      await checkGradients(
        (c, a, b) => where(c, a, b),
        (c, a, b) => broadcastOracle((p, q, r) => (p ? q : r), c, a, b),
        [{ shape, data: condition, grad: false }, { shape: part(2) }, { shape: part(4) }],
        { seed, maxElements: 6 },
      )
    }),
    { numRuns: 15 },
  )
})

test('numbers in place of a and b; NaN in the branch not taken', async () => {
  const device = await testDevice()
  const c = device.tensor([1, 0, Number.NaN, -0, 2])
  const x = device.tensor([1, Number.NaN, 3, 4, 5], [5], { requiresGrad: true })
  expect([...(await where(c, x, 7).data())]).toEqual([1, 7, 3, 7, 5])
  expect([...(await where(c, -1, 2).data())]).toEqual([-1, 2, -1, 2, -1])
  where(c, x, 0).backward(device.ones([5]))
  expect([...(await x.grad!.data())]).toEqual([1, 0, 1, 0, 1])
  const z = device.tensor([1, 2, 3, 4, 5], [5], { requiresGrad: true })
  where(c, 0, z).backward(device.ones([5]))
  expect([...(await z.grad!.data())]).toEqual([0, 1, 0, 1, 0])
})

test('what is refused', async () => {
  const device = await testDevice()
  expect(() => where(device.ones([2]), device.ones([3]), 0)).toThrow(/where: shapes \(2\) and \(3\)/)
  expect(() => where(device.tensor(Int32Array.of(1)), 1, 0)).toThrow(
    'where: condition is int32; pass a float32 tensor',
  )
})
