import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Run } from '../../src/autograd/op.ts'
import * as ops from '../../src/autograd/ops/index.ts'
import { launchReduction, planReduction } from '../../src/autograd/reduction.ts'
import { normalizeAxes, reducedShape, stridesOf } from '../../src/autograd/shape.ts'
import { elements, type Shape, type Tensor } from '../../src/autograd/tensor.ts'
import { inEveryForm, testDevice } from '../device.ts'
import { type Array64, adjoint, checkGradients, randomValues } from '../oracle.ts'
import { expectClose, reference, runCase } from '../reference.ts'

/** sum, mean, max, min over axes; argmax, argmin; softmax. */

const file = reference('ops')
const folds = { sum: ops.sum, mean: ops.mean, max: ops.max, min: ops.min }
const calls: Record<string, (x: Tensor, options: never) => Tensor> = {
  ...folds,
  argmax: ops.argmax,
  softmax: ops.softmax,
}

test.each(file.cases.filter((c) => c.op in calls))('$name', async (c) => {
  await runCase(await testDevice(), file, c, ([x], attrs) => calls[c.op]!(x!, attrs as never))
})

/** Which element of the result each element of x falls on. */
function groupsOf(shape: Shape, axes: readonly number[]): Uint32Array {
  const to = stridesOf(reducedShape(shape, axes, true)).map((s, k) => (axes.includes(k) ? 0 : s))
  let groups = Uint32Array.of(0)
  shape.forEach((d, k) => {
    const before = groups
    groups = new Uint32Array(before.length * d)
    for (let i = 0; i < groups.length; i++) groups[i] = before[Math.floor(i / d)]! + (i % d) * to[k]!
  })
  return groups
}

/** The elements that fall on each element of the result, in order. */
function grouped(x: Array64, axes: readonly number[], groups = groupsOf(x.shape, axes)): number[][] {
  const lists = Array.from({ length: elements(reducedShape(x.shape, axes, true)) }, (): number[] => [])
  for (let i = 0; i < groups.length; i++) lists[groups[i]!]!.push(x.data[i]!)
  return lists
}

const exact: Record<keyof typeof folds, (v: number[]) => number> = {
  sum: (v) => v.reduce((a, b) => a + b, 0),
  mean: (v) => v.reduce((a, b) => a + b, 0) / v.length,
  max: (v) => Math.max(...v),
  min: (v) => Math.min(...v),
}

const size = fc.constantFrom(1, 2, 3, 4, 5, 8, 13, 64, 129)
const reductions = fc
  .array(fc.tuple(size, fc.boolean()), { minLength: 1, maxLength: 5 })
  .filter((axes) => axes.reduce((n, [d]) => n * d, 1) <= 9000)

test.each(Object.keys(folds) as (keyof typeof folds)[])('%s: any axes of any shape', async (name) => {
  await fc.assert(
    fc.asyncProperty(reductions, fc.boolean(), fc.nat(1000), async (dims, keepDims, seed) => {
      const shape = dims.map(([d]) => d)
      const axes = dims.flatMap(([, gone], k) => (gone ? [k - (seed % 2) * shape.length] : []))
      const over = normalizeAxes('test', axes, shape.length)
      const groups = groupsOf(shape, over)
      await checkGradients(
        (x) => folds[name](x, { axes, keepDims }),
        (x) => grouped(x, over, groups).map(exact[name]),
        [{ shape }],
        { seed, maxElements: 6, eps: name === 'max' || name === 'min' ? 1e-9 : 1e-5, atol: 2e-5 },
      )
    }),
    { numRuns: 15 },
  )
})

test('each form of the kernel, with and without a second stage', async () => {
  const cases: [Shape, number[]][] = [
    [[1_000_003], [0]],
    [[1 << 20], [0]],
    [[3, 100_000], [1]],
    [[3, 70_001], [1]],
    [[50_000, 4], [0]],
    [[50_000, 3], [0]],
    [
      [2, 8, 90, 100],
      [0, 2, 3],
    ],
    [
      [2, 7, 31, 33],
      [0, 2, 3],
    ],
    [[4, 3, 32, 32], [1]],
    [
      [5, 2, 7, 3, 11],
      [1, 3],
    ],
    [[66_000, 64], [1]],
  ]
  const seen = new Set<string>()
  const device = await testDevice()
  const plain: [boolean, boolean][] = [
    [true, false],
    [false, false],
  ]
  const kinds = device.adapter.subgroups ? [...plain, [false, true] as [boolean, boolean]] : plain
  for (const [shape, axes] of cases) {
    const data = randomValues(shape, 5)
    const x = device.tensor(data, shape)
    const groups = grouped({ data: Float64Array.from(data), shape }, axes)
    const expected = {
      sum: groups.map(exact.sum),
      max: groups.map((g) => g.reduce((a, b) => Math.max(a, b))),
    }
    for (const [cpu, subgroups] of kinds) {
      const plan = planReduction('test', shape, axes, cpu)
      seen.add(`${plan.form}${plan.splits > 1 ? ' twice' : ''}`)
      for (const fold of ['sum', 'max'] as const) {
        const run = new Run(device, fold)
        const y = launchReduction(run, fold, x, axes, { cpu, subgroups })
        run.finish([y])
        expectClose(
          await y.data(),
          expected[fold],
          1e-5,
          1e-3,
          `${fold} (${shape}) over [${axes}] ${plan.form}, subgroups ${subgroups}`,
        )
        y.dispose()
      }
    }
    x.dispose()
  }
  const forms = ['columns', 'columns_wide', 'rows', 'rows_wide', 'strips_wide']
  expect([...seen].sort()).toEqual(forms.flatMap((form) => [form, `${form} twice`]))
})

