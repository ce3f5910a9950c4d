import { expect, test } from 'vitest'
import { adaptiveAvgPool2d } from '../../src/autograd/ops/avg-pool2d.ts'
import { batchNorm } from '../../src/autograd/ops/batch-norm.ts'
import { convTranspose2d } from '../../src/autograd/ops/conv-transpose2d.ts'
import { conv2d } from '../../src/autograd/ops/conv2d.ts'
import { interpolate } from '../../src/autograd/ops/interpolate.ts'
import { maxPool2d } from '../../src/autograd/ops/max-pool2d.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { testDevice } from '../device.ts'
import { randomValues } from '../oracle.ts'
import { expectClose } from '../reference.ts'

/** A small network of all of them: its output and the gradients of its parameters. */
async function network(shape: readonly number[]) {
  const device = await testDevice()
  const parameter = (of: readonly number[], seed: number) => device.parameter(randomValues(of, seed), of)
  const w = parameter([8, 4, 3, 3], 1)
  const b = parameter([8], 2)
  const scale = parameter([8], 3)
  const shift = parameter([8], 4)
  const up = parameter([8, 4, 2, 2], 5)
  const mean = device.parameter(new Float32Array(8), [8], { requiresGrad: false })
  const variance = device.parameter(new Float32Array(8).fill(1), [8], { requiresGrad: false })
  const x = device.tensor(randomValues(shape, 6), shape)
  const step = (input: Tensor): Tensor => {
    const z = conv2d(input, w, { bias: b, padding: 1 })
    const n = batchNorm(z, {
      weight: scale,
      bias: shift,
      runningMean: mean,
      runningVar: variance,
      training: true,
      activation: 'relu',
    })
    const p = maxPool2d(n, { kernelSize: 2 })
    const u = convTranspose2d(p, up, { stride: 2, activation: 'relu' })
    const r = interpolate(u, { size: [23, 20], mode: 'bilinear' })
    const y = adaptiveAvgPool2d(r, { outputSize: [2, 1] })
    y.backward(device.ones(y.shape))
    return y
  }
  const parameters = [w, b, scale, shift, up]
  const results = async (y: Tensor) => {
    const read = await Promise.all(
      [y, mean, variance, ...parameters.map((p) => p.grad!)].map((t) => t.data()),
    )
    return read.map((a) => Float64Array.from(a))
  }
  return { device, x, step, results }
}

const shape = [3, 4, 22, 18]

test('a captured step gives the bits of the eager one', async () => {
  const eager = await network(shape)
  const expected = await eager.results(eager.step(eager.x))
  const captured = await network(shape)
  const compiled = captured.device.compile(captured.step)
  const got = await captured.results(compiled(captured.x))
  expect(got).toEqual(expected)
  // The second call accumulates: gradients double, running statistics move on.
  const again = await captured.results(compiled(captured.x))
  expect(again[0]).toEqual(got[0])
  for (const k of [3, 4, 5, 6, 7])
    expectClose(
      again[k]!,
      got[k]!.map((v) => 2 * v),
      1e-5,
      1e-5,
      `grad ${k}`,
    )
  compiled.dispose()
})

test('the forms for GPUs and for CPU drivers compute the same', async () => {
  const device = await testDevice()
  const adapter = device.adapter as { cpu: boolean }
  const here = adapter.cpu
  const run = async (of: readonly number[], cpu: boolean) => {
    adapter.cpu = cpu
    try {
      const { step, x, results } = await network(of)
      return await results(step(x))
    } finally {
      adapter.cpu = here
    }
  }
  for (const of of [shape, [2, 4, 21, 17]]) {
    const wanted = await run(of, true)
    const got = await run(of, false)
    for (const [k, a] of got.entries()) expectClose(a, wanted[k]!, 2e-4, 2e-4, `result ${k} of ${of}`)
  }
})
