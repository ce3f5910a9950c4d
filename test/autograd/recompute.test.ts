import { describe, expect, test } from 'vitest'
import type { Device } from '../../src/autograd/device.ts'
import { add } from '../../src/autograd/ops/add.ts'
import { argmax } from '../../src/autograd/ops/argmax.ts'
import { batchNorm } from '../../src/autograd/ops/batch-norm.ts'
import { conv2d } from '../../src/autograd/ops/conv2d.ts'
import { diceLoss } from '../../src/autograd/ops/dice-loss.ts'
import { dropout } from '../../src/autograd/ops/dropout.ts'
import { exp } from '../../src/autograd/ops/exp.ts'
import { mul } from '../../src/autograd/ops/mul.ts'
import { reshape } from '../../src/autograd/ops/reshape.ts'
import { sum } from '../../src/autograd/ops/sum.ts'
import { generatorOf, manualSeed } from '../../src/autograd/random.ts'
import { recompute } from '../../src/autograd/recompute.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { GradientError } from '../../src/gpu/errors.ts'
import { UNet } from '../../src/nn/networks/unet.ts'
import { Adam } from '../../src/nn/optim/adam.ts'
import { parseSafetensors } from '../../src/nn/safetensors.ts'
import { safetensorsFrom } from '../../src/nn/state.ts'
import { testDevice } from '../device.ts'

const wave = (n: number, step = 0.37): Float32Array =>
  Float32Array.from({ length: n }, (_, i) => Math.sin(step * i))

/** A part as recompute runs it, or plainly. */
type Part = <A extends readonly Tensor[]>(fn: (...x: A) => Tensor, ...x: A) => Tensor
const plainly: Part = (fn, ...x) => fn(...x)

/** Conv, norm and dropout with their parameters, a part of a larger graph. */
function block(device: Device) {
  const weight = device.parameter(wave(3 * 2 * 9), [3, 2, 3, 3])
  const gamma = device.parameter(Float32Array.of(1, 0.5, 2), [3])
  const [runningMean, runningVar] = [0, 1].map((v) =>
    device.parameter(new Float32Array(3).fill(v), [3], { requiresGrad: false }),
  ) as [Tensor, Tensor]
  const x = device.parameter(wave(2 * 2 * 6 * 6, 0.71), [2, 2, 6, 6])
  const forward = (h: Tensor) => {
    const norm = { weight: gamma, runningMean, runningVar, training: true, activation: 'relu' } as const
    return dropout(batchNorm(conv2d(h, weight, { padding: 1 }), norm), { p: 0.3 })
  }
  const all = { weight, gamma, x, runningMean, runningVar }
  const dispose = () => {
    for (const t of Object.values(all)) t.dispose()
  }
  /** What a step leaves behind: values, gradients, statistics and the state of the generator. */
  const state = async () => ({
    grads: await Promise.all([weight, gamma, x].map(async (t) => [...(await t.grad!.data())])),
    mean: [...(await runningMean.data())],
    variance: [...(await runningVar.data())],
    random: generatorOf(device).state(),
  })
  return { x, forward, state, dispose }
}

async function trained(part: Part, { compiled = false, steps = 2 } = {}) {
  const device = await testDevice()
  manualSeed(device, 4)
  const { x, forward, state, dispose } = block(device)
  const body = () => {
    const h = mul(x, x)
    // The part's input is used beside it, and its result twice.
    const y = part(forward, h)
    const loss = sum(mul(add(y, y), exp(sum(h, { axes: [1], keepDims: true }))))
    loss.backward()
    return loss
  }
  const step = compiled ? device.compile(body) : () => device.scope(body)
  const losses: number[] = []
  for (let i = 0; i < steps; i++) losses.push(await step().item())
  const result = { losses, ...(await state()) }
  if ('dispose' in step) (step as { dispose(): void }).dispose()
  dispose()
  return result
}

describe('a part that is recomputed leaves the same bits as one that is not', () => {
  test.each([false, true])('convolution, batch norm and dropout; compiled: %s', async (compiled) => {
    const expected = await trained(plainly)
    expect(expected.losses[0]).not.toBe(expected.losses[1])
    expect(await trained(recompute, { compiled })).toEqual(expected)
  })

  test.each([false, true])('nested; compiled: %s', async (compiled) => {
    const twice: Part = (fn, ...x) => recompute((...h) => recompute(fn, ...(h as typeof x)), ...x) as Tensor
    expect(await trained(twice, { compiled })).toEqual(await trained(plainly))
  })
})

test('the running statistics move once a step', async () => {
  const device = await testDevice()
  const { x, forward, state, dispose } = block(device)
  sum(recompute(forward, x)).backward()
  const { mean } = await state()
  const once = block(device)
  sum(once.forward(once.x)).backward()
  expect(mean).toEqual((await once.state()).mean)
  expect(mean.every((v) => v !== 0)).toBe(true)
  dispose()
  once.dispose()
})

