import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Operand } from '../../src/autograd/binary.ts'
import * as ops from '../../src/autograd/ops/index.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { testDevice } from '../device.ts'
import { broadcastOracle, checkGradients } from '../oracle.ts'
import { expectClose, reference, runCase } from '../reference.ts'

const file = reference('ops')
const smooth = {
  add: ops.add,
  sub: ops.sub,
  mul: ops.mul,
  div: ops.div,
  maximum: ops.maximum,
  minimum: ops.minimum,
}
const compare = { gt: ops.gt, ge: ops.ge, lt: ops.lt, le: ops.le, eq: ops.eq, ne: ops.ne }
const all: Record<string, (a: Operand, b: Operand) => Tensor> = { ...smooth, ...compare }
const exact: Record<string, (a: number, b: number) => number> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  maximum: Math.max,
  minimum: Math.min,
}

test.each(file.cases.filter((c) => c.op in all))('$name', async (c) => {
  const device = await testDevice()
  await runCase(device, file, c, ([a, b]) => all[c.op]!(a!, b!))
})

/** Two shapes that broadcast, up to six axes, sizes with and without the factor 4. */
const pairs = fc
  .array(fc.tuple(fc.constantFrom(1, 2, 3, 4, 5, 8), fc.constantFrom('both', 'a', 'b')), { maxLength: 6 })
  .filter((axes) => axes.reduce((n, [d]) => n * d, 1) <= 4000)
  .chain((axes) =>
    fc.tuple(fc.nat(axes.length), fc.boolean()).map(([cut, cutA]) => {
      const a = axes.map(([d, who]) => (who === 'b' ? 1 : d))
      const b = axes.map(([d, who]) => (who === 'a' ? 1 : d))
      return cutA ? { a: a.slice(cut), b } : { a, b: b.slice(cut) }
    }),
  )

test.each(Object.keys(smooth))('%s: broadcast gradients against the float64 oracle', async (name) => {
  await fc.assert(
    fc.asyncProperty(pairs, fc.integer({ min: 1, max: 1000 }), async ({ a, b }, seed) => {
      const low = name === 'div' ? 0.5 : -1
      await checkGradients(
        (x, y) => all[name]!(x, y),
        (x, y) => broadcastOracle(exact[name]!, x, y),
        [
          { shape: a, low: -2, high: 2 },
          { shape: b, low, high: 2 },
        ],
        { seed, maxElements: 12, gradAtol: 1e-4 },
      )
    }),
    { numRuns: 12 },
  )
})

test('long inner axes, launched without divisions', async () => {
  const cases: [number[], number[]][] = [
    [
      [2, 3, 8, 32],
      [3, 1, 1],
    ],
    [
      [3, 1, 1],
      [2, 3, 8, 32],
    ],
    [
      [2, 3, 16, 17],
      [3, 1, 1],
    ],
    [
      [3, 5, 64],
      [3, 1, 64],
    ],
    [
      [2, 1, 63],
      [7, 63],
    ],
    [
      [4, 1, 256],
      [1, 3, 256],
    ],
    [
      [2, 3, 1, 64],
      [1, 3, 5, 1],
    ],
  ]
  for (const [a, b] of cases) {
    await checkGradients(
      (x, y) => ops.sub(x, y),
      (x, y) => broadcastOracle((p, q) => p - q, x, y),
      [{ shape: a }, { shape: b }],
      { maxElements: 3, gradAtol: 1e-4 },
    )
  }
})

test.each(Object.keys(smooth))('%s: numbers on either side', async (name) => {
  for (const c of [1.5, -0.75]) {
    const input = [{ shape: [3, 7], low: 0.5, high: 2 }]
    await checkGradients(
      (x) => all[name]!(x, c),
      (x) => x.data.map((v) => exact[name]!(v, c)),
      input,
    )
    await checkGradients(
      (x) => all[name]!(c, x),
      (x) => x.data.map((v) => exact[name]!(c, v)),
      input,
    )
  }
})

