// Kernels whose invocations take several elements each on CPU drivers (kernels/parts/turns.wgsl): sizes at which they do, up to the
// most, and whose last workgroup is not full. What is written past the end would meet the guard words of the test device.
import { describe, expect, test } from 'vitest'
import { Run } from '../../src/autograd/op.ts'
import {
  add,
  cast,
  concat,
  dropout,
  maximum,
  mul,
  pad,
  permute,
  relu,
  slice,
  sub,
  where,
} from '../../src/autograd/ops/index.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { kernel } from '../../src/gpu/kernel.ts'
import { Adam } from '../../src/nn/optim/adam.ts'
import { SGD } from '../../src/nn/optim/sgd.ts'
import { inEveryForm, testDevice } from '../device.ts'

/** Never 0; sums and products of two are exact. */
const value = (i: number, salt = 0): number => (2 * ((i * 7919 + salt * 104_729) % 2003) - 2001) / 512
const values = (count: number, salt = 0): Float32Array =>
  Float32Array.from({ length: count }, (_, i) => value(i, salt))

/** Elements: two, fifteen and 64 vec4s an invocation where the number of cores is not known, more where it is small. */
const SIZES = [4 * 4099, 4 * 31_003 + 1, 4 * 140_001 + 3]

async function same(what: string, y: Tensor, expected: (i: number) => number): Promise<void> {
  const got = await y.data()
  for (let i = 0; i < got.length; i++) {
    const wanted = Math.fround(expected(i))
    if (got[i] !== wanted)
      throw new Error(`${what}: element ${i} of ${got.length} is ${got[i]}, expected ${wanted}`)
  }
}

/** In the forms for CPU drivers and for GPUs: those have one element an invocation. */
const everywhere = (title: string, check: (size: number) => Promise<void>): void =>
  test.each(SIZES)(`${title}: %i elements`, (size) => inEveryForm(() => check(size)))

