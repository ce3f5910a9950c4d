import { expect, test } from 'vitest'
import { defineUnaryResult } from '../../src/autograd/op.ts'
import { add } from '../../src/autograd/ops/add.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { kernel } from '../../src/gpu/kernel.ts'
import { openDevice, testDevice } from '../device.ts'
import source from '../fixtures/square.wgsl'

const squareKernel = kernel('square', source)
let scale = 1

const apply = defineUnaryResult<object>({
  name: 'square',
  forward(run, [x]) {
    const y = run.empty(x!.shape)
    run.launch({
      kernel: squareKernel,
      entry: 'square',
      bindings: { x: x!, y },
      params: () => ({ count: x!.size, scale }),
      threads: x!.size,
    })
    return y
  },
  backward(run, { inputs: [x], grads: [dy] }) {
    const dx = run.empty(x!.shape)
    run.launch({
      kernel: squareKernel,
      entry: 'square_grad',
      bindings: { x: x!, dy: dy!, y: dx },
      params: () => ({ count: x!.size, scale }),
      threads: x!.size,
    })
    return [dx]
  },
})
const square = (x: Tensor): Tensor => apply([x], {})

test('a value and a gradient through two ops; the intermediate is freed, the root is not', async () => {
  const device = await testDevice()
  const x = device.tensor([1, 2, 3], [3], { requiresGrad: true })
  const y = square(x)
  const z = square(y)
  z.backward(device.ones([3]))
  expect([...(await z.data())]).toEqual([1, 16, 81])
  expect([...(await x.grad!.data())]).toEqual([4, 32, 108])
  await expect(y.data()).rejects.toThrow(
    /data: the tensor \(3\) made by square was freed \(by backward\(\)\)/,
  )
  expect(() => square(y)).toThrow(/square: the tensor/)
  expect(() => z.backward(device.ones([3]))).toThrow(/used up/)
})

test('a compiled step: one submission a call, no new buffer, host values asked anew', async () => {
  const device = await testDevice()
  const w = device.parameter(Float32Array.of(1, 2, 3, 4), [4])
  const step = device.compile((x: Tensor) => {
    const y = square(w)
    const z = square(square(square(square(x))))
    y.backward(x)
    return { z }
  })
  scale = 1
  const x = device.tensor([1, 2, 1, 1], [4])
  const first = step(x)
  expect([...(await first.z.data())]).toEqual([1, 65536, 1, 1])
  expect([...(await w.grad!.data())]).toEqual([2, 8, 6, 8])
  scale = 2
  await step(x).z.data()
  const before = device.counters
  const held = device.memory().bytesHeld
  for (let i = 0; i < 10; i++) step(x)
  const after = device.counters
  expect(after.submissions - before.submissions).toBe(10)
  expect(after.buffersCreated).toBe(before.buffersCreated)
  expect(device.memory().bytesHeld).toBe(held)
  expect([...(await w.grad!.data())][0]).toBe(2 + 4 * 11)
  expect(step.captures[0]!.memory.intermediates.planned).toBeLessThan(
    step.captures[0]!.memory.intermediates.unshared,
  )
  step.dispose()
})

test('profile counts kernels', async () => {
  const device = await testDevice()
  const x = device.tensor(new Float32Array(1000), [1000])
  const p = await device.profile(() => device.scope(() => void square(square(x))), { print: false })
  expect(p.kernels.find((k) => k.op === 'square')?.launches).toBe(2)
})

test('a profile by the clock on the wall runs each call of a step on the arguments of that call', async () => {
  const device = await openDevice()
  Object.defineProperty(device.native, 'features', { value: new Set() })
  const sum = device.zeros([1])
  const step = device.compile((x: Tensor) => {
    const next = add(sum, x)
    device.copy('sum', next.storage, sum.storage, 4)
    next.dispose()
  })
  const numbers = [1, 2, 4].map((x) => device.tensor([x]))
  const p = await device.profile(() => numbers.map((x) => step(x)), { print: false })
  expect([p.clock, p.dispatches, p.submissions]).toEqual(['wall', 3, 3])
  expect(await sum.item()).toBe(7)
  device.destroy()
})
