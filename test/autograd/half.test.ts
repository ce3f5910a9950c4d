import { describe, expect, test } from 'vitest'
import { halfBits, halfValue } from '../../src/autograd/float16.ts'
import { Run } from '../../src/autograd/op.ts'
import {
  adaptiveAvgPool2d,
  add,
  avgPool2d,
  batchNorm,
  cast,
  clamp,
  concat,
  conv2d,
  convTranspose2d,
  diceLoss,
  div,
  dropout,
  gt,
  interpolate,
  maximum,
  maxPool2d,
  mul,
  pad,
  permute,
  relu,
  reshape,
  sigmoid,
  slice,
  softmax,
  sub,
  sum,
} from '../../src/autograd/ops/index.ts'
import { recompute } from '../../src/autograd/recompute.ts'
import type { Shape, Tensor } from '../../src/autograd/tensor.ts'
import { elements } from '../../src/autograd/tensor.ts'
import { kernel } from '../../src/gpu/kernel.ts'
import { testDevice } from '../device.ts'
import { nearestHalves, randomValues } from '../oracle.ts'

const device = await testDevice()
const { f16 } = device.adapter

/** The distance of neighbouring halves at `v`. */
const ulp = (v: number): number =>
  2 ** Math.max(-24, Math.floor(Math.log2(Math.max(Math.abs(v), 2 ** -14))) - 10)

/**
 * Every value within `ulps` units in the last place of half precision of what float32 gives for the same inputs:
 * 0.5 for a result that is rounded once, and what float32's own error may tip.
 */
function expectHalf(got: ArrayLike<number>, want: ArrayLike<number>, ulps: number, what: string): void {
  expect(got.length).toBe(want.length)
  let worst = 0
  for (let i = 0; i < got.length; i++) worst = Math.max(worst, Math.abs(got[i]! - want[i]!) / ulp(want[i]!))
  expect(worst, `${what}: units in the last place`).toBeLessThanOrEqual(ulps)
}

describe('halves on the host', () => {
  test('every half survives the round trip', () => {
    for (let bits = 0; bits < 0x10000; bits++) {
      const value = halfValue(bits)
      if (Number.isNaN(value)) expect(halfValue(halfBits(value))).toBeNaN()
      else expect(halfBits(value)).toBe(bits)
    }
  })

  test('rounds to the nearest, ties to even, over and under the range', () => {
    const cases: [number, number][] = [
      [1 + 2 ** -11, 1],
      [1 + 3 * 2 ** -11, 1 + 2 ** -9],
      [1 + 2 ** -11 + 2 ** -20, 1 + 2 ** -10],
      [65519, 65504],
      [65520, Number.POSITIVE_INFINITY],
      [-1e9, Number.NEGATIVE_INFINITY],
      [2 ** -25, 0],
      [1.5 * 2 ** -25, 2 ** -24],
      [2 ** -14 - 2 ** -26, 2 ** -14],
      [1023.5 * 2 ** -24, 1024 * 2 ** -24],
    ]
    for (const [from, to] of cases) expect(halfValue(halfBits(from)), `${from}`).toBe(to)
  })
})