test.each([false, true])(
  'rows of a GPU, by subgroups: %s: NaN, infinities, the same bits each time',
  async (subgroups) => {
    const device = await testDevice()
    if (subgroups && !device.adapter.subgroups) return
    const rows: [number[], number, number][] = [
      [[200, Number.NaN], Number.NaN, Number.NaN],
      [[199, Number.POSITIVE_INFINITY], Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY],
      [[0, Number.NEGATIVE_INFINITY], Number.NEGATIVE_INFINITY, 5],
    ]
    for (const width of [200, 201]) {
      const data = new Float32Array(rows.length * width).fill(5)
      rows.forEach(([[at, v]], i) => {
        data[i * width + Math.min(at!, width - 1)] = v!
      })
      const x = device.tensor(data, [rows.length, width])
      for (const fold of ['sum', 'max'] as const) {
        const results: Float32Array[] = []
        for (let i = 0; i < 3; i++) {
          const run = new Run(device, fold)
          const y = launchReduction(run, fold, x, [1], { cpu: false, subgroups })
          run.finish([y])
          results.push((await y.data()) as Float32Array)
          y.dispose()
        }
        expectClose(
          results[0]!,
          rows.map((r) => (fold === 'sum' ? r[1] : r[2])),
          0,
          0,
          `${fold} of ${width}`,
        )
        for (const again of results)
          expect(new Uint32Array(again.buffer)).toEqual(new Uint32Array(results[0]!.buffer))
      }
      x.dispose()
    }
  },
)

test('halves are summed in float32: 100,000 of them do not stall', async () => {
  const device = await testDevice()
  if (!device.adapter.f16) return
  const x = device.full([100_000], 0.25, { dtype: 'float16' })
  for (const kind of [{ cpu: true }, { cpu: false, subgroups: false }, { cpu: false, subgroups: true }]) {
    const run = new Run(device, 'sum')
    const y = launchReduction(run, 'sum', x, [0], kind)
    run.finish([y])
    expect(y.dtype).toBe('float32')
    expect(await y.item()).toBe(25_000)
  }
})

test('the same bits each time', async () => {
  const device = await testDevice()
  const x = device.tensor(randomValues([300_000], 3), [300_000])
  const first = await ops.sum(x).item()
  for (let i = 0; i < 3; i++) expect(await ops.sum(x).item()).toBe(first)
})

test('equal extrema share the gradient; NaN is passed on; infinities', async () => {
  const device = await testDevice()
  const x = device.tensor([2, 1, 2, 2, 0, 0], [2, 3], { requiresGrad: true })
  ops.max(x, { axes: [1] }).backward(device.ones([2]))
  expect([...(await x.grad!.data())]).toEqual([0.5, 0, 0.5, 1, 0, 0])
  const y = device.tensor([1, Number.NaN, 3, 4, 5, 6, -Infinity, -Infinity, -Infinity], [3, 3])
  expectClose(await ops.max(y, { axes: [1] }).data(), [Number.NaN, 6, -Infinity], 0, 0, 'max')
  expectClose(await ops.min(y, { axes: [1] }).data(), [Number.NaN, 4, -Infinity], 0, 0, 'min')
})

test('linear: sum and mean have their adjoints', async () => {
  for (const axes of [[0], [1], [0, 2], [0, 1, 2]]) {
    await adjoint((x) => ops.sum(x, { axes }), [3, 5, 8])
    await adjoint((x) => ops.mean(x, { axes }), [3, 5, 8])
  }
})

