import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bceWithLogits, diceLoss, mseLoss } from '../../src/autograd/ops/index.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { inEveryForm, testDevice } from '../device.ts'
import { type Array64, checkGradients } from '../oracle.ts'
import { reference, runCase } from '../reference.ts'

const file = reference('ops')
const losses: Record<string, (x: Tensor, y: Tensor, options: object) => Tensor> = {
  diceLoss,
  mseLoss,
  bceWithLogits,
}

test.each(file.cases.filter((c) => c.op in losses))('$name', async (c) => {
  const device = await testDevice()
  await inEveryForm(() => runCase(device, file, c, ([x, y], attrs) => losses[c.op]!(x!, y!, attrs)))
})

const total = (v: Float64Array): number => v.reduce((a, b) => a + b, 0)
const oracles: Record<string, (x: Array64, y: Array64) => number> = {
  diceLoss: (x, y) =>
    1 - (2 * total(x.data.map((p, i) => p * y.data[i]!)) + 1) / (total(x.data) + total(y.data) + 1),
  mseLoss: (x, y) => total(x.data.map((v, i) => (v - y.data[i]!) ** 2)) / x.data.length,
  bceWithLogits: (x, y) =>
    total(x.data.map((v, i) => Math.max(v, 0) - v * y.data[i]! + Math.log1p(Math.exp(-Math.abs(v))))) /
    x.data.length,
}

test.each(Object.keys(losses))('%s: gradients of both against the float64 oracle', async (name) => {
  const shapes = fc.array(fc.constantFrom(1, 2, 3, 5, 8, 17, 64), { maxLength: 4 })
  const property = fc.asyncProperty(
    shapes.filter((s) => s.reduce<number>((a, b) => a * b, 1) <= 20_000),
    fc.nat(100),
    async (shape, seed) => {
      const logits = name === 'bceWithLogits'
      await checkGradients(
        (x, y) => losses[name]!(x, y, {}),
        (x, y) => [oracles[name]!(x, y)],
        [
          { shape, low: logits ? -6 : 0, high: logits ? 6 : 1 },
          { shape, low: 0, high: 1 },
        ],
        { seed, maxElements: 8, gradAtol: 1e-6 },
      )
    },
  )
  await inEveryForm(() => fc.assert(property, { numRuns: 10 }))
})

test('sum instead of mean', async () => {
  const inputs = [{ shape: [3, 7] }, { shape: [3, 7] }]
  for (const name of ['mseLoss', 'bceWithLogits']) {
    await checkGradients(
      (x, y) => losses[name]!(x, y, { reduction: 'sum' }),
      (x, y) => [21 * oracles[name]!(x, y)],
      inputs,
    )
  }
})

test('two dispatches forward, one backward', async () => {
  const device = await testDevice()
  for (const [name, loss] of Object.entries(losses)) {
    const x = device.tensor(new Float32Array(100_000).fill(0.5), [100_000], { requiresGrad: true })
    const y = device.ones([100_000])
    const count = async (fn: () => void) => {
      const { kernels } = await device.profile(fn, { print: false })
      return kernels.filter((k) => k.op.startsWith(name)).reduce((n, k) => n + k.launches, 0)
    }
    let l: Tensor | undefined
    expect(
      await count(() => {
        l = loss(x, y, {})
      }),
    ).toBe(2)
    expect(await count(() => l!.backward())).toBe(1)
  }
})

test('large logits lose no digits; what is refused', async () => {
  const device = await testDevice()
  const x = device.tensor([1000, -1000, 1000, -1000])
  expect(await bceWithLogits(x, device.tensor([1, 0, 0, 1]), { reduction: 'sum' }).item()).toBe(2000)
  expect(() => diceLoss(x, device.zeros([2, 2]))).toThrow(
    'diceLoss: p is (4), y is (2, 2); they must have the same shape',
  )
  expect(() => mseLoss(x, device.zeros([1]))).toThrow(
    'mseLoss: x is (4), y is (1); they must have the same shape',
  )
})
