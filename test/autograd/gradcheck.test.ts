import { expect, test } from 'vitest'
import { gradcheck } from '../../src/autograd/gradcheck.ts'
import { defineUnaryResult } from '../../src/autograd/op.ts'
import { add, argmax, matmul, mul, sigmoid, softmax } from '../../src/autograd/ops/index.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { testDevice } from '../device.ts'
import { randomValues } from '../oracle.ts'

/** The identity, whose backward rule forgets element 2. */
const forgetful = defineUnaryResult<object>({
  name: 'forgetful',
  forward: (run, [x]) => run.copyOf(x!),
  backward(run, { inputs: [x], grads: [dy] }) {
    const dx = run.zeros(x!.shape)
    run.device.copy('forgetful', dy!.storage, dx.storage, 8)
    run.device.copy('forgetful', dy!.storage, dx.storage, dy!.bytes - 12, 12, 12)
    return [dx]
  },
})

test('right rules pass, small and large; values and gradients of the inputs stay', async () => {
  const device = await testDevice()
  const a = device.tensor(randomValues([3, 4], 1), [3, 4], { requiresGrad: true })
  const b = device.tensor(randomValues([4, 2], 2), [4, 2], { requiresGrad: true })
  await gradcheck((x, y) => softmax(matmul(x, y), { axis: 1 }), [a, b])
  const large = device.tensor(randomValues([500], 3), [500], { requiresGrad: true })
  await gradcheck((x) => mul(sigmoid(x), x), [large])
  expect(a.grad).toBeUndefined()
  expect([...(await a.data())]).toEqual([...randomValues([3, 4], 1)])
})

test('a wrong rule is named by input and element', async () => {
  const device = await testDevice()
  const fixed = device.ones([5])
  const x = device.tensor(randomValues([5], 1), [5], { requiresGrad: true })
  await expect(gradcheck((c, t) => add(c, forgetful([t], {})), [fixed, x])).rejects.toThrow(
    /gradcheck: input 1 \(5\), element 2: backward gives 0, finite differences give -?0\.\d+/,
  )
  const large = device.tensor(randomValues([200], 1), [200], { requiresGrad: true })
  const wrong = (t: Tensor): Tensor => add(mul(t, t), mul(t, t.detach()))
  await expect(gradcheck(wrong, [large])).rejects.toThrow(/gradcheck: input 0 \(200\), element \d+/)
})

test('nothing to check is an error', async () => {
  const device = await testDevice()
  await expect(gradcheck((x) => x, [device.ones([2])])).rejects.toThrow(/no input has requiresGrad/)
  const x = device.ones([2], { requiresGrad: true })
  await expect(gradcheck((t) => argmax(t), [x])).rejects.toThrow(/fn gives int32, which has no gradient/)
})
