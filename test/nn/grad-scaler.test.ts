import { describe, expect, test } from 'vitest'
import { conv2d, mul, sum } from '../../src/autograd/ops/index.ts'
import { ParameterBlock } from '../../src/autograd/parameters.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { Adam } from '../../src/nn/optim/adam.ts'
import { clipGradNorm } from '../../src/nn/optim/clip.ts'
import { GradScaler, type GradScalerOptions } from '../../src/nn/optim/grad-scaler.ts'
import type { Optimizer } from '../../src/nn/optim/optimizer.ts'
import { SGD } from '../../src/nn/optim/sgd.ts'
import { testDevice } from '../device.ts'
import { randomValues } from '../oracle.ts'

const device = await testDevice()

const parameters = (block: boolean): Tensor[] => {
  const made = [5, 70].map((size, i) =>
    device.parameter(randomValues([size], 3 + i), [size], { name: `p${i}` }),
  )
  if (block) new ParameterBlock(device, made)
  return made
}

const optimizers: Record<string, (p: Tensor[]) => Optimizer> = {
  Adam: (p) => new Adam(p, { lr: 0.01, weightDecay: 0.1 }),
  SGD: (p) => new SGD(p, { lr: 0.01, momentum: 0.9 }),
}

/** Writes gradients of a step, multiplied by `scale`; `bad` goes into one element. */
function setGradients(params: readonly Tensor[], step: number, scale: number, bad?: number): void {
  params.forEach((p, i) => {
    const grad = randomValues(p.shape, 100 * step + i).map((v) => v * scale)
    if (bad !== undefined && i === 1) grad[69] = bad
    device.gradOf(p).set(grad)
  })
}

const valuesOf = (tensors: readonly Tensor[]) => Promise.all(tensors.map((t) => t.data()))

describe.each(Object.entries(optimizers))('%s with loss scaling', (_, make) => {
  test.each([true, false])('steps as without it, parameters in a block: %s', async (block) => {
    const [plain, scaled] = [parameters(block), parameters(block)]
    const [a, b] = [make(plain), make(scaled)]
    using scaler = new GradScaler(device, { scale: 1024 })
    for (let step = 0; step < 30; step++) {
      setGradients(plain, step, 1)
      setGradients(scaled, step, 1024)
      a.step()
      b.step({ scaler })
      scaler.update()
    }
    const [want, got] = [await valuesOf(plain), await valuesOf(scaled)]
    got.forEach((values, i) => {
      // Adam's 1 − βᵗ comes from a recurrence in float32: 30 roundings of 30 steps of 0.01.
      values.forEach((v, k) => {
        expect(Math.abs(v - want[i]![k]!)).toBeLessThan(1e-6)
      })
    })
  })

  test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    'a step with %d among its gradients changes nothing but the scale',
    async (bad) => {
      const [plain, scaled] = [parameters(true), parameters(true)]
      const [a, b] = [make(plain), make(scaled)]
      using scaler = new GradScaler(device, { scale: 256 })
      using calm = new GradScaler(device, { scale: 256 })
      for (let step = 0; step < 6; step++) {
        // The scaled optimiser meets an overflow before every second step.
        if (step % 2 === 1) {
          const before = await valuesOf([...scaled, ...Object.values(b.stateDict().tensors)])
          const scale = await scaler.scale()
          setGradients(scaled, step, scale, bad)
          b.step({ scaler })
          scaler.update()
          const { progress, ...moments } = b.stateDict().tensors
          const after = await valuesOf([...scaled, ...Object.values(moments)])
          expect(after).toEqual(before.slice(0, after.length))
          expect((await progress!.data())[1]).toBe(1)
          expect(await scaler.scale()).toBe(scale / 2)
        }
        const scale = await scaler.scale()
        setGradients(plain, step, 256)
        setGradients(scaled, step, scale)
        a.step({ scaler: calm })
        b.step({ scaler })
        scaler.update()
      }
      // Powers of two cost no digit: the skipped steps left no trace.
      expect(await valuesOf(scaled)).toEqual(await valuesOf(plain))
    },
  )
})

test('the scale grows after a run of good steps, and the run begins anew after an overflow', async () => {
  const params = parameters(false)
  const adam = new Adam(params)
  using scaler = new GradScaler(device, { scale: 8, growth: 4, backoff: 0.25, interval: 3 })
  const scales: number[] = []
  for (const good of [1, 1, 1, 1, 1, 0, 1, 1, 1, 0, 0]) {
    setGradients(params, 1, 1, good ? undefined : Number.NaN)
    adam.step({ scaler })
    scaler.update()
    scales.push(await scaler.scale())
  }
  expect(scales).toEqual([8, 8, 32, 32, 32, 8, 8, 8, 32, 8, 2])
})