test('argmax and argmin: first of equals, NaN, long axes, flat', async () => {
  const device = await testDevice()
  await fc.assert(
    fc.asyncProperty(
      fc.array(size, { minLength: 1, maxLength: 4 }).filter((s) => elements(s) <= 9000),
      fc.nat(100),
      async (shape, seed) => {
        const axis = seed % shape.length
        const data = randomValues(shape, seed, -3, 3).map(Math.round)
        const x = device.tensor(data, shape)
        const groups = grouped({ data: Float64Array.from(data), shape }, [axis])
        const largest = groups.map((g) => g.indexOf(Math.max(...g)))
        const smallest = groups.map((g) => g.indexOf(Math.min(...g)))
        expect([...(await ops.argmax(x, { axis }).data())]).toEqual(largest)
        expect([...(await ops.argmin(x, { axis, keepDims: true }).data())]).toEqual(smallest)
        x.dispose()
      },
    ),
    { numRuns: 20 },
  )
  const long = new Float32Array(100_003).fill(-5)
  long[70_001] = 2
  long[70_002] = 2
  long[99_999] = -7
  const x = device.tensor(long, [100_003])
  expect(await ops.argmax(x).item()).toBe(70_001)
  expect(await ops.argmin(x).item()).toBe(99_999)
  expect(ops.argmax(x).dtype).toBe('int32')
  const special = device.tensor([0, -0, Number.NaN, 5, -Infinity, Infinity, 0, -0], [4, 2])
  expect([...(await ops.argmax(special, { axis: 1 }).data())]).toEqual([0, 0, 1, 0])
  expect([...(await ops.argmin(special, { axis: 1 }).data())]).toEqual([0, 0, 0, 0])
})

test('softmax: gradient against the float64 oracle, along any axis', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(size, { minLength: 1, maxLength: 4 }).filter((s) => elements(s) <= 8000),
      fc.nat(100),
      async (shape, seed) => {
        const axis = seed % shape.length
        const groups = groupsOf(shape, [axis])
        const oracle = (x: Array64) => {
          const lists = grouped(x, [axis], groups)
          const best = lists.map((g) => Math.max(...g))
          const total = lists.map((g, k) => g.reduce((sum, v) => sum + Math.exp(v - best[k]!), 0))
          return x.data.map((v, i) => Math.exp(v - best[groups[i]!]!) / total[groups[i]!]!)
        }
        await checkGradients((x) => ops.softmax(x, { axis }), oracle, [{ shape, low: -4, high: 4 }], {
          seed,
          maxElements: 5,
        })
      },
    ),
    // The examples have whole vec4s behind the axis.
    {
      numRuns: 12,
      examples: [
        [[2, 3, 4], 1],
        [[5, 2, 3, 8], 5],
      ],
    },
  )
  const device = await testDevice()
  const x = device.tensor([1000, 1000, -1000, 3e38, -3e38, 0], [2, 3])
  expectClose(await ops.softmax(x, { axis: 1 }).data(), [0.5, 0.5, 0, 1, 0, 0], 1e-6, 1e-7, 'softmax')
})

test('softmax and argmax of few and many long rows', async () => {
  const device = await testDevice()
  for (const shape of [
    [3, 5000],
    [200, 130],
  ]) {
    const data = randomValues(shape, 4, -3, 3)
    const x = device.tensor(data, shape)
    const rows = grouped({ data: Float64Array.from(data), shape }, [1])
    const best = rows.map((r) => r.indexOf(Math.max(...r)))
    expect([...(await ops.argmax(x, { axis: 1 }).data())]).toEqual(best)
    const soft = rows.flatMap((r) => {
      const total = r.reduce((sum, v) => sum + Math.exp(v), 0)
      return r.map((v) => Math.exp(v) / total)
    })
    await inEveryForm(async () => {
      expectClose(await ops.softmax(x, { axis: 1 }).data(), soft, 1e-5, 1e-8, `softmax (${shape})`)
    })
  }
})

test('size 0, and what is refused', async () => {
  const device = await testDevice()
  const none = device.zeros([3, 0])
  expect([...(await ops.sum(none, { axes: [1] }).data())]).toEqual([0, 0, 0])
  expectClose(await ops.mean(none).data(), [Number.NaN], 0, 0, 'mean')
  expect(ops.sum(none, { axes: [0] }).shape).toEqual([0])
  expect(() => ops.max(none, { axes: [1] })).toThrow('max: x (3, 0) has no elements to choose from')
  expect(() => ops.argmax(none, { axis: 1 })).toThrow('argmax: x (3, 0) has no elements to choose from')
  const x = device.zeros([2, 3])
  expect(() => ops.sum(x, { axes: [2] })).toThrow(
    'sum: axis 2 is not among the 2 axes of x; give a whole number from -2 to 1',
  )
  expect(() => ops.sum(x, { axes: [0, -2] })).toThrow('sum: axes [0, -2] name axis 0 twice')
  expect(() => ops.softmax(x, { axis: 5 })).toThrow('softmax: axis 5')
  const y = device.ones([2], { requiresGrad: true })
  expect(() => ops.argmax(y).backward()).toThrow(/argmax has no gradient/)
})
