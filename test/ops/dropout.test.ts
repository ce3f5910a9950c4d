import { expect, test } from 'vitest'
import source from '../../kernels/dropout.wgsl'
import { Run } from '../../src/autograd/op.ts'
import { dropout } from '../../src/autograd/ops/dropout.ts'
import { type Draw, generatorOf, manualSeed, Prng, RandomGenerator } from '../../src/autograd/random.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { kernel } from '../../src/gpu/kernel.ts'
import { testDevice } from '../device.ts'
import { adjoint } from '../oracle.ts'

const numbers = kernel('dropout', source)

async function blocks(draw: Draw, count: number): Promise<string[]> {
  const device = await testDevice()
  const run = new Run(device, 'numbers')
  const bits = run.empty([count, 4], 'uint32')
  run.launch({
    kernel: numbers,
    entry: 'numbers',
    bindings: { bits },
    params: { count, threshold: 0, scale: 1, ...draw },
    threads: count,
  })
  return Array.from(await bits.data(), (v) => v.toString(16).padStart(8, '0'))
}

test("Philox 4×32-10 gives its authors' known answers", async () => {
  const zero = { key_low: 0, key_high: 0, counter_low: 0, counter_high: 0 }
  expect(await blocks(zero, 1)).toEqual(['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8'])
})

test('the 64-bit counter carries', async () => {
  const at = { key_low: 5, key_high: 6, counter_low: 0xffffffff, counter_high: 0 }
  const second = (await blocks(at, 2)).slice(4)
  expect(await blocks({ ...at, counter_low: 0, counter_high: 1 }, 1)).toEqual(second)
})

test('keeps a share of 1 − p, scaled; the gradient has the same mask', async () => {
  const device = await testDevice()
  manualSeed(device, 7)
  for (const p of [0.1, 0.5, 0.9]) {
    const n = 40_001
    const x = device.ones([n], { requiresGrad: true })
    const y = dropout(x, { p })
    const values = await y.data()
    y.backward(device.full([n], 3))
    const grads = await x.grad!.data()
    let kept = 0
    for (let i = 0; i < n; i++) {
      if (values[i] === 0) expect(grads[i]).toBe(0)
      else {
        kept++
        expect(values[i]).toBeCloseTo(1 / (1 - p), 4)
        expect(grads[i]).toBeCloseTo(3 / (1 - p), 4)
      }
    }
    const deviation = Math.sqrt(p * (1 - p) * n)
    expect(Math.abs(kept - (1 - p) * n)).toBeLessThan(4 * deviation)
  }
})

test('the same seed gives the same masks; states restore; draws differ', async () => {
  const device = await testDevice()
  const x = device.ones([64])
  const draw = async () => [...(await dropout(x).data())]
  manualSeed(device, 3)
  const first = await draw()
  const state = generatorOf(device).state()
  const second = await draw()
  expect(second).not.toEqual(first)
  generatorOf(device).restore(JSON.parse(JSON.stringify(state)))
  expect(await draw()).toEqual(second)
  manualSeed(device, 3)
  expect(await draw()).toEqual(first)
  manualSeed(device, 4)
  expect(await draw()).not.toEqual(first)
  const seeded = async () => [...(await dropout(x, { seed: 11 }).data())]
  expect(await seeded()).toEqual(await seeded())
})

test('a compiled step draws anew at each replay, as the eager calls do', async () => {
  const device = await testDevice()
  const w = device.parameter(new Float32Array(64).fill(1), [64])
  const step = device.compile((x: Tensor) => {
    const y = dropout(dropout(w, { p: 0.25 }), { p: 0.5 })
    y.backward(x)
    return { y }
  })
  const x = device.ones([64])
  const eager: number[][] = []
  manualSeed(device, 9)
  for (let i = 0; i < 3; i++) eager.push([...(await dropout(dropout(w, { p: 0.25 }), { p: 0.5 }).data())])
  manualSeed(device, 9)
  const sum = new Float32Array(64)
  for (let i = 0; i < 3; i++) {
    const y = await step(x).y.data()
    expect([...y]).toEqual(eager[i])
    for (let k = 0; k < 64; k++) sum[k]! += y[k]!
  }
  // w is 1 and the upstream 1: the gradients are the masks.
  const grads = await w.grad!.data()
  for (let k = 0; k < 64; k++) expect(grads[k]).toBeCloseTo(sum[k]!, 4)
  step.dispose()
})

test('evaluation, p of 0 and 1, size 0, linear, what is refused', async () => {
  const device = await testDevice()
  const x = device.tensor([1, 2, 3])
  expect([...(await dropout(x, { training: false }).data())]).toEqual([1, 2, 3])
  expect([...(await dropout(x, { p: 0 }).data())]).toEqual([1, 2, 3])
  expect([...(await dropout(x, { p: 1 }).data())]).toEqual([0, 0, 0])
  expect(dropout(device.zeros([0, 2])).shape).toEqual([0, 2])
  await adjoint((t) => dropout(t, { seed: 5 }), [7, 13])
  expect(() => dropout(x, { p: 1.5 })).toThrow('dropout: p is 1.5; give a probability from 0 to 1')
})

test('the host generator: reproducible, uniform, normal', () => {
  const a = new Prng(42)
  const b = new Prng(42)
  expect(Array.from({ length: 5 }, () => a.bits())).toEqual(Array.from({ length: 5 }, () => b.bits()))
  expect(new Prng(43).bits()).not.toBe(new Prng(42).bits())
  const n = 50_000
  const moments = (next: () => number) => {
    const values = Array.from({ length: n }, next)
    const mean = values.reduce((s, v) => s + v, 0) / n
    return { mean, variance: values.reduce((s, v) => s + (v - mean) ** 2, 0) / n, values }
  }
  const uniform = moments(() => a.uniform())
  expect(uniform.mean).toBeCloseTo(0.5, 2)
  expect(uniform.variance).toBeCloseTo(1 / 12, 2)
  expect(uniform.values.every((v) => v >= 0 && v < 1)).toBe(true)
  const normal = moments(() => a.normal())
  expect(Math.abs(normal.mean)).toBeLessThan(0.02)
  expect(normal.variance).toBeCloseTo(1, 1)
  const state = a.state()
  const next = [a.normal(), a.normal(), a.uniform()]
  a.restore(JSON.parse(JSON.stringify(state)))
  expect([a.normal(), a.normal(), a.uniform()]).toEqual(next)
  expect(new Prng(1).permutation(9).sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8])
  expect(() => new Prng(-1)).toThrow('seed -1: a seed is a whole number from 0 to 2^53 - 1')
  const generator = new RandomGenerator(2 ** 40 + 3)
  generator.take(2 ** 33 + 1)
  expect(generator.take(1)).toEqual({ key_low: 3, key_high: 256, counter_low: 1, counter_high: 2 })
})