test('ties of maximum and minimum share the gradient; a tensor with itself', async () => {
  const device = await testDevice()
  for (const f of [ops.maximum, ops.minimum]) {
    const a = device.tensor([1, 2, 3], [3], { requiresGrad: true })
    const b = device.tensor([1, 2, 3], [3], { requiresGrad: true })
    f(a, b).backward(device.ones([3]))
    expect([...(await a.grad!.data())]).toEqual([0.5, 0.5, 0.5])
    expect([...(await b.grad!.data())]).toEqual([0.5, 0.5, 0.5])
  }
  const x = device.tensor([1, 2, 3], [3], { requiresGrad: true })
  ops.mul(x, x).backward(device.ones([3]))
  expect([...(await x.grad!.data())]).toEqual([2, 4, 6])
})

test('NaN passes through arithmetic and equals nothing', async () => {
  const device = await testDevice()
  const a = device.tensor([Number.NaN, 1, Number.NaN, 2, Infinity])
  const b = device.tensor([1, Number.NaN, Number.NaN, 2, Infinity])
  const nan = Number.NaN
  expectClose(await ops.maximum(a, b).data(), [nan, nan, nan, 2, Infinity], 0, 0, 'maximum')
  expectClose(await ops.minimum(a, b).data(), [nan, nan, nan, 2, Infinity], 0, 0, 'minimum')
  const expected = { gt: [0, 0, 0, 0, 0], ge: [0, 0, 0, 1, 1], eq: [0, 0, 0, 1, 1], ne: [1, 1, 1, 0, 0] }
  for (const [name, values] of Object.entries(expected)) {
    expect([...(await all[name]!(a, b).data())], name).toEqual(values)
  }
})

test('logic', async () => {
  const device = await testDevice()
  const a = device.tensor([0, 0, 1, -2])
  const b = device.tensor([0, 3, 0, 1])
  expect([...(await ops.logicalAnd(a, b).data())]).toEqual([0, 0, 0, 1])
  expect([...(await ops.logicalOr(a, b).data())]).toEqual([0, 1, 1, 1])
  expect([...(await ops.logicalNot(a).data())]).toEqual([1, 1, 0, 0])
})

test('size 0, and what is refused', async () => {
  const device = await testDevice()
  const none = device.zeros([0, 3])
  expect(ops.add(none, device.zeros([3])).shape).toEqual([0, 3])
  const a = device.zeros([2, 3])
  expect(() => ops.add(a, device.zeros([4]))).toThrow(
    'add: shapes (2, 3) and (4) do not broadcast: axis -1 has sizes 3 and 4; sizes must be equal or 1',
  )
  expect(() => ops.mul(a, device.tensor(Int32Array.of(1)))).toThrow('mul: b is int32; pass a float32 tensor')
  expect(() => ops.add(1, 2)).toThrow(/add: needs two operands, at least one of them a tensor/)
  const x = device.tensor([1], [1], { requiresGrad: true })
  expect(() => ops.gt(x, 0).backward()).toThrow(/gt has no gradient/)
})

test('add with a ReLU behind it: values, broadcast gradients, a NaN stays one', async () => {
  await fc.assert(
    fc.asyncProperty(pairs, fc.integer({ min: 1, max: 1000 }), async ({ a, b }, seed) => {
      await checkGradients(
        (x, y) => ops.add(x, y, { activation: 'relu' }),
        (x, y) => broadcastOracle((p, q) => Math.max(0, p + q), x, y),
        [{ shape: a }, { shape: b }],
        { seed, maxElements: 8, gradAtol: 1e-4 },
      )
    }),
    { numRuns: 15, seed: 4 },
  )
  const device = await testDevice()
  const x = device.tensor([Number.NaN, -1, 1], [3])
  expect([...(await ops.add(x, 0.5, { activation: 'relu' }).data())]).toEqual([Number.NaN, 0, 1.5])
  const no = { activation: 'tanh' } as unknown as ops.AddOptions
  expect(() => ops.add(x, x, no)).toThrow("add: activation is 'relu' or left out, got 'tanh'")
})
