import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { mul } from '../../src/autograd/ops/mul.ts'
import { testDevice } from '../device.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

test('a tensor that nobody freed is counted under its op, and its memory comes back', async () => {
  const device = await testDevice()
  const x = device.tensor(new Float32Array(1000), [1000])
  const before = device.memory().storages
  const forget = () => void mul(x, x)
  for (let i = 0; i < 5; i++) forget()
  expect(device.memory().storages).toBe(before + 5)
  for (let i = 0; i < 50 && (device.memory().leaks.mul ?? 0) < 5; i++) {
    collect()
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  expect(device.memory().leaks.mul).toBe(5)
  expect(device.memory().storages).toBe(before)
  // What was freed properly is no leak.
  mul(x, x).dispose()
  collect()
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect(device.memory().leaks.mul).toBe(5)
})
