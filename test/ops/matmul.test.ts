import fc from 'fast-check'
import { expect, test } from 'vitest'
import { lanes } from '../../src/autograd/conv2d/variant.ts'
import { cast } from '../../src/autograd/ops/cast.ts'
import { convAdapter } from '../../src/autograd/ops/conv2d_run.ts'
import { checkMatmul, type MatmulForm, matmul } from '../../src/autograd/ops/matmul.ts'
import { broadcastStrides, stridesOf } from '../../src/autograd/shape.ts'
import { elements, type Shape } from '../../src/autograd/tensor.ts'
import { testDevice } from '../device.ts'
import { type Array64, adjoint, checkGradients, nearestHalves, randomValues } from '../oracle.ts'
import { reference, runCase } from '../reference.ts'

const file = reference('ops')
const hasLanes = lanes(convAdapter(await testDevice()))
const forms: MatmulForm[] = [...(hasLanes ? (['lanes'] as const) : []), 'registers', 'tiles']

test.each(forms.flatMap((form) => file.cases.filter((c) => c.op === 'matmul').map((c) => ({ ...c, form }))))(
  '$name as $form',
  async (c) => {
    await runCase(await testDevice(), file, c, ([a, b]) => matmul(a!, b!, { form: c.form }), { atol: 1e-5 })
  },
)

function oracle(a: Array64, b: Array64): Float64Array {
  const shape = checkMatmul(a.shape, b.shape)
  const batch = shape.slice(0, -2)
  const [m, n, k] = [shape.at(-2)!, shape.at(-1)!, a.shape.at(-1)!]
  const own = stridesOf(batch)
  const strides = [a, b].map((t) => broadcastStrides(t.shape.slice(0, -2), batch))
  const y = new Float64Array(elements(shape))
  for (let i = 0; i < elements(batch); i++) {
    const [at, bt] = strides.map((s) =>
      batch.reduce((sum, d, axis) => sum + (Math.floor(i / own[axis]!) % d) * s[axis]!, 0),
    )
    for (let r = 0; r < m; r++) {
      for (let c = 0; c < n; c++) {
        let sum = 0
        for (let q = 0; q < k; q++) sum += a.data[(at! * m + r) * k + q]! * b.data[(bt! * k + q) * n + c]!
        y[(i * m + r) * n + c] = sum
      }
    }
  }
  return y
}

const size = fc.constantFrom(1, 2, 3, 4, 5, 8, 11, 16, 33)
const batches = fc.constantFrom<[Shape, Shape]>(
  [[], []],
  [[3], [3]],
  [[3], []],
  [[], [3]],
  [[2, 1], [4]],
  [
    [2, 3],
    [1, 1],
  ],
  [[1], [2, 3]],
)

test.each(forms)('%s: values and gradients against the float64 oracle', async (form) => {
  await fc.assert(
    fc.asyncProperty(size, size, size, batches, fc.nat(1000), async (m, n, k, [p, q], seed) => {
      await checkGradients(
        (a, b) => matmul(a, b, { form }),
        oracle,
        [{ shape: [...p, m, k] }, { shape: [...q, k, n] }],
        { seed, maxElements: 5, gradAtol: 1e-4 },
      )
    }),
    { numRuns: 25 },
  )
})

test.each(forms)('%s: more than one workgroup each way', async (form) => {
  for (const [m, n, k] of [
    [70, 130, 20],
    [129, 67, 37],
    [72, 136, 64],
  ] as const) {
    const inputs = [{ shape: [2, m, k] }, { shape: [2, k, n] }]
    await checkGradients((a, b) => matmul(a, b, { form }), oracle, inputs, { maxElements: 3, gradAtol: 1e-4 })
  }
})

test.skipIf(hasLanes)('the form for wide subgroups is refused where there are none', async () => {
  const device = await testDevice()
  const a = device.ones([2, 2])
  expect(() => matmul(a, a, { form: 'lanes' })).toThrow(
    "matmul: the form 'lanes' is for CPU drivers whose subgroups",
  )
})

test('linear in either operand', async () => {
  const device = await testDevice()
  const b = device.tensor(randomValues([7, 12]), [7, 12])
  await adjoint((a) => matmul(a, b), [3, 5, 7])
  const a = device.tensor(randomValues([5, 7]), [5, 7])
  await adjoint((x) => matmul(a, x), [2, 7, 12])
})