test('one overflow among two optimisers shrinks the scale once; each skips for itself', async () => {
  const [p, q] = parameters(false) as [Tensor, Tensor]
  const [a, b] = [new SGD([p], { lr: 1 }), new SGD([q], { lr: 1 })]
  using scaler = new GradScaler(device, { scale: 16 })
  const [before, others] = await valuesOf([p, q])
  device.gradOf(p).set(new Float32Array(5).fill(16))
  device.gradOf(q).set(new Float32Array(70).fill(Number.NaN))
  a.step({ scaler })
  b.step({ scaler })
  scaler.update()
  expect(await p.data()).toEqual(before!.map((v) => Math.fround(v - 1)))
  expect(await q.data()).toEqual(others)
  expect(await scaler.scale()).toBe(8)
})

test('unscaled gradients can be clipped, and are not divided twice', async () => {
  const [plain, scaled] = [parameters(true), parameters(true)]
  const [a, b] = [new SGD(plain, { lr: 0.1 }), new SGD(scaled, { lr: 0.1 })]
  using scaler = new GradScaler(device, { scale: 512 })
  for (let step = 0; step < 2; step++) {
    setGradients(plain, step, 1)
    setGradients(scaled, step, 512)
    const want = await clipGradNorm(plain, 0.5).item()
    scaler.unscale(b)
    expect(await clipGradNorm(scaled, 0.5).item()).toBe(want)
    a.step()
    b.step({ scaler })
    scaler.update()
    expect(await valuesOf(scaled)).toEqual(await valuesOf(plain))
  }
})

test('its state and the optimiser’s go through a checkpoint; a float32 run goes on with scaling', async () => {
  const params = parameters(true)
  const adam = new Adam(params)
  using scaler = new GradScaler(device, { scale: 64, interval: 5 })
  for (let step = 0; step < 3; step++) {
    setGradients(params, step, 64, step === 1 ? Number.NaN : undefined)
    adam.step({ scaler })
    scaler.update()
  }
  const copies = parameters(true)
  copies.forEach((c, i) => {
    device.copy('test', params[i]!.storage, c.storage, c.bytes)
  })
  const again = new Adam(copies)
  again.loadStateDict(adam.stateDict())
  using other = new GradScaler(device, { interval: 5 })
  other.restore(scaler.state())
  for (const [p, o, s] of [
    [params, adam, scaler],
    [copies, again, other],
  ] as const) {
    for (let step = 3; step < 9; step++) {
      setGradients(p, step, 64)
      o.step({ scaler: s })
      s.update()
    }
  }
  expect(await valuesOf(copies)).toEqual(await valuesOf(params))
  expect(await other.scale()).toBe(await scaler.scale())
  // From float32: the corrections of Adam follow from its count of steps.
  const plain = new Adam(parameters(true))
  plain.loadStateDict({ ...again.stateDict(), step: 7, tensors: omitProgress(again) })
  plain.step({ scaler: other })
  const { progress } = plain.stateDict().tensors
  const [, , done1, done2, steps] = await progress!.data()
  expect(done1).toBeCloseTo(1 - 0.9 ** 8, 6)
  expect(done2! / (1 - 0.999 ** 8)).toBeCloseTo(1, 6)
  expect(steps).toBe(8)
})

function omitProgress(optimizer: Optimizer): Record<string, Tensor> {
  const { progress: _, ...moments } = optimizer.stateDict().tensors
  return moments
}

describe.runIf(device.adapter.f16)('in half precision', () => {
  test('a compiled step overflows, is skipped, and recovers by a smaller scale', async () => {
    const weight = device.parameter(randomValues([4, 2, 3, 3]), [4, 2, 3, 3], { name: 'weight' })
    const sgd = new SGD([weight], { lr: 0.001 })
    // A gradient of 1 times 2¹⁷ is over the range of halves.
    using scaler = new GradScaler(device, { scale: 2 ** 17 })
    const step = device.compile((x: Tensor) => {
      sgd.zeroGrad()
      const y = device.autocast(() =>
        sum(mul(conv2d(conv2d(x, weight, { padding: 1 }), device.ones([2, 4, 1, 1])), 1)),
      )
      scaler.backward(y)
      sgd.step({ scaler })
      scaler.update()
      return y
    })
    const x = device.tensor(randomValues([1, 2, 4, 4]), [1, 2, 4, 4])
    const before = await weight.data()
    step(x)
    expect(await weight.data()).toEqual(before)
    expect(await scaler.scale()).toBe(2 ** 16)
    for (let i = 0; i < 4; i++) step(x)
    const after = await weight.data()
    expect(after).not.toEqual(before)
    expect([...after].every(Number.isFinite)).toBe(true)
    expect(await scaler.scale()).toBeGreaterThan(1)
    step.dispose()
  })
})

test.each<[GradScalerOptions]>([[{ scale: 0 }], [{ growth: 0.5 }], [{ backoff: 1 }], [{ interval: 0 }]])(
  'refuses %o',
  (options) => {
    expect(() => new GradScaler(device, options)).toThrow(/GradScaler: wants scale above 0/)
  },
)
