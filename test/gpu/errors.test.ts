import { afterAll, expect, test, vi } from 'vitest'
import type { Device } from '../../src/autograd/device.ts'
import { add } from '../../src/autograd/ops/add.ts'
import {
  DeviceLostError,
  GpuOutOfMemoryError,
  GpuValidationError,
  ShaderError,
} from '../../src/gpu/errors.ts'
import { kernel } from '../../src/gpu/kernel.ts'
import { openDevice } from '../device.ts'

const opened: Device[] = []
async function open(): Promise<Device> {
  const device = await openDevice({ debug: { guard: true } })
  opened.push(device)
  return device
}
afterAll(() => {
  for (const d of opened) d.destroy()
})

const touch = kernel(
  'touch',
  `struct Params { count: u32 }
@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;
@compute @workgroup_size(64) fn one(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < params.count) { y[id.x] = 1.0; }
}
@compute @workgroup_size(64) fn copy(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < params.count) { y[id.x] = x[id.x]; }
}`,
)

test('a kernel whose last function has no body is refused, not read for ever', () => {
  expect(() => kernel('cut', '@compute @workgroup_size(8) fn main( // ) {')).toThrow(
    'kernels/cut.wgsl: no @compute entry point found',
  )
})

test('a shader that does not compile: file, line, column and source line', async () => {
  const device = await open()
  const bad = kernel(
    'bad',
    `@group(0) @binding(0) var<storage, read_write> y: array<f32>;\n@compute @workgroup_size(1) fn main() {\n  y[0] = 1u;\n}\n`,
  )
  const y = device.zeros([1])
  device.launch('bad op', { kernel: bad, entry: 'main', bindings: { y: y.storage }, workgroups: [1] })
  const error = await y.data().then(
    () => undefined,
    (e: unknown) => e,
  )
  expect(error).toBeInstanceOf(ShaderError)
  expect((error as Error).message).toMatch(/kernels\/bad\.wgsl:3:\d+ [\s\S]*y\[0\] = 1u;/)
})

test('a command that the GPU refuses names its op, and the device goes on', async () => {
  const device = await open()
  const y = device.zeros([16])
  // One buffer as input and output of one launch: WebGPU forbids it.
  device.launch('selfish', {
    kernel: touch,
    entry: 'copy',
    bindings: { x: y.storage, y: y.storage },
    params: { count: 16 },
    threads: 16,
  })
  const error = await y.data().then(
    () => undefined,
    (e: unknown) => e,
  )
  expect(error).toBeInstanceOf(GpuValidationError)
  expect((error as GpuValidationError).op).toContain('selfish')
  const z = device.tensor([1, 2])
  expect([...(await z.data())]).toEqual([1, 2])
})

test('a replay that the GPU refuses is an error at the next wait, each time, and the device goes on', async () => {
  const device = await open()
  const x = device.tensor([1, 2])
  const step = device.compile(() => add(x, 1))
  // The first run is held by an error scope, later ones are not.
  expect([...(await step().data())]).toEqual([2, 3])
  const scopes = vi.spyOn(device.native, 'pushErrorScope')
  step()
  expect(scopes).not.toHaveBeenCalled()
  x.storage.place.buffer.destroy()
  for (let i = 0; i < 2; i++) {
    step()
    await expect(device.idle()).rejects.toBeInstanceOf(GpuValidationError)
  }
  expect([...(await device.tensor([4]).data())]).toEqual([4])
})

test('a launch without its parameters leaves no error scope open', async () => {
  const device = await open()
  const y = device.zeros([1])
  device.launch('op', { kernel: touch, entry: 'one', bindings: { y: y.storage }, params: {}, threads: 1 })
  expect(() => device.flush()).toThrow(/op: parameter 'count' is missing/)
  await expect(device.native.popErrorScope()).rejects.toThrow()
})