test('intermediates and constants that the function reaches without being given them get their gradients', async () => {
  const device = await testDevice()
  const w = device.parameter(Float32Array.of(2, 3), [2])
  const x = device.tensor([1, 2])
  const h = mul(w, w)
  // d/dw of (x · w²) · w² = 4 x w³; x itself wants no gradient.
  sum(recompute((a) => mul(mul(a, h), h), x)).backward()
  expect([...(await w.grad!.data())]).toEqual([32, 216])
  expect(x.freed).toBe(false)
})

test('several results, a result that is an input, a view, the same twice, one that is not used', async () => {
  const device = await testDevice()
  const gradient = async (f: (a: Tensor) => readonly Tensor[], left: number) => {
    const w = device.parameter(Float32Array.of(2, 3), [2])
    const before = device.memory().storages
    device.scope(() => {
      const [a, b, c, d] = f(mul(w, w))
      sum(add(mul(a!, b!), mul(reshape(c!, { shape: [2] }), d!))).backward()
    })
    expect(device.memory().storages).toBe(before + 1 + left)
    const grad = [...(await w.grad!.data())]
    w.grad!.dispose()
    w.dispose()
    return grad
  }
  const parts = (a: Tensor) => {
    const e = mul(a, a)
    return [a, e, reshape(a, { shape: [1, 2] }), e, exp(a)] as const
  }
  // Plainly, the branch that is not used stays until it is garbage-collected.
  expect(await gradient((a) => recompute(parts, a), 0)).toEqual(await gradient(parts, 1))
})

test('nothing is recorded where no gradient is wanted; integer results are constants', async () => {
  const device = await testDevice()
  const x = device.tensor([1, 5, 2])
  const y = recompute((a) => mul(a, a), x)
  expect(y.requiresGrad).toBe(false)
  expect([...(await y.data())]).toEqual([1, 25, 4])
  const w = device.parameter(Float32Array.of(1, 5, 2), [3])
  const [at, square] = recompute((a) => [argmax(a, { axis: 0 }), mul(a, a)], w) as [Tensor, Tensor]
  expect([...(await at.data())]).toEqual([1])
  sum(square).backward()
  expect([...(await w.grad!.data())]).toEqual([2, 10, 4])
  expect(device.noGrad(() => recompute((a) => mul(a, a), w)).requiresGrad).toBe(false)
})

test('what was made inside is gone; a function that does something else the second time is refused', async () => {
  const device = await testDevice()
  const w = device.parameter(Float32Array.of(1, 2), [2])
  let inner: Tensor | undefined
  const y = recompute((a) => {
    inner = mul(a, a)
    return exp(inner)
  }, w)
  expect(inner!.freed).toBe(true)
  sum(y).backward()
  let calls = 0
  const z = recompute((a) => (calls++ === 0 ? a : sum(a)), w)
  expect(() => sum(z).backward()).toThrow(GradientError)
  expect(() => recompute(() => w)).toThrow(/recompute: needs at least one tensor/)
})

describe('U-Net with activation checkpointing', () => {
  const train = async (activationCheckpointing: boolean, compiled: boolean) => {
    const device = await testDevice()
    const net = new UNet(device, { features: 2, activationCheckpointing })
    const opt = new Adam(net.parameters())
    const body = (x: Tensor, y: Tensor) => {
      opt.zeroGrad()
      const loss = diceLoss(net.forward(x), y)
      loss.backward()
      opt.step()
      return loss
    }
    const step = device.compile(body)
    const x = device.tensor(wave(2 * 32 * 32), [2, 1, 32, 32])
    const y = device.tensor(
      wave(2 * 32 * 32, 0.1).map((v) => (v > 0 ? 1 : 0)),
      [2, 1, 32, 32],
    )
    for (let k = 0; k < 2; k++) compiled ? step(x, y) : device.scope(() => void body(x, y))
    const bytes = await safetensorsFrom(net.stateDict())
    const grads = await Promise.all(net.parameters().map(async (p) => [...(await p.grad!.data())]))
    const planned = step.captures[0]?.memory.intermediates.planned
    for (const d of [step, opt, net, x, y]) d.dispose()
    return {
      weights: [...parseSafetensors(bytes).tensors].map(([name, { data }]) => [name, [...data]]),
      grads,
      planned,
    }
  }

  test.each([true, false])('the same weights, statistics and gradients; compiled: %s', async (compiled) => {
    const plain = await train(false, compiled)
    const sparing = await train(true, compiled)
    expect(sparing.weights).toEqual(plain.weights)
    expect(sparing.grads).toEqual(plain.grads)
    if (compiled) expect(sparing.planned).toBeLessThan(0.8 * plain.planned!)
  })
})
