import { expect, test } from 'vitest'
import { Run } from '../../src/autograd/op.ts'
import { add } from '../../src/autograd/ops/add.ts'
import { mul } from '../../src/autograd/ops/mul.ts'
import { square } from '../../src/autograd/ops/pow.ts'
import { sigmoid } from '../../src/autograd/ops/sigmoid.ts'
import { ShaderError } from '../../src/gpu/errors.ts'
import { kernel } from '../../src/gpu/kernel.ts'
import { openDevice, testDevice } from '../device.ts'

test('after prepare the first call compiles nothing, makes no buffer, and computes the same', async () => {
  const device = await openDevice()
  const weight = device.parameter(Float32Array.of(2, 3), [2])
  const step = device.compile((x: ReturnType<typeof device.tensor>) => mul(add(mul(x, weight), 1), 2))
  const x = device.tensor([0.5, -1])
  await device.idle()
  const before = device.counters
  await step.prepare(x)
  const prepared = device.counters
  expect(prepared.pipelines).toBeGreaterThan(before.pipelines)
  expect(prepared.dispatches).toBe(before.dispatches)
  const y = step(x)
  expect(device.counters.pipelines).toBe(prepared.pipelines)
  expect(device.counters.buffersCreated).toBe(prepared.buffersCreated)
  expect(await y.data()).toEqual(Float32Array.of(4, -4))
  expect(step.captures).toHaveLength(1)
  device.destroy()
})

test('prepare may be called twice at once, again, and after a call', async () => {
  const device = await testDevice()
  let captured = 0
  const step = device.compile((x: ReturnType<typeof device.tensor>) => {
    captured++
    return add(x, 1)
  })
  const x = device.tensor([1, 2])
  await Promise.all([step.prepare(x), step.prepare(x)])
  await step.prepare(x)
  const [a, b] = await step(x).data()
  expect([a, b]).toEqual([2, 3])
  await step.prepare(x)
  expect(captured).toBe(1)
  // Other shapes are another step.
  const wide = device.tensor([1, 2, 3])
  await step.prepare(wide)
  expect(captured).toBe(2)
  expect([...(await step(wide).data())]).toEqual([2, 3, 4])
  step.dispose()
})

test('a call does not wait for a prepare that is under way', async () => {
  const device = await testDevice()
  const step = device.compile((x: ReturnType<typeof device.tensor>) => mul(x, x))
  const x = device.tensor([3])
  const prepared = step.prepare(x)
  const y = step(x)
  await prepared
  expect(await y.item()).toBe(9)
  step.dispose()
})

/** A kernel's text with an error in its second line. */
const doesNotCompile = (entry: string): string =>
  `@group(0) @binding(0) var<storage, read_write> y: array<f32>;\n@compute @workgroup_size(1) fn ${entry}() { y[0] = 1u; }`

test('what no step prepared is compiled without blocking where it is awaited, side by side', async () => {
  const device = await openDevice()
  const calls = { blocking: 0, open: 0, most: 0 }
  const { native } = device
  const now = native.createComputePipeline.bind(native)
  native.createComputePipeline = (descriptor) => {
    calls.blocking++
    return now(descriptor)
  }
  const ahead = native.createComputePipelineAsync.bind(native)
  native.createComputePipelineAsync = (descriptor) => {
    calls.most = Math.max(calls.most, ++calls.open)
    return ahead(descriptor).finally(() => calls.open--)
  }
  const x = device.tensor([0.5, -1])
  const before = device.counters.pipelines
  const y = mul(add(x, 1), sigmoid(x))
  // A second read-back meanwhile: nothing is compiled twice.
  const [sum, product] = await Promise.all([add(x, 1).data(), y.data()])
  expect([...sum]).toEqual([1.5, 0])
  expect(product[0]).toBeCloseTo(1.5 / (1 + Math.exp(-0.5)), 6)
  expect(calls).toEqual({ blocking: 0, open: 0, most: 3 })
  expect(device.counters.pipelines).toBe(before + 3)
  // Waiting does the same, and what is compiled is submitted at once.
  square(x)
  await device.idle()
  expect(calls.blocking).toBe(0)
  const submitted = device.counters.submissions
  square(x)
  const ready = device.ready()
  expect(device.counters.submissions).toBe(submitted + 1)
  await ready
  device.destroy()
})

test('a kernel that does not compile takes nothing else with it', async () => {
  const device = await openDevice()
  const bad = kernel('bad', doesNotCompile('bad'))
  // Written before: a write submits what was recorded.
  const x = device.tensor([3])
  const y = device.zeros([1])
  device.launch('bad', { kernel: bad, entry: 'bad', bindings: { y: y.storage }, workgroups: [1] })
  const failed = y.data().then(
    () => undefined,
    (error: unknown) => error,
  )
  // Recorded while the other compiles: its own submission.
  const z = square(x)
  const error = await failed
  expect(error).toBeInstanceOf(ShaderError)
  expect([...(await z.data())]).toEqual([9])
  device.destroy()
})

test('a kernel that does not compile says so each time that it is launched', async () => {
  const device = await openDevice()
  const bad = kernel('again', doesNotCompile('again'))
  const y = device.zeros([1])
  const launch = () =>
    device.launch('again', { kernel: bad, entry: 'again', bindings: { y: y.storage }, workgroups: [1] })
  for (let i = 0; i < 2; i++) {
    launch()
    await expect(y.data()).rejects.toThrow(/again\.wgsl:2:\d+/)
  }
  launch()
  device.flush()
  await expect(y.data()).rejects.toThrow(/again\.wgsl:2:\d+/)
  // By now there is a pipeline, of which nothing is valid.
  launch()
  await expect(y.data()).rejects.toThrow('again: the GPU refused the command')
  device.destroy()
})

test('what comes between a read-back and its answer does not change it', async () => {
  const device = await openDevice()
  const x = device.tensor([0.5, -1])
  const first = mul(x, 3).data()
  x.set(Float32Array.of(1, 2))
  const step = device.compile((t: ReturnType<typeof device.tensor>) => add(t, x))
  const second = step(x).data()
  const third = square(x).data()
  expect([...(await first)]).toEqual([1.5, -3])
  expect([...(await second)]).toEqual([2, 4])
  expect([...(await third)]).toEqual([1, 4])
  device.destroy()
})

test('a device that is lost while kernels compile says so', async () => {
  const device = await openDevice()
  const pending = sigmoid(mul(device.tensor([1]), 2)).data()
  device.destroy()
  await expect(pending).rejects.toThrow(/destroyed/)
  await expect(device.idle()).rejects.toThrow(/destroyed/)
})

test('a kernel that does not compile rejects with its place in the file', async () => {
  const device = await openDevice()
  const broken = kernel(
    'broken',
    `@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(64)
fn broken(@builtin(global_invocation_id) id: vec3u) {
  y[id.x] = 1u;
}`,
  )
  const step = device.compile(() => {
    const run = new Run(device, 'broken')
    const y = run.empty([64])
    run.launch({ kernel: broken, entry: 'broken', bindings: { y }, threads: 64 })
    return y
  })
  await expect(step.prepare()).rejects.toThrow(ShaderError)
  await expect(step.prepare()).rejects.toThrow(/broken\.wgsl:4:\d+ .*\n.*y\[id\.x\] = 1u/)
  device.destroy()
})

test('on a lost device prepare says so', async () => {
  const device = await openDevice()
  const step = device.compile((x: ReturnType<typeof device.tensor>) => add(x, 1))
  const x = device.tensor([1])
  device.destroy()
  await expect(step.prepare(x)).rejects.toThrow(/destroyed/)
})