test('a tensor larger than a buffer is refused before it is created', async () => {
  const device = await open()
  const limit = device.native.limits.maxBufferSize
  expect(() => device.zeros([limit])).toThrow(GpuOutOfMemoryError)
  expect(() => device.zeros([limit])).toThrow(
    /zeros: a tensor of .* [MG]B is needed, a buffer of this adapter holds at most/,
  )
})

test('a tensor larger than a binding can be read and copied; a launch refuses it', async () => {
  const device = await open()
  const { maxBufferSize, maxStorageBufferBindingSize } = device.native.limits
  if (maxBufferSize < 2 * maxStorageBufferBindingSize) return
  const count = maxStorageBufferBindingSize / 4 + 16
  const x = device.tensor(new Float32Array(count).fill(7), [count])
  expect((await x.data()).at(-1)).toBe(7)
  expect(() => add(x, 1)).toThrow(GpuOutOfMemoryError)
  expect(() => add(x, 1)).toThrow(/add: a tensor of .* [MG]B is needed, this adapter binds at most .* MB/)
  x.dispose()
})

test('too many workgroups in one dimension are refused by name', async () => {
  const device = await open()
  const y = device.zeros([1])
  const launch = () =>
    device.launch('wide', {
      kernel: touch,
      entry: 'one',
      bindings: { y: y.storage },
      params: { count: 1 },
      workgroups: [70_000],
    })
  expect(launch).toThrow(/wide: 70000×1×1 workgroups exceed WebGPU's 65535/)
})

test('a loop that never waits is stopped by an error that says how to wait, and nothing recorded is lost', async () => {
  const device = await open()
  const sum = device.zeros([1])
  const one = device.ones([1])
  const step = () => {
    const next = add(sum, one)
    device.copy('sum', next.storage, sum.storage, 4)
    next.dispose()
    steps++
    device.flush()
  }
  let steps = 0
  expect(() => {
    for (;;) step()
  }).toThrow(/submissions wait for the GPU: await device.ready/)
  await device.ready()
  step()
  expect(await sum.item()).toBe(steps)
})

test('empty tensors work and read back empty', async () => {
  const device = await open()
  const x = device.tensor(new Float32Array(0), [0, 3])
  expect((await x.data()).length).toBe(0)
  expect(device.zeros([2, 0]).size).toBe(0)
})

test('a kernel that writes past its tensor is caught by the guard', async () => {
  const device = await open()
  const y = device.zeros([8])
  device.launch('careless', {
    kernel: touch,
    entry: 'one',
    bindings: { y: y.storage },
    params: { count: 9 },
    threads: 9,
  })
  await expect(device.checkGuards()).rejects.toThrow(
    /zeros: a kernel wrote past the end of its tensor of 32 bytes/,
  )
})

test('after the device is lost, everything throws and nothing is read', async () => {
  const device = await open()
  const x = device.tensor([1, 2, 3])
  device.native.destroy()
  await device.native.lost
  await expect(x.data()).rejects.toBeInstanceOf(DeviceLostError)
  expect(() => device.zeros([1])).toThrow(DeviceLostError)
  expect(() => device.zeros([1])).toThrow(/go on from the last checkpoint/)
})

test('a loss while a read-back is under way rejects it', async () => {
  const device = await open()
  const x = device.tensor(new Float32Array(1000), [1000])
  const reading = x.data()
  device.native.destroy()
  await expect(reading).rejects.toBeInstanceOf(DeviceLostError)
})

test('missing parameters and bindings are named', async () => {
  const device = await open()
  const y = device.zeros([1])
  expect(() => {
    device.launch('op', { kernel: touch, entry: 'one', bindings: { y: y.storage }, params: {}, threads: 1 })
    device.flush()
  }).toThrow(/op: parameter 'count' is missing/)
  expect(() =>
    device.launch('op', { kernel: touch, entry: 'one', bindings: {}, params: { count: 1 }, threads: 1 }),
  ).toThrow(/op: touch\/one needs a binding 'y'/)
})
