import { expect, test } from 'vitest'
import { add } from '../../src/autograd/ops/add.ts'
import { batchNorm } from '../../src/autograd/ops/batch-norm.ts'
import { conv2d } from '../../src/autograd/ops/conv2d.ts'
import { mul } from '../../src/autograd/ops/mul.ts'
import { sum } from '../../src/autograd/ops/sum.ts'
import { ParameterBlock } from '../../src/autograd/parameters.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { clears } from '../../src/gpu/commands.ts'
import { Storage } from '../../src/gpu/storage.ts'
import { SGD } from '../../src/nn/optim/sgd.ts'
import { testDevice } from '../device.ts'
import { expectClose } from '../reference.ts'

const wave = (count: number, speed: number) =>
  Float32Array.from({ length: count }, (_, i) => Math.sin(1 + speed * i))

const BIAS = 1
/**
 * To the bit, but for the bias: where it is written while the gradient of its kernel, which is used twice, is added to, it has a
 * launch of its own, which sums in another order.
 */
const same = (got: number[][], want: number[][]) =>
  got.forEach((g, i) => {
    if (i === BIAS) expectClose(g, want[i]!, 1e-5, 1e-4, 'gradient of the bias')
    else expect(g).toEqual(want[i]!)
  })

/** Parameters in one block: a kernel that is used twice, one that is used once, a batch norm's, and one that nothing uses. */
async function model() {
  const device = await testDevice()
  const shared = device.parameter(wave(8 * 8 * 9, 0.7), [8, 8, 3, 3])
  const bias = device.parameter(wave(8, 0.3), [8])
  const unused = device.parameter(wave(5, 0.2), [5])
  const scale = device.parameter(wave(8, 0.5), [8])
  const shift = device.parameter(wave(8, 0.4), [8])
  const single = device.parameter(wave(4 * 8 * 9, 0.9), [4, 8, 3, 3])
  const params = [shared, bias, unused, scale, shift, single]
  const block = new ParameterBlock(device, params)
  const x = device.tensor(wave(2 * 8 * 64, 0.11), [2, 8, 8, 8])
  const loss = (given: Tensor) => {
    const once = conv2d(given, shared, { padding: 1, bias, activation: 'relu' })
    const twice = conv2d(once, shared, { padding: 1 })
    const normal = batchNorm(add(once, twice), { weight: scale, bias: shift, training: true })
    const y = conv2d(normal, single, { padding: 1 })
    return sum(mul(y, y))
  }
  const grads = () =>
    Promise.all(params.map(async (p) => Array.from(await device.gradOf(p).data(), (v) => v + 0)))
  return { device, block, params, x, loss, grads, unused }
}

test('a step that clears gradients writes them where it would add to zeros, whatever they held', async () => {
  const { device, params, x, loss, grads, unused } = await model()
  const opt = new SGD(params, { lr: 0 })
  opt.zeroGrad()
  loss(x).backward()
  const want = await grads()
  expect(want[2]).toEqual([0, 0, 0, 0, 0])
  const step = device.compile((given: Tensor) => {
    opt.zeroGrad()
    const y = loss(given)
    y.backward()
    return y
  })
  for (let i = 0; i < 3; i++) {
    device.copy('test', device.tensor([1, 2, 3, 4, 5]).storage, device.gradOf(unused).storage, 20)
    step(x)
    same(await grads(), want)
  }
  step.dispose()
})

test('gradients are added where the step has not cleared them, or has used them since', async () => {
  const { device, params, x, loss, grads } = await model()
  const opt = new SGD(params, { lr: 0 })
  opt.zeroGrad()
  loss(x).backward()
  const once = await grads()
  opt.zeroGrad()
  const adding = device.compile((given: Tensor) => {
    const y = loss(given)
    y.backward()
    return y
  })
  adding(x)
  same(await grads(), once)
  adding(x)
  const twice = await grads()
  // The kernel that is used twice adds its four parts one after the other, not two sums of two.
  twice.forEach((g, i) => {
    const doubled = once[i]!.map((v) => v + v)
    expectClose(g, doubled, 1e-5, 1e-4, `gradient ${i}`)
  })
  const both = device.compile((given: Tensor) => {
    opt.zeroGrad()
    loss(given).backward()
    const y = loss(given)
    y.backward()
    return y
  })
  both(x)
  both(x)
  same(await grads(), twice)
  adding.dispose()
  both.dispose()
})

test('a clear is left out where all that it clears is written next', () => {
  const target = new Storage(1024, 'test', undefined, undefined)
  const needed = (...spared: readonly (readonly [number, number])[]): boolean =>
    clears({
      kind: 'clear',
      op: 'test',
      target,
      spared: spared.map(([offset, bytes]) => target.slice(offset, bytes)),
    })
  expect(needed()).toBe(true)
  expect(needed([0, 20], [256, 300])).toBe(true)
  expect(needed([768, 4], [256, 300], [0, 256])).toBe(false)
})
