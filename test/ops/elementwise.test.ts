import fc from 'fast-check'
import { expect, test } from 'vitest'
import * as ops from '../../src/autograd/ops/index.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { testDevice } from '../device.ts'
import { checkGradients } from '../oracle.ts'
import { expectClose, reference, runCase } from '../reference.ts'

const file = reference('ops')
const plain = {
  neg: ops.neg,
  abs: ops.abs,
  relu: ops.relu,
  sigmoid: ops.sigmoid,
  exp: ops.exp,
  log: ops.log,
  sqrt: ops.sqrt,
  tanh: ops.tanh,
}
const exact: Record<keyof typeof plain, (v: number) => number> = {
  neg: (v) => -v,
  abs: Math.abs,
  relu: (v) => Math.max(v, 0),
  sigmoid: (v) => 1 / (1 + Math.exp(-v)),
  exp: Math.exp,
  log: Math.log,
  sqrt: Math.sqrt,
  tanh: Math.tanh,
}
const names = Object.keys(plain) as (keyof typeof plain)[]

test.each(file.cases.filter((c) => c.op in plain))('$name', async (c) => {
  const device = await testDevice()
  await runCase(device, file, c, ([x]) => plain[c.op as keyof typeof plain](x!), { rtol: 2e-5, atol: 1e-6 })
})

test.each(file.cases.filter((c) => c.op === 'pow'))('$name', async (c) => {
  const device = await testDevice()
  await runCase(device, file, c, ([x], { exponent }) => ops.pow(x!, exponent as number), { rtol: 2e-5 })
})

test.each(names)('%s: gradient against the float64 oracle, over shapes', async (name) => {
  const shape = fc.array(fc.constantFrom(1, 2, 3, 5, 7, 8, 13), { maxLength: 4 })
  await fc.assert(
    fc.asyncProperty(shape, fc.integer({ min: 1, max: 1000 }), async (dims, seed) => {
      const positive = name === 'log' || name === 'sqrt'
      const wide = name === 'exp' || positive ? 3 : 12
      await checkGradients(
        plain[name],
        (x) => x.data.map(exact[name]),
        [{ shape: dims, low: positive ? 0.2 : -wide, high: wide }],
        { seed, maxElements: 20, rtol: 2e-5 },
      )
    }),
    { numRuns: 8 },
  )
})

test.each([-3, -0.5, 0, 1, 2, 2.5, 7])('pow %s and clamp', async (exponent) => {
  const low = Number.isInteger(exponent) ? -2 : 0.3
  await checkGradients(
    (x) => ops.pow(x, exponent),
    (x) => x.data.map((v) => v ** exponent),
    [{ shape: [37], low, high: 2 }],
    { rtol: 2e-5 },
  )
  await checkGradients(
    (x) => ops.clamp(x, { min: -0.5, max: 0.25 }),
    (x) => x.data.map((v) => Math.min(0.25, Math.max(-0.5, v))),
    [{ shape: [5, 7] }],
  )
})

const bits = (values: readonly number[]): Float32Array => Float32Array.from(values)

test('extreme, infinite and NaN inputs', async () => {
  const device = await testDevice()
  const special = bits([1000, -1000, Infinity, -Infinity, Number.NaN, 0, -0, 88, 3e38, -3e38, 1e-3, 0.26])
  const x = device.tensor(special, [special.length])
  const more: Record<string, [(x: Tensor) => Tensor, (v: number) => number]> = {
    cube: [(t) => ops.pow(t, 3), (v) => Math.fround(v ** 3)],
    inverse: [(t) => ops.pow(t, -1), (v) => 1 / v],
    square: [ops.square, (v) => Math.fround(v ** 2)],
    'clamp from below': [(t) => ops.clamp(t, { min: -2 }), (v) => Math.max(v, -2)],
    'clamp from above': [(t) => ops.clamp(t, { max: 2 }), (v) => Math.min(v, 2)],
  }
  for (const name of names) more[name] = [plain[name], (v) => Math.fround(exact[name](v))]
  for (const [name, [f, expected]] of Object.entries(more)) {
    const y = f(x)
    expectClose(await y.data(), Array.from(special, expected), 3e-5, 1e-6, name)
    y.dispose()
  }
  x.dispose()
})

test('gradients at extremes are finite where the function is', async () => {
  const device = await testDevice()
  for (const f of [ops.sigmoid, ops.tanh, ops.relu, ops.abs]) {
    const x = device.tensor([1000, -1000, 0, 88, -88], [5], { requiresGrad: true })
    f(x).backward(device.ones([5]))
    for (const g of await x.grad!.data()) expect(Math.abs(g)).toBeLessThanOrEqual(1)
  }
})

test('size 0, and what is refused', async () => {
  const device = await testDevice()
  const none = device.tensor(new Float32Array(0), [3, 0], { requiresGrad: true })
  const y = ops.relu(none)
  expect(y.shape).toEqual([3, 0])
  expect((await y.data()).length).toBe(0)
  y.backward(device.zeros([3, 0]))
  expect(() => ops.relu(device.tensor(Int32Array.of(1)))).toThrow('relu: x is int32; pass a float32 tensor')
  expect(() => ops.clamp(none, { min: 2, max: 1 })).toThrow('clamp: min 2 is above max 1')
})
