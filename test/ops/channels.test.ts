import { expect, test } from 'vitest'
import { batchNorm } from '../../src/autograd/ops/batch-norm.ts'
import { channels } from '../../src/autograd/ops/channels.ts'
import { concat } from '../../src/autograd/ops/concat.ts'
import { interpolate } from '../../src/autograd/ops/interpolate.ts'
import { mul } from '../../src/autograd/ops/mul.ts'
import { slice } from '../../src/autograd/ops/slice.ts'
import { sum } from '../../src/autograd/ops/sum.ts'
import { concatSlots } from '../../src/autograd/slots.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { testDevice } from '../device.ts'
import { randomValues } from '../oracle.ts'

const { f16 } = (await testDevice()).adapter

const moved = async (x: Tensor, fn: () => unknown): Promise<number> => {
  const { kernels } = await x.device.profile(fn, { print: false })
  return kernels.filter((k) => k.kernel.startsWith('move/')).reduce((n, k) => n + k.launches, 0)
}

/** Values of z = Σ weight · part · (x's own share, taken before it or after it), and the gradient of x. */
async function through(take: (x: Tensor) => Tensor, shape: readonly number[], order: 'first' | 'last') {
  const device = await testDevice()
  const x = device.tensor(randomValues(shape, 1), shape, { requiresGrad: true })
  const partShape = [shape[0]!, 2, shape[2]!, shape[3]!]
  const weight = device.tensor(randomValues(partShape, 2), partShape)
  // An op's result, so that x is no leaf to what takes of it.
  const inner = mul(x, x)
  const part = order === 'first' ? take(inner) : undefined
  const whole = sum(mul(inner, inner))
  const y = (part ?? take(inner)).keep()
  const z = mul(sum(mul(mul(y, y), weight)), whole).keep()
  z.backward()
  return { y: await y.data(), z: await z.data(), grad: await x.grad!.data() }
}

test.each([
  ['vec4s', [3, 5, 2, 6]],
  ['a plane of 15 pixels', [2, 4, 3, 5]],
])('channels are what slice cuts out, gradients too: %s', async (_, shape) => {
  for (const order of ['first', 'last'] as const) {
    const got = await through((x) => channels(x, { first: 2, count: 2 }), shape, order)
    const [n, , h, w] = shape as [number, number, number, number]
    const box = { starts: [0, 2, 0, 0], ends: [n, 4, h, w] }
    const want = await through((x) => slice(x, box), shape, order)
    expect(got.y).toEqual(want.y)
    expect(got.z).toEqual(want.z)
    expect(got.grad).toEqual(want.grad)
  }
})

test.runIf(f16)('channels of float16', async () => {
  const device = await testDevice()
  const x = device.tensor(randomValues([2, 4, 2, 2], 1), [2, 4, 2, 2], { dtype: 'float16' })
  const y = channels(x, { first: 1, count: 3 })
  expect(y.dtype).toBe('float16')
  const all = await x.data()
  expect(await y.data()).toEqual(Float32Array.from([...all.slice(4, 16), ...all.slice(20, 32)]))
})

test('nothing is copied where nothing wants the channels dense', async () => {
  const device = await testDevice()
  const x = device.tensor(randomValues([2, 6, 4, 4], 1), [2, 6, 4, 4], { requiresGrad: true })
  let y: Tensor | undefined
  const copies = await moved(x, () => {
    const joined = batchNorm(x, { training: true })
    const seen = channels(joined, { first: 2, count: 4 })
    const near = interpolate(seen, { size: 8 })
    y = sum(mul(near, near)).keep()
  })
  expect(copies).toBe(0)
  y!.backward()
})

test.each(['nearest', 'bilinear'] as const)(
  'interpolate reads and writes channels of larger arrays, %s: the values and gradients are those of dense ones',
  async (mode) => {
    const device = await testDevice()
    // Three channels to a part: planes of four belong to different images.
    const shape = [3, 3, 4, 2]
    const size = [8, 6] as const
    const run = async (inPlace: boolean) => {
      const x = device.tensor(randomValues([3, 5, 4, 2], 3), [3, 5, 4, 2], { requiresGrad: true })
      const part = inPlace
        ? channels(mul(x, x), { first: 1, count: 3 })
        : slice(mul(x, x), { starts: [0, 1, 0, 0], ends: [3, 4, 4, 2] })
      expect(part.shape).toEqual(shape)
      const slots = concatSlots(device, [
        [3, 2, 8, 6],
        [3, 3, 8, 6],
      ])
      const large = interpolate(part, { size, mode, into: inPlace ? slots[1] : undefined })
      expect(large.channels?.slot).toBe(inPlace ? slots[1] : undefined)
      const before = device.tensor(randomValues([3, 2, 8, 6], 4), [3, 2, 8, 6])
      const y = concat([before, large], { axis: 1 }).keep()
      sum(mul(mul(y, y), y)).backward()
      return { y: await y.data(), grad: await x.grad!.data() }
    }
    const [want, got] = [await run(false), await run(true)]
    expect(got.y).toEqual(want.y)
    expect(got.grad).toEqual(want.grad)
  },
)

test('channels that x has not are refused by a sentence', async () => {
  const device = await testDevice()
  const x = device.zeros([2, 3, 4, 4])
  for (const [first, count] of [
    [-1, 1],
    [2, 2],
    [0, 0],
    [0.5, 1],
  ] as const) {
    expect(() => channels(x, { first, count })).toThrow(
      `channels: x (2, 3, 4, 4) has no ${count} channels from ${first} on`,
    )
  }
  expect(() => channels(device.zeros([3, 4]), { first: 0, count: 1 })).toThrow(
    'channels: x must be (N, C, H, W)',
  )
})