test('size 0, and what is refused', async () => {
  const device = await testDevice()
  expect([...(await matmul(device.zeros([2, 0]), device.zeros([0, 2])).data())]).toEqual([0, 0, 0, 0])
  expect(matmul(device.zeros([0, 3]), device.zeros([3, 2])).shape).toEqual([0, 2])
  expect(() => matmul(device.zeros([2, 3]), device.zeros([4, 2]))).toThrow(
    'matmul: a (2, 3) has 3 columns, b (4, 2) has 4 rows; they must be equal',
  )
  expect(() => matmul(device.zeros([3]), device.zeros([3, 2]))).toThrow(
    'matmul: a (3) and b (3, 2) must have two axes or more; unsqueeze a vector to (1, n) or (n, 1)',
  )
  expect(() => matmul(device.zeros([2, 2, 3]), device.zeros([3, 3, 2]))).toThrow(
    'matmul: shapes (2) and (3) do not broadcast',
  )
})

/** a·b of random halves, against float64; the largest error in units of 2⁻¹¹ · Σ|terms|. */
async function halfErrors(form: MatmulForm, [m, k, n]: readonly [number, number, number]): Promise<number> {
  const device = await testDevice()
  const rounded = (shape: Shape, seed: number) => nearestHalves(randomValues(shape, seed))
  const [va, vb] = [rounded([m, k], 1), rounded([k, n], 2)]
  const leaves = [
    device.tensor(va, [m, k], { requiresGrad: true }),
    device.tensor(vb, [k, n], { requiresGrad: true }),
  ]
  const y = matmul(cast(leaves[0]!, 'float16'), cast(leaves[1]!, 'float16'), { form })
  expect(y.dtype).toBe('float16')
  const vd = rounded([m, n], 3)
  const got = await y.data()
  y.backward(device.tensor(vd, [m, n]))
  const grads = await Promise.all(leaves.map((t) => t.grad!.data()))
  let worst = 0
  // Each is a product of its own; the terms are summed in float64 with their sizes.
  const compare = (
    values: ArrayLike<number>,
    rows: number,
    columns: number,
    depth: number,
    term: (r: number, c: number, q: number) => number,
  ) => {
    for (let r = 0; r < rows; r++)
      for (let c = 0; c < columns; c++) {
        let [sum, size] = [0, 0]
        for (let q = 0; q < depth; q++) {
          sum += term(r, c, q)
          size += Math.abs(term(r, c, q))
        }
        worst = Math.max(
          worst,
          Math.abs(values[r * columns + c]! - sum) / (2 ** -11 * size + Number.MIN_VALUE),
        )
      }
  }
  compare(got, m, n, k, (r, c, q) => va[r * k + q]! * vb[q * n + c]!)
  compare(grads[0]!, m, k, n, (r, c, q) => vd[r * n + q]! * vb[c * n + q]!)
  compare(grads[1]!, k, n, m, (r, c, q) => va[q * k + r]! * vd[q * n + c]!)
  await device.checkGuards()
  return worst
}

test.each(['registers', 'tiles', ...(hasLanes ? (['lanes'] as const) : [])] as const)(
  '%s in half precision: values and gradients within their bound',
  async (form) => {
    const device = await testDevice()
    if (!device.adapter.f16) return
    for (const size of [
      [1, 1, 1],
      [5, 33, 7],
      [64, 64, 64],
      [70, 130, 66],
      [3, 300, 130],
    ] as const) {
      const worst = await halfErrors(form, size)
      // `registers` and `lanes` round the result alone: 1. `tiles` rounds terms on their way through a run of eight: at worst 9.
      expect(worst, `${size}`).toBeLessThanOrEqual(form === 'tiles' ? 3 : 1.001)
    }
  },
)

test('autocast multiplies matrices in half precision', async () => {
  const device = await testDevice()
  if (!device.adapter.f16) return
  const [a, b] = [device.ones([3, 4]), device.ones([4, 2])]
  const y = device.autocast(() => matmul(a, b))
  expect([y.dtype, [...(await y.data())]]).toEqual(['float16', new Array(6).fill(4)])
})