describe.runIf(!f16)('without shader-f16', () => {
  test.each([
    ['autocast', () => device.autocast(() => 0)],
    ['cast', () => cast(device.ones([2]), 'float16')],
    ['tensor', () => device.tensor([1], [1], { dtype: 'float16' })],
    ['zeros', () => device.zeros([1], { dtype: 'float16' })],
  ])('%s says what is missing and what to do', (_, run) => {
    expect(run).toThrow(/half precision needs shader-f16, which .+ doesn't offer; use precision 'float32'/)
  })
})

interface Case {
  readonly shapes: readonly Shape[]
  /** Inputs that stay float32: weights, biases. */
  readonly full?: readonly number[]
  readonly fn: (...x: Tensor[]) => Tensor
  /** Largest errors of values and gradients, in units in the last place of half precision. */
  readonly ulps?: number
  readonly gradUlps?: number
}

const cases: Record<string, Case> = {
  'conv2d 3×3': {
    shapes: [[2, 5, 8, 12], [7, 5, 3, 3], [7]],
    full: [1, 2],
    fn: (x, w, b) => conv2d(x!, w!, { bias: b, padding: 1 }),
  },
  'conv2d 3×3, odd sizes': {
    shapes: [
      [1, 3, 7, 9],
      [4, 3, 3, 3],
    ],
    full: [1],
    fn: (x, w) => conv2d(x!, w!, { padding: 1 }),
  },
  'conv2d 3×3, ReLU, low image': {
    shapes: [[3, 8, 4, 4], [8, 8, 3, 3], [8]],
    full: [1, 2],
    fn: (x, w, b) => conv2d(x!, w!, { bias: b, padding: 1, activation: 'relu' }),
  },
  'conv2d 1×1': {
    shapes: [[2, 16, 6, 6], [3, 16, 1, 1], [3]],
    full: [1, 2],
    fn: (x, w, b) => conv2d(x!, w!, { bias: b }),
  },
  'conv2d 5×3, stride 2, dilation 2': {
    shapes: [
      [2, 4, 13, 11],
      [6, 4, 5, 3],
    ],
    full: [1],
    fn: (x, w) => conv2d(x!, w!, { stride: 2, padding: 2, dilation: 2 }),
  },
  'conv2d depthwise': {
    shapes: [
      [2, 6, 9, 8],
      [6, 1, 3, 3],
    ],
    full: [1],
    fn: (x, w) => conv2d(x!, w!, { padding: 1, groups: 6 }),
  },
  'convTranspose2d 2×2': {
    shapes: [[2, 8, 5, 8], [8, 6, 2, 2], [6]],
    full: [1, 2],
    fn: (x, w, b) => convTranspose2d(x!, w!, { bias: b, stride: 2 }),
  },
  relu: { shapes: [[3, 5]], fn: (x) => relu(x!) },
  clamp: { shapes: [[3, 5]], fn: (x) => clamp(x!, { min: -0.5, max: 0.25 }) },
  add: {
    shapes: [
      [2, 3, 5],
      [2, 3, 5],
    ],
    fn: (a, b) => add(a!, b!),
  },
  'sub, broadcast': {
    shapes: [
      [2, 3, 5],
      [3, 1],
    ],
    fn: (a, b) => sub(a!, b!),
    gradUlps: 1.01,
  },
  'mul, broadcast': {
    shapes: [
      [2, 4, 8],
      [4, 1],
    ],
    fn: (a, b) => mul(a!, b!),
    gradUlps: 4,
  },
  maximum: {
    shapes: [
      [7, 3],
      [7, 3],
    ],
    fn: (a, b) => maximum(a!, b!),
  },
  'max pooling 2×2': { shapes: [[2, 3, 6, 8]], fn: (x) => maxPool2d(x!, { kernelSize: 2 }) },
  'max pooling 3×3, stride 2': {
    shapes: [[2, 3, 7, 9]],
    fn: (x) => maxPool2d(x!, { kernelSize: 3, stride: 2, padding: 1 }),
  },
  'average pooling': {
    shapes: [[2, 3, 7, 9]],
    fn: (x) => avgPool2d(x!, { kernelSize: 3, stride: 2, padding: 1 }),
  },
  'adaptive average pooling': { shapes: [[2, 3, 9, 9]], fn: (x) => adaptiveAvgPool2d(x!, { outputSize: 1 }) },
  'interpolate, bilinear': {
    shapes: [[2, 3, 5, 7]],
    fn: (x) => interpolate(x!, { size: [9, 11], mode: 'bilinear' }),
  },
  'interpolate, bilinear, doubled': {
    shapes: [[2, 3, 5, 8]],
    fn: (x) => interpolate(x!, { size: [10, 16], mode: 'bilinear' }),
  },
  'interpolate, bilinear, halved': {
    shapes: [[2, 3, 6, 8]],
    fn: (x) => interpolate(x!, { size: [3, 4], mode: 'bilinear' }),
  },
  'interpolate, nearest, doubled': { shapes: [[1, 5, 4, 4]], fn: (x) => interpolate(x!, { size: 8 }) },
  'interpolate, nearest': { shapes: [[1, 5, 4, 4]], fn: (x) => interpolate(x!, { size: [7, 8] }) },
  concat: {
    shapes: [
      [2, 3, 4, 4],
      [2, 5, 4, 4],
    ],
    fn: (a, b) => concat([a!, b!], { axis: 1 }),
  },
  'concat, odd': {
    shapes: [
      [1, 1, 3, 3],
      [1, 2, 3, 3],
    ],
    fn: (a, b) => concat([a!, b!], { axis: 1 }),
  },
  pad: {
    shapes: [[2, 3, 5]],
    fn: (x) =>
      pad(x!, {
        pads: [
          [0, 0],
          [1, 0],
          [2, 1],
        ],
        value: 0.5,
      }),
  },
  slice: { shapes: [[4, 5, 7]], fn: (x) => slice(x!, { starts: [1, 0, 3], ends: [3, 5, 6] }) },
  permute: { shapes: [[3, 5, 7]], fn: (x) => permute(x!, { axes: [2, 0, 1] }) },
  reshape: { shapes: [[3, 5]], fn: (x) => reshape(x!, { shape: [5, 3] }) },
  dropout: { shapes: [[9, 5]], fn: (x) => dropout(x!, { p: 0.5, seed: 3 }) },
  'batch norm, training': {
    shapes: [[3, 4, 5, 8], [4], [4]],
    full: [1, 2],
    fn: (x, weight, bias) => batchNorm(x!, { weight, bias, training: true }),
    gradUlps: 1.5,
  },
  'batch norm, ReLU, odd rows': {
    shapes: [[2, 3, 5, 7], [3], [3]],
    full: [1, 2],
    fn: (x, weight, bias) => batchNorm(x!, { weight, bias, training: true, activation: 'relu' }),
    gradUlps: 1.5,
  },
}

/** Values and gradients of `fn`; the inputs of a case in half precision or, rounded alike, in float32. */
async function evaluate({ shapes, full = [], fn }: Case, half: boolean) {
  const leaves = shapes.map((shape, i) => {
    const values = randomValues(shape, 7 + i)
    return device.tensor(full.includes(i) ? values : nearestHalves(values), shape, { requiresGrad: true })
  })
  const inputs = leaves.map((x, i) => (half && !full.includes(i) ? cast(x, 'float16') : x))
  const y = fn(...inputs)
  const { dtype } = y
  const values = await y.data()
  const upstream = device.tensor(nearestHalves(randomValues(y.shape, 99)), y.shape)
  y.backward(upstream)
  const grads = await Promise.all(leaves.map((x) => x.grad!.data()))
  for (const t of [...leaves, upstream, y]) t.dispose()
  return { dtype, values, grads }
}

describe.runIf(f16)('ops in half precision', () => {
  test.each(Object.entries(cases))('%s: as float32 with the same inputs, rounded', async (name, c) => {
    const full = await evaluate(c, false)
    const half = await evaluate(c, true)
    expect(full.dtype).toBe('float32')
    expect(half.dtype, 'dtype of the result').toBe('float16')
    expectHalf(half.values, full.values, c.ulps ?? 0.51, name)
    half.grads.forEach((g, i) => {
      const isFull = c.full?.includes(i) ?? false
      // Gradients of weights are float32 sums of products of halves: only the ReLU's rounding reaches them.
      if (isFull)
        for (let k = 0; k < g.length; k++) expect(Math.abs(g[k]! - full.grads[i]![k]!)).toBeLessThan(2e-3)
      else expectHalf(g, full.grads[i]!, c.gradUlps ?? 0.51, `${name}, gradient ${i}`)
    })
    await device.checkGuards()
  })

  test('a float32 partner makes the result float32', () => {
    const [a, b] = [device.ones([2, 3], { dtype: 'float16' }), device.ones([2, 3])]
    expect(add(a, b).dtype).toBe('float32')
    expect(concat([a, b]).dtype).toBe('float32')
    expect(add(a, 1).dtype).toBe('float16')
  })

  test.each<[string, (x: Tensor) => Tensor]>([
    ['sigmoid', (x) => sigmoid(x)],
    ['softmax', (x) => softmax(x, { axis: 1 })],
    ['div', (x) => div(1, add(x, 3))],
    ['sum', (x) => sum(x, { axes: [0] })],
    ['diceLoss', (x) => diceLoss(sigmoid(x), device.ones([3, 5]))],
    ['gt', (x) => gt(x, 0)],
  ])('%s computes and answers in float32', async (_, fn) => {
    const values = nearestHalves(randomValues([3, 5]))
    const half = fn(cast(device.tensor(values, [3, 5]), 'float16'))
    expect(half.dtype).toBe('float32')
    const want = await fn(device.tensor(values, [3, 5])).data()
    const got = await half.data()
    got.forEach((v, i) => {
      expect(Math.abs(v - want[i]!)).toBeLessThanOrEqual(1e-3 * Math.abs(want[i]!))
    })
  })
})

/** Every kernel file that has a half form. */
const halfKernels = Object.entries(
  import.meta.glob<string>('../../kernels/*.wgsl', { eager: true, import: 'default' }),
).filter(([, source]) => /^alias elem4? =/m.test(source))

test.runIf(f16).each(halfKernels)('%s compiles in its half form', async (path, source) => {
  const { half } = kernel(path.split('/').at(-1)!.replace('.wgsl', ''), source)
  // Those of subgroup matrices compile in subgroup-matrices.test.ts.
  const lacks = /^enable subgroups;/m.test(source) && !device.adapter.subgroups
  if (lacks || /^enable chromium_/m.test(source)) return
  const errorsOf = async (code: string) => {
    device.native.pushErrorScope('validation')
    const info = await device.native.createShaderModule({ code }).getCompilationInfo()
    await device.native.popErrorScope()
    const errors = info.messages.filter((m) => m.type === 'error')
    return errors.map((m) => `${path}:${m.lineNum}:${m.linePos} ${m.message}`)
  }
  // A file that its op joins with others has the same names missing in both forms.
  expect(await errorsOf(half.source)).toEqual(await errorsOf(source))
  // Lines keep their numbers, and no array of the file is half precision by any other name.
  expect(half.source.split('\n').length).toBe(source.split('\n').length)
  expect(source).not.toMatch(/f16|vec[234]h/)
})

describe.runIf(f16)('tensors of float16', () => {
  test('odd counts go to the GPU and back, NaN, infinities and subnormals included', async () => {
    const values = [1, -0, 2 ** -24, 65504, 1e6, Number.NEGATIVE_INFINITY, Number.NaN]
    const x = device.tensor(values, [7], { dtype: 'float16' })
    expect(x.bytes).toBe(14)
    const want = nearestHalves(Float32Array.from(values))
    expect(await x.data()).toEqual(want)
    expect(await cast(x, 'float32').data()).toEqual(want)
    expect(await cast(device.tensor(values), 'float16').data()).toEqual(want)
    x.set(new Float32Array([1 / 3, 2, 3, 4, 5, 6, 7]))
    expect((await x.data())[0]).toBe(halfValue(halfBits(1 / 3)))
  })

  test('fresh halves are NaN in test mode, and their guards hold', async () => {
    const x = new Run(device, 'test').empty([5], 'float16')
    expect([...(await x.data())].every(Number.isNaN)).toBe(true)
    x.dispose()
    const y = relu(device.tensor(randomValues([1, 3, 3]), [1, 3, 3], { dtype: 'float16' }))
    await y.data()
    await device.checkGuards()
  })

  test('leaves that want a gradient are float32', () => {
    expect(() => device.tensor([1], [1], { dtype: 'float16', requiresGrad: true })).toThrow(
      /only float32 tensors can want a gradient, this one is float16; make it float32 and cast it/,
    )
  })

  test('a kernel without a half form says so', async () => {
    const square = kernel(
      'square',
      `@group(0) @binding(0) var<storage, read_write> y: array<f32>;
       @compute @workgroup_size(1) fn main() { y[0] = 1.0; }`,
    )
    const y = device.zeros([1], { dtype: 'float16' })
    expect(() =>
      new Run(device, 'square').launch({ kernel: square, entry: 'main', bindings: { y }, workgroups: [1] }),
    ).toThrow(/'y' of kernels\/square\.wgsl is float16, it must be float32; cast it before/)
  })

  test('gradients flow through casts and branches in both types', async () => {
    const values = nearestHalves(randomValues([2, 3]))
    const x = device.tensor(values, [2, 3], { requiresGrad: true })
    const h = cast(x, 'float16')
    // x is used by three ops, twice in half precision: the gradient is 2·h + 1 + 3.
    const y = add(cast(add(mul(h, h), h), 'float32'), mul(x, 3))
    sum(y).backward()
    expectHalf(
      await x.grad!.data(),
      values.map((v) => 2 * v + 4),
      1,
      'gradient',
    )
    x.dispose()
  })
})

describe.runIf(f16)('autocast', () => {
  const weight = () => device.tensor(randomValues([4, 3, 3, 3]), [4, 3, 3, 3], { requiresGrad: true })

  test('convolutions take halves in it, and float32 outside', () => {
    const [x, w] = [device.ones([1, 3, 4, 4]), weight()]
    expect(conv2d(x, w, { padding: 1 }).dtype).toBe('float32')
    const { a, b } = device.autocast(() => {
      const a = conv2d(x, w, { padding: 1 })
      return { a, b: sigmoid(relu(a)) }
    })
    expect([a.dtype, b.dtype]).toEqual(['float16', 'float32'])
    expect(device.autocasting).toBe(false)
    const c = device.autocast(() => device.autocast(() => conv2d(x, w, { padding: 1 }), { enabled: false }))
    expect(c.dtype).toBe('float32')
    expect(() => device.autocast(async () => undefined)).toThrow(/autocast: the function must not be async/)
  })

  test('a compiled step keeps its types, and frees its casts', async () => {
    const w = weight()
    const step = device.compile((x: Tensor) => {
      const y = device.autocast(() => sum(sigmoid(relu(conv2d(x, w, { padding: 1 })))))
      y.backward()
      return y
    })
    const x = device.tensor(randomValues([2, 3, 4, 4]), [2, 3, 4, 4])
    const first = await step(x).item()
    const grad = await w.grad!.data()
    expect(await step(x).item()).toBe(first)
    const twice = await w.grad!.data()
    twice.forEach((g, i) => {
      expect(g).toBeCloseTo(2 * grad[i]!, 4)
    })
    step.dispose()
  })

  test('what is recomputed in the backward pass is recomputed in the same types, wherever that runs', async () => {
    const w = weight()
    const x = device.tensor(randomValues([2, 3, 4, 4]), [2, 3, 4, 4])
    const part = (h: Tensor) => relu(conv2d(h, w, { padding: 1 }))
    const grads: Float32Array[] = []
    for (const block of [part, (h: Tensor) => recompute(part, h)]) {
      w.grad?.set(new Float32Array(w.size))
      const y = device.autocast(() => sum(sigmoid(block(x))))
      y.backward()
      grads.push((await w.grad!.data()) as Float32Array)
    }
    expect(grads[1]).toEqual(grads[0])
    w.grad!.set(new Float32Array(w.size))
    const plain = sum(recompute(part, x))
    device.autocast(() => plain.backward())
    expect(await plain.item()).toBe(await sum(part(x)).item())
  })

  test('nothing is left behind', async () => {
    const w = weight()
    const x = device.tensor(randomValues([2, 3, 4, 4]), [2, 3, 4, 4])
    const before = device.memory().storages
    for (const differentiate of [true, false]) {
      const y = device.autocast(() =>
        differentiate
          ? sum(sigmoid(maxPool2d(conv2d(x, w, { padding: 1 }), { kernelSize: 2 })))
          : device.noGrad(() => conv2d(x, w, { padding: 1 })),
      )
      if (differentiate) y.backward()
      y.dispose()
    }
    w.grad?.dispose()
    // The gradient of w is new; its buffer was freed above.
    expect(device.memory().storages).toBe(before)
    expect(elements(w.shape)).toBe(108)
  })
})
