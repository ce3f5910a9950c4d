/**
 * Kernels by subgroup matrices without an adapter that offers them. Dawn's null backend accepts the feature and checks
 * their WGSL, pipelines included, but runs nothing. What they compute is checked here on matrices of a few lines of
 * WGSL, their lanes dealt as an adapter might. That leaves to the hardware what no emulation can say: its own rounding, speed,
 * and whether its driver compiles them.
 */
import { expect, test } from 'vitest'
import { planConv2d } from '../../src/autograd/conv2d/plan.ts'
import type { ConvBuffer } from '../../src/autograd/conv2d/variant.ts'
import { Run } from '../../src/autograd/op.ts'
import { convKernels } from '../../src/autograd/ops/conv2d_kernels.ts'
import { ACTIVATIONS, convAdapter, runConvVariant } from '../../src/autograd/ops/conv2d_run.ts'
import { matmul } from '../../src/autograd/ops/matmul.ts'
import { findMatrices, type MatrixConfig, matrixTile } from '../../src/autograd/ops/subgroup_matrices.ts'
import { AdapterError } from '../../src/gpu/errors.ts'
import { type Kernel, kernel } from '../../src/gpu/kernel.ts'
import { openDevice, testDevice } from '../device.ts'
import { randomValues } from '../oracle.ts'
import { convValues, sums } from './conv-oracle.ts'
import { type ConvRow, convShapeOf } from './conv-shapes.ts'

type Component = 'f16' | 'f32'
const config = (componentType: Component, M: number, N: number, K: number): MatrixConfig => ({
  ...{ componentType, resultComponentType: 'f32', M, N, K },
})
/** Kinds that adapters are known to list, with the largest subgroup there. */
const KINDS: readonly (readonly [MatrixConfig, number])[] = [
  [config('f32', 8, 8, 8), 32],
  [config('f16', 16, 16, 16), 32],
  [config('f16', 16, 8, 16), 32],
  [config('f16', 8, 16, 16), 64],
]

/** As much of an adapter as is asked. */
const adapterWith = (configs: readonly MatrixConfig[], subgroupMaxSize: number, storage = 16384) =>
  ({
    info: { subgroupMaxSize, subgroupMatrixConfigs: configs },
    features: new Set(['subgroups', 'shader-f16', 'chromium-experimental-subgroup-matrix']),
    limits: { maxComputeInvocationsPerWorkgroup: 256, maxComputeWorkgroupStorageSize: storage },
  }) as unknown as GPUAdapter

const suffix = ({ componentType, M, N, K }: MatrixConfig) => `${componentType}_${M}x${N}x${K}`
const typeOf = (c: MatrixConfig) => (c.componentType === 'f16' ? 'float16' : 'float32')
const FILES = ['matrix_conv2d', 'matrix_conv2d_weight_grad', 'matrix_matmul']

test('Dawn compiles them (on its null backend, which runs nothing)', async (context) => {
  if ('window' in globalThis) return context.skip()
  const { openDawn, UNSAFE } = await import('../../src/node/dawn.ts')
  const { adapter } = await openDawn(['backend=null', UNSAFE], undefined, {})
  const requiredFeatures = ['shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix']
  const native = await adapter!.requestDevice({ requiredFeatures: requiredFeatures as GPUFeatureName[] })
  for (const [kind, subgroup] of KINDS) {
    expect(findMatrices(adapterWith([kind], subgroup), 'test', true)?.plans[typeOf(kind)]).toBeDefined()
    for (const file of FILES) {
      const registered = convKernels.get(`${file}_${suffix(kind)}`)!
      const code = (kind.componentType === 'f16' ? registered.half : registered).source
      const module = native.createShaderModule({ code })
      const { messages } = await module.getCompilationInfo()
      expect(messages.map((m) => `${file}:${m.lineNum} ${m.message}`)).toEqual([])
      for (const rows of [16, 64]) {
        const limits = { subgroupMaxSize: subgroup, maxInvocations: 256, maxWorkgroupStorage: 16384 }
        native.pushErrorScope('validation')
        const constants = { ...matrixTile(kind, rows, limits)! }
        native.createComputePipeline({ layout: 'auto', compute: { module, entryPoint: file, constants } })
        expect((await native.popErrorScope())?.message, `${file} ${suffix(kind)}`).toBeUndefined()
      }
    }
  }
  native.destroy()
})