describe('many elements an invocation', () => {
  everywhere('elementwise, and its gradient', async (size) => {
    const device = await testDevice()
    const x = device.parameter(values(size), [size])
    const y = relu(x)
    await same('relu', y, (i) => Math.max(0, value(i)))
    y.backward(device.tensor(values(size, 1), [size]))
    await same('its gradient', x.grad!, (i) => (value(i) > 0 ? value(i, 1) : 0))
  })

  everywhere(
    'of two operands, of one and a number, and a second gradient added to the first',
    async (size) => {
      const device = await testDevice()
      const a = device.parameter(values(size), [size])
      const b = device.tensor(values(size, 1), [size])
      await same('add', add(a, b), (i) => value(i) + value(i, 1))
      await same('3 - a', sub(3, a), (i) => 3 - value(i))
      add(mul(a, b), mul(a, 2)).backward(device.tensor(new Float32Array(size).fill(1), [size]))
      await same('the gradient', a.grad!, (i) => Math.fround(value(i, 1)) + 2)
    },
  )

  everywhere('broadcast along rows, columns, and both', async (size) => {
    const device = await testDevice()
    for (const inner of [12, 7]) {
      const rows = Math.ceil(size / inner)
      const a = device.tensor(values(rows * inner), [rows, inner])
      const row = device.tensor(values(inner, 1), [inner])
      const column = device.tensor(values(rows, 2), [rows, 1])
      await same('row', maximum(a, row), (i) => Math.max(value(i), value(i % inner, 1)))
      await same('column', sub(column, a), (i) => value(Math.floor(i / inner), 2) - value(i))
    }
  })

  everywhere('moved: permuted, cut out, put beside each other, padded', async (size) => {
    const device = await testDevice()
    for (const inner of [12, 7]) {
      const rows = Math.ceil(size / inner)
      const x = device.tensor(values(rows * inner), [rows, inner])
      const at = (r: number, c: number) => value(r * inner + c)
      await same('permute', permute(x, { axes: [1, 0] }), (i) => at(i % rows, Math.floor(i / rows)))
      const cut = slice(x, { starts: [1, 2], ends: [rows, inner] })
      await same('slice', cut, (i) => at(1 + Math.floor(i / (inner - 2)), 2 + (i % (inner - 2))))
      await same('concat', concat([x, x], { axis: 1 }), (i) => at(Math.floor(i / (2 * inner)), i % inner))
      const padded = pad(x, {
        pads: [
          [1, 2],
          [0, 0],
        ],
        value: 0.5,
      })
      await same('pad', padded, (i) => {
        const r = Math.floor(i / inner) - 1
        return r < 0 || r >= rows ? 0.5 : at(r, i % inner)
      })
    }
  })

  everywhere('where, of equal shapes and of a column', async (size) => {
    const device = await testDevice()
    const [a, b] = [device.tensor(values(size), [size, 1]), device.tensor(values(size, 1), [size, 1])]
    const c = device.tensor(
      Float32Array.from({ length: size }, (_, i) => i % 3),
      [size, 1],
    )
    await same('where', where(c, a, b), (i) => (i % 3 ? value(i) : value(i, 1)))
    const wide = where(c, device.tensor(values(3), [3]), b)
    await same('where', wide, (i) => (Math.floor(i / 3) % 3 ? value(i % 3) : value(Math.floor(i / 3), 1)))
  })

  everywhere('dropout has one mask forward and backward', async (size) => {
    const device = await testDevice()
    const x = device.parameter(new Float32Array(size).fill(1), [size])
    const y = dropout(x, { p: 0.25, seed: 5 })
    y.backward(device.tensor(new Float32Array(size).fill(1), [size]))
    const kept = await y.data()
    await same('the gradient', x.grad!, (i) => kept[i]!)
    const share = Float32Array.from(kept).reduce((sum, v) => sum + v, 0) / size
    expect(share).toBeGreaterThan(0.9)
    expect(share).toBeLessThan(1.1)
    expect([...new Set(kept)].sort()).toEqual([0, Math.fround(1 / 0.75)])
  })

  everywhere('optimisers', async (size) => {
    const device = await testDevice()
    for (const make of [
      (p: Tensor) => new SGD([p], { lr: 0.5 }),
      (p: Tensor) => new Adam([p], { lr: 0.5, eps: 0 }),
    ]) {
      const p = device.parameter(values(size), [size])
      const opt = make(p)
      mul(p, device.tensor(values(size, 1), [size])).backward(
        device.tensor(new Float32Array(size).fill(1), [size]),
      )
      opt.step()
      const [got, plain] = [await p.data(), opt instanceof SGD]
      // Adam's first step is lr along the sign of the gradient.
      for (let i = 0; i < size; i++) {
        const step = plain ? value(i, 1) : Math.sign(Math.fround(value(i, 1)))
        if (!(Math.abs(got[i]! - (value(i) - 0.5 * step)) < 1e-5))
          throw new Error(`element ${i} is ${got[i]}`)
      }
    }
  })

  everywhere('half precision', async (size) => {
    const device = await testDevice()
    if (!device.adapter.f16) return
    const x = device.parameter(values(size), [size])
    const half = cast(x, 'float16')
    const y = relu(half)
    await same('cast there and back, relu between', cast(y, 'float32'), (i) => Math.max(0, value(i)))
    y.backward(cast(device.tensor(values(size, 1), [size]), 'float16'))
    await same('its gradient', x.grad!, (i) => (value(i) > 0 ? value(i, 1) : 0))
  })

  everywhere('a compiled step takes the same steps', async (size) => {
    const device = await testDevice()
    const makers = [
      (p: Tensor) => new Adam([p], { lr: 0.5 }),
      (p: Tensor) => new SGD([p], { lr: 0.5, momentum: 0.9, nesterov: true }),
    ]
    for (const make of makers) {
      const run = async (compiled: boolean) => {
        const p = device.parameter(values(size), [size])
        const opt = make(p)
        const step = (factor: Tensor) => {
          opt.zeroGrad()
          mul(p, mul(p, factor)).backward(device.tensor(new Float32Array(size).fill(1), [size]))
          opt.step()
        }
        const call = compiled ? device.compile(step) : step
        const factor = device.tensor(values(size, 1), [size])
        for (let i = 0; i < 3; i++) call(factor)
        return p.data()
      }
      expect(await run(true)).toEqual(await run(false))
    }
  })
})

test('what a launch sets itself is not taken from outside', async () => {
  const device = await testDevice()
  const source = `
struct Params { count: u32, turns: u32 }
@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@group(0) @binding(1) var<uniform> params: Params;
@compute @workgroup_size(64) fn fill(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < params.count) { y[id.x] = f32(params.turns); }
}`
  const run = new Run(device, 'mine')
  const y = run.empty([64])
  const launch = () =>
    run.launch({
      kernel: kernel('mine', source),
      entry: 'fill',
      bindings: { y },
      params: { count: 64, turns: 3 },
      threads: 64,
    })
  expect(launch).toThrow("mine: 'turns' is set by the launch")
})