/**
 * The kernel with matrices of plain WGSL, in subgroups of `size` lanes: left and right ones are where they lie in
 * workgroup memory, of a result each lane holds every size-th value.
 */
function emulated({ name, source }: Kernel, { M, N, K }: MatrixConfig, size: number): Kernel {
  const mine = (M * N) / size
  const text = source
    .replace('enable chromium_experimental_subgroup_matrix;', '')
    .replace(/subgroup_matrix_left<\w+, \d+, \d+>/, 'vec2u')
    .replace(/subgroup_matrix_right<\w+, \d+, \d+>/, 'vec2u')
    .replace(/subgroup_matrix_result<f32, \d+, \d+>/, `array<f32, ${mine}>`)
    .replaceAll('subgroupMatrixLoad<right_matrix, row_major>(&right_tile,', 'vec2u(')
    .replaceAll('subgroupMatrixLoad<left_matrix, row_major>(&left_tile,', 'vec2u(')
    .replaceAll('subgroupMatrixMultiplyAccumulate', 'multiply_add')
    .replaceAll('subgroupMatrixStore<row_major>(&stage,', 'store_result(')
    .replace(
      / {2}@builtin\(subgroup_id\) square: u32,\n\) \{/,
      `) {\n  let square = lane / ${size}u;\n  place_in_subgroup = lane % ${size}u;\n  none = lane / 1000u;`,
    )
  const helpers = `
var<private> place_in_subgroup: u32;
var<private> none: u32; // 0, but loops that end at it are not unrolled: lavapipe would compile for a minute
fn multiply_add(left: left_matrix, right: right_matrix, sum: result_matrix) -> result_matrix {
  var m = sum;
  for (var i = 0u; i < ${mine}u + none; i++) {
    let e = i * ${size}u + place_in_subgroup;
    for (var k = 0u; k < ${K}u + none; k++) {
      m[i] += f32(left_tile[left.x + e / ${N}u * left.y + k]) * f32(right_tile[right.x + k * right.y + e % ${N}u]);
    }
  }
  return m;
}
fn store_result(at: u32, values: result_matrix, line: u32) {
  var m = values;
  for (var i = 0u; i < ${mine}u + none; i++) {
    let e = i * ${size}u + place_in_subgroup;
    stage[at + e / ${N}u * line + e % ${N}u] = m[i];
  }
}
`
  expect(text).not.toMatch(/subgroupMatrix[A-Z]|subgroup_matrix_|@builtin\(subgroup_id/)
  return kernel(name, text + helpers)
}

/** The kernels as they were registered. */
const real = new Map<string, Kernel>()

/** Plans for a kind, whose kernels are emulated in subgroups of `size`. */
function emulatedPlans(kind: MatrixConfig, largest: number, size: number) {
  const plans = findMatrices(adapterWith([kind], largest), 'test', true)!.plans
  for (const file of FILES) {
    const name = `${file}_${suffix(kind)}`
    const original = real.get(name) ?? convKernels.get(name)!
    real.set(name, original)
    ;(convKernels as Map<string, Kernel>).set(name, emulated(original, kind, size))
  }
  return plans
}

/** Tails everywhere; several tiles; phases; groups. */
const SHAPES: readonly ConvRow[] = [
  [2, 17, 5, 7, 19, 3, 1, 1, 1, 1],
  [1, 40, 6, 9, 66, 3, 1, 2, 2, 1],
  [1, 9, 13, 12, 16, 3, 2, 1, 1, 1],
  [2, 8, 6, 8, 13, 2, 2, 0, 1, 1],
  [1, 24, 5, 6, 16, 3, 1, 1, 1, 2],
  [3, 20, 8, 8, 17, 1, 1, 0, 1, 1],
]

// The last has subgroups smaller than the adapter's largest: then there are more of them than squares of the tile.
test.each([
  ...KINDS.map(([kind, largest]) => [kind, largest, largest] as const),
  [KINDS[2]![0], 32, 8] as const,
])(
  'convolutions of %o in subgroups of at most %i, here %i: values of the float64 oracle',
  async (kind, largest, size) => {
    const device = await testDevice()
    const dtype = typeOf(kind)
    const half = dtype === 'float16'
    if (!device.adapter.subgroups || (half && !device.adapter.f16) || !/llvmpipe/.test(device.adapter.name))
      return
    const plans = emulatedPlans(kind, largest, size)
    for (const row of size === largest ? SHAPES : SHAPES.slice(0, 1)) {
      const s = convShapeOf(row)
      const values = convValues(s, half)
      const wanted = sums(s, values)
      const typeIn = (name: string) => (ACTIVATIONS.has(name as ConvBuffer) ? dtype : 'float32')
      const buffers = Object.fromEntries(
        Object.entries(values).map(([k, v]) => [k, device.tensor(v, [v.length], { dtype: typeIn(k) })]),
      )
      const plan = planConv2d(
        s,
        { ...convAdapter(device), matrices: plans[dtype] },
        {
          forward: { bias: true, relu: true },
          inputGrad: { accumulate: true },
          weightGrad: { accumulate: true },
        },
      )
      const bias = (i: number) => values.bias[Math.floor(i / (s.outH * s.outW)) % s.cout]!
      const cases = {
        forward: ['y', (v: number, i: number) => Math.max(0, v + bias(i))],
        inputGrad: ['dx', (v: number) => v + 0.5],
        weightGrad: ['dw', (v: number) => v + 0.5],
      } as const
      for (const part of ['forward', 'inputGrad', 'weightGrad'] as const) {
        const [into, finish] = cases[part]
        const variant = plan[part][0]!
        expect(variant.name, `${part} of ${row}`).toBe('matrix')
        const run = new Run(device, 'variant')
        const { value, size: sizes } = wanted[part]
        const out = device.full([value.length], 0.5, { dtype: typeIn(into) })
        runConvVariant(run, variant, { ...buffers, [into]: out }, 0)
        run.finish([])
        const got = await out.data()
        // Float32 sums of products; in halves the weight is rounded, and so is the result.
        const unit = half ? 2 ** -11 : 2 ** -24
        const worst = Math.max(
          ...value.map((v, i) => Math.abs(got[i]! - finish(v, i)) / (unit * (sizes[i]! + 1))),
        )
        expect(worst, `${part} of ${row}`).toBeLessThanOrEqual(half ? 2 : 16)
        out.dispose()
      }
      for (const t of Object.values(buffers)) t.dispose()
    }
    await device.checkGuards()
  },
)

test.each(KINDS.slice(0, 2))('matrix products of %o: values and gradients', async (kind, largest) => {
  const device = await testDevice()
  const dtype = typeOf(kind)
  if (!device.adapter.subgroups || (dtype === 'float16' && !device.adapter.f16)) return
  if (!/llvmpipe/.test(device.adapter.name)) return
  device.matrices = emulatedPlans(kind, largest, largest)
  try {
    for (const [m, k, n] of [
      [5, 33, 7],
      [70, 40, 66],
    ] as const) {
      // Small whole numbers: exact in halves, and so are their products' sums.
      const whole = (count: number, seed: number) => randomValues([count], seed).map((v) => Math.round(2 * v))
      const [va, vb, vd] = [whole(2 * m * k, 1), whole(k * n, 2), whole(2 * m * n, 3)]
      const a = device.tensor(va, [2, m, k], { requiresGrad: true })
      const b = device.tensor(vb, [k, n], { requiresGrad: true })
      const y = device.autocast(() => matmul(a, b, { form: 'matrices' }), { enabled: dtype === 'float16' })
      expect(y.dtype).toBe(dtype)
      y.backward(device.tensor(vd, [2, m, n]))
      const rows = 2 * m
      const product = (
        count: number,
        columns: number,
        depth: number,
        term: (r: number, c: number, q: number) => number,
      ) =>
        Array.from({ length: count * columns }, (_, i) => {
          let sum = 0
          for (let q = 0; q < depth; q++) sum += term(Math.floor(i / columns), i % columns, q)
          return sum
        })
      const same = (got: ArrayLike<number>, want: number[]) =>
        expect(Array.from(got, (v) => v + 0)).toEqual(want.map((v) => v + 0))
      same(
        await y.data(),
        product(rows, n, k, (r, c, q) => va[r * k + q]! * vb[q * n + c]!),
      )
      same(
        await a.grad!.data(),
        product(rows, k, n, (r, c, q) => vd[r * n + q]! * vb[c * n + q]!),
      )
      same(
        await b.grad!.data(),
        product(k, n, rows, (r, c, q) => va[q * k + r]! * vd[q * n + c]!),
      )
    }
  } finally {
    device.matrices = undefined
  }
  await device.checkGuards()
})

test('an adapter without them is opened all the same, unless they are required', async () => {
  const device = await openDevice({ subgroupMatrices: true })
  // On one that offers them this is the test to change.
  expect(device.matrices).toBeUndefined()
  device.destroy()
  await expect(openDevice({ subgroupMatrices: 'required' })).rejects.toThrow(AdapterError)
  await expect(openDevice({ subgroupMatrices: 'required' })).rejects.toThrow(
    /subgroupMatrices is 'required', but .+ offers no chromium-experimental-subgroup-matrix with f16 or f32/,
  )
  const { adapter } = await testDevice()
  const run = async () =>
    matmul((await testDevice()).ones([2, 2]), (await testDevice()).ones([2, 2]), { form: 'matrices' })
  await expect(run()).rejects.toThrow(`for float32, which ${adapter.name} has not`)
})

test('kinds that are summed in halves, or fit no tile, are left alone', () => {
  const find = (configs: MatrixConfig[], subgroup = 32) =>
    findMatrices(adapterWith(configs, subgroup), 'test', false)
  expect(find([{ ...config('f16', 16, 16, 16), resultComponentType: 'f16' }])).toBeUndefined()
  expect(find([config('f16', 48, 16, 16)])).toBeUndefined()
  expect(find([config('f32', 8, 8, 8)], 512)).toBeUndefined()
  // Halves are multiplied in f32 matrices where these are all there is; float32 is never multiplied in halves.
  expect(Object.keys(find([config('f32', 8, 8, 8)])!.plans)).toEqual(['float32', 'float16'])
  expect(Object.keys(find([config('f16', 16, 16, 16)])!.plans)).toEqual(['float16'])
})

test('a tile keeps to the limits of any adapter', () => {
  for (const [kind] of KINDS)
    for (const subgroupMaxSize of [8, 16, 32, 64, 128])
      for (const rows of [8, 33, 500]) {
        const limits = { subgroupMaxSize, maxInvocations: 256, maxWorkgroupStorage: 16384 }
        const tile = matrixTile(kind, rows, limits)!
        expect(tile.LANES % subgroupMaxSize).toBe(0)
        expect(tile.LANES / subgroupMaxSize).toBe(tile.GROUP_ROWS * tile.GROUP_COLS)
        expect(tile.LANES).toBeLessThanOrEqual(256)
      }
})
