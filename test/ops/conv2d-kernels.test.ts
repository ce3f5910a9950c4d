import { readdirSync } from 'node:fs'
import { expect, test } from 'vitest'
import { cpuPlans } from '../../src/autograd/conv2d/cpu.ts'
import { planConv2d } from '../../src/autograd/conv2d/plan.ts'
import { tunedPlans } from '../../src/autograd/conv2d/tuned.ts'
import {
  type ConvEpilogue,
  type ConvShape,
  type ConvVariant,
  lanes,
} from '../../src/autograd/conv2d/variant.ts'
import { Run } from '../../src/autograd/op.ts'
import { conv2dShape } from '../../src/autograd/ops/conv2d.ts'
import { addCpuConvKernels } from '../../src/autograd/ops/conv2d_cpu_kernels.ts'
import { convKernels } from '../../src/autograd/ops/conv2d_kernels.ts'
import { ACTIVATIONS, convAdapter, runConvVariant } from '../../src/autograd/ops/conv2d_run.ts'
import { addTunedConvKernels } from '../../src/autograd/ops/conv2d_tuned_kernels.ts'
import { matmul } from '../../src/autograd/ops/matmul.ts'
import { testDevice } from '../device.ts'
import { randomValues } from '../oracle.ts'
import { convValues, type Sum, sums } from './conv-oracle.ts'
import { choosePipelines } from './conv-pipelines.ts'
import { CONV_SHAPES, type ConvRow, convShapeOf } from './conv-shapes.ts'

test('every convolution kernel is in the table that plans are run by', () => {
  addCpuConvKernels()
  addTunedConvKernels()
  const files = readdirSync(new URL('../../kernels/', import.meta.url))
  const named = files.filter((f) => f.startsWith('conv2d_')).map((f) => f.replace('.wgsl', ''))
  // file@form: the text of a file with other types.
  const known = [...convKernels.keys()].map((name) => name.split('@')[0])
  expect([...new Set(known)].sort()).toEqual([...named, 'matmul', 'matmul_lanes'].sort())
})

test('tiles of matrix products give each thread one, two or four fetches, and whole ones', () => {
  const adapter = {
    ...{ cpu: false, subgroups: true, lanes: true, maxInvocations: 1024, maxWorkgroupStorage: 2 ** 16 },
    tuned: tunedPlans,
  }
  let seen = 0
  for (const [channels, window] of [8, 20, 40, 70, 130].flatMap((c) =>
    [1, 3, 5].map((k) => [c, k] as const),
  )) {
    const shape = [channels, channels, window, window]
    const s = conv2dShape([2, channels, 16, 16], shape, { padding: (window - 1) / 2 })
    const plan = planConv2d(s, adapter)
    for (const { name, dispatches } of [...plan.forward, ...plan.inputGrad, ...plan.weightGrad]) {
      if (!/^gemm/.test(name)) continue
      const { ROWS, COLS, SPAN = COLS, DEPTH, TAPS } = dispatches[0]!.overrides as Record<string, number>
      const threads = ROWS! * COLS!
      const vec4s = dispatches[0]!.file.includes('weight_grad') ? DEPTH! * COLS! : DEPTH! * SPAN!
      expect([1, 2, 4], `${name} of ${shape}`).toContain(vec4s / TAPS! / threads)
      const beside = dispatches[0]!.file.includes('weight_grad') ? DEPTH! / 4 : SPAN!
      expect(threads % beside, `${name} of ${shape}`).toBe(0)
      seen++
    }
  }
  expect(seen).toBeGreaterThan(100)
})

/** Variants that sum up dy, or x of a transposed convolution, beside the gradient of a weight. */
const WITH_SUMS = [
  ...[
    'depthwise dy',
    'groups dy',
    'groups3x3 dy',
    'lanes dy',
    'lanes3x3 dy',
    'patches dy',
    'product dy',
    'product x',
    'winograd2x2 dy',
  ],
]

test.each(['float32', 'float16'] as const)(
  'gradients of a bias come with those of the weight, which stay the same to the bit, %s',
  async (dtype) => {
    const device = await testDevice()
    const half = dtype === 'float16'
    if (half && !device.adapter.f16) return
    const adapter = convAdapter(device, half)
    /** Variants of a convolution that sum up, each with the same one that does not. */
    const pairs = (s: ConvShape, sums: 'dy' | 'x') => {
      const planned = (epilogue: ConvEpilogue) =>
        planConv2d(s, adapter, { weightGrad: { accumulate: true, ...epilogue } }).weightGrad
      const alone = planned({})
      return planned({ sums }).flatMap((variant, i) => {
        expect(variant.name).toBe(alone[i]!.name)
        const sumsUp = variant.dispatches.some((d) => Object.values(d.bindings).includes('db'))
        return sumsUp ? [[variant, alone[i]!] as const] : []
      })
    }
    const both = ([{ name, dispatches }, alone]: readonly [ConvVariant, ConvVariant]) => ({
      name,
      dispatches: [...dispatches, ...alone.dispatches],
    })
    const isToRun = choosePipelines(
      (['dy', 'x'] as const).flatMap((part) =>
        CONV_SHAPES.flatMap((row) => pairs(convShapeOf(row), part)).map((pair) => ({
          part,
          variant: both(pair),
        })),
      ),
      { formsAlone: half },
    )
    const found = new Set<string>()
    for (const row of CONV_SHAPES) {
      const s = convShapeOf(row)
      const values = convValues(s, true)
      const tensor = (v: Float32Array) => device.tensor(v, [v.length], { dtype })
      const buffers = { x: tensor(values.x), dy: tensor(values.dy) }
      for (const sums of ['dy', 'x'] as const) {
        const [of, channels] = sums === 'dy' ? [values.dy, s.cout] : [values.x, s.cin]
        const plane = of.length / s.n / channels
        const size = new Float64Array(channels).fill(0.5)
        const want = new Float64Array(channels).fill(0.5)
        of.forEach((v, i) => {
          const c = Math.floor(i / plane) % channels
          want[c]! += v
          size[c]! += Math.abs(v)
        })
        for (const pair of pairs(s, sums)) {
          if (!isToRun(both(pair))) continue
          const [{ name }] = pair
          found.add(`${name} ${sums}`)
          const results = pair.map((v) => {
            const run = new Run(device, 'variant')
            const dw = device.full([s.cout * (s.cin / s.groups) * s.kh * s.kw], 0.5)
            const db = device.full([channels], 0.5)
            runConvVariant(run, v, { ...buffers, dw, db }, 0)
            run.finish([])
            return { dw, db }
          })
          const [dw, expected] = await Promise.all(results.map((r) => r.dw.data()))
          expect(dw).toEqual(expected)
          const db = await results[0]!.db.data()
          const c = Math.max(...want.map((v, k) => Math.abs(db[k]! - v) / (2 ** -24 * size[k]!)))
          expect(c, `${name} ${sums} of ${row}`).toBeLessThanOrEqual(16)
          for (const r of results) for (const t of [r.dw, r.db]) t.dispose()
        }
      }
      for (const t of Object.values(buffers)) t.dispose()
    }
    await device.checkGuards()
    if (lanes(adapter)) expect([...found].sort()).toEqual(WITH_SUMS)
  },
)

test.each(['winograd', 'winograd2x2'])(
  'both gradients by %s together are those of each alone',
  async (name) => {
    const device = await testDevice()
    const adapter = convAdapter(device)
    if (!lanes(adapter)) return
    for (const [n, cin, h, w, cout, accumulate] of [
      [2, 17, 9, 12, 19, true],
      [1, 40, 8, 8, 33, false],
      [2, 16, 9, 20, 22, true],
      [1, 24, 6, 48, 16, false],
      [3, 16, 3, 4, 20, true],
    ] as const) {
      const s = conv2dShape([n, cin, h, w], [cout, cin, 3, 3], { padding: 1 })
      const epilogues = { inputGrad: { accumulate }, weightGrad: { accumulate: true, sums: 'dy' } } as const
      const plan = planConv2d(s, adapter, epilogues)
      const alone = (['inputGrad', 'weightGrad'] as const).map(
        (part) => plan[part].find((v) => v.name === name)!,
      )
      const together = adapter.cpuPlans!.gradients(s, adapter, [name, name], epilogues)!
      const random = (shape: number[], seed: number) => device.tensor(randomValues(shape, seed), shape)
      const buffers = {
        x: random([n, cin, h, w], 1),
        weight: random([cout, cin, 3, 3], 2),
        dy: random([n, cout, h, w], 3),
      }
      const results = await Promise.all(
        [alone, [together]].map((variants) => {
          const run = new Run(device, 'variant')
          const out = {
            dx: device.ones([n, cin, h, w]),
            dw: device.ones([cout, cin, 3, 3]),
            db: device.ones([cout]),
          }
          for (const v of variants) runConvVariant(run, v, { ...buffers, ...out }, 0)
          run.finish([])
          return Promise.all(Object.values(out).map((t) => t.data()))
        }),
      )
      expect(results[1]).toEqual(results[0])
      for (const t of Object.values(buffers)) t.dispose()
      expect(adapter.cpuPlans!.gradients(s, adapter, [name, 'lanes3x3'], epilogues)).toBeUndefined()
    }
    await device.checkGuards()
  },
)

test('all gradients of a head, 1×1 to one or two channels, come from one pass', async () => {
  const device = await testDevice()
  const adapter = convAdapter(device)
  if (!lanes(adapter)) return
  let splits = 0
  for (const [n, cin, h, w, cout, accumulate, gap] of [
    [2, 8, 4, 4, 1, false, 0],
    [3, 16, 6, 6, 2, true, 0],
    [1, 40, 9, 12, 1, true, 0],
    [2, 16, 6, 10, 2, false, 240],
    [3, 8, 70, 90, 2, false, 0],
    [1, 8, 200, 170, 1, true, 0],
  ] as const) {
    const s = conv2dShape([n, cin, h, w], [cout, cin, 1, 1], {})
    const plane = h * w
    const values = {
      x: randomValues([n, cin, h, w], 1),
      weight: randomValues([cout, cin], 2),
      dy: randomValues([n, cout, h, w], 3),
    }
    const { inputGrad, weightGrad } = sums(s, values)
    const db: Sum = { value: new Float64Array(cout), size: new Float64Array(cout) }
    values.dy.forEach((v, i) => {
      const co = Math.floor(i / plane) % cout
      db.value[co]! += v
      db.size[co]! += Math.abs(v)
    })
    const offset = gap > 0 ? 4 : 0
    for (const sums of ['dy', undefined] as const) {
      const variant = adapter.cpuPlans!.gradients(s, adapter, ['lanes', 'planes'], {
        inputGrad: { accumulate, offset, gap },
        weightGrad: { accumulate, sums },
      })!
      splits = Math.max(splits, variant.dispatches[0]!.params.splits!)
      const buffers = Object.fromEntries(
        Object.entries(values).map(([k, v]) => [k, device.tensor(v, [v.length])]),
      )
      const out = {
        dx: device.full([offset + n * (cin * plane + gap)], 0.5),
        dw: device.full([cout * cin], 0.5),
        db: device.full([cout], 0.5),
      }
      const run = new Run(device, 'variant')
      runConvVariant(run, variant, { ...buffers, ...out }, 0)
      run.finish([])
      const added = accumulate ? 0.5 : 0
      const check = async (name: string, { value, size }: Sum, got: Float32Array, at = (i: number) => i) => {
        const error = (v: number, i: number) =>
          Math.abs(got[at(i)]! - v - added) / (2 ** -24 * (size[i]! + added))
        const c = value.reduce((most, v, i) => Math.max(most, error(v, i)), 0)
        expect(c, `${name} of ${[n, cin, h, w, cout]}`).toBeLessThanOrEqual(16)
      }
      const image = cin * plane
      const dx = (await out.dx.data()) as Float32Array
      await check('dx', inputGrad, dx, (i) => offset + i + gap * Math.floor(i / image))
      // Between the images of an array that holds other channels, too, nothing is written.
      if (gap > 0) expect(new Set(dx.subarray(offset + image, offset + image + gap))).toEqual(new Set([0.5]))
      await check('dw', weightGrad, (await out.dw.data()) as Float32Array)
      const bias = (await out.db.data()) as Float32Array
      if (sums) await check('db', db, bias)
      else expect(new Set(bias)).toEqual(new Set([0.5]))
      for (const t of [...Object.values(buffers), ...Object.values(out)]) t.dispose()
    }
  }
  expect(splits).toBeGreaterThan(1)
  await device.checkGuards()
})

test('a head of many channels, odd maps or other kernels has its gradients apart', async () => {
  const adapter = convAdapter(await testDevice())
  if (!lanes(adapter)) return
  const gradients = (cin: number, side: number, cout: number, names: readonly [string, string]) =>
    adapter.cpuPlans!.gradients(conv2dShape([2, cin, side, side], [cout, cin, 1, 1], {}), adapter, names, {
      inputGrad: {},
      weightGrad: {},
    })
  const usual = ['lanes', 'planes'] as const
  expect(gradients(16, 8, 2, usual)).toBeDefined()
  expect(gradients(16, 8, 3, usual)).toBeUndefined()
  expect(gradients(12, 8, 1, usual)).toBeUndefined()
  expect(gradients(16, 7, 1, usual)).toBeUndefined()
  expect(gradients(16, 8, 1, ['direct', 'planes'])).toBeUndefined()
})

/** Whether all kernels of a variant have a form for activations in float16, or touch none. */
const hasHalfForm = ({ dispatches }: ConvVariant): boolean =>
  dispatches.every(({ file, entry, bindings }) => {
    const arrays = convKernels
      .get(file)
      ?.entry(entry)
      .bindings.filter((b) => b.access !== 'uniform')
    const isActivation = (name: string) => ACTIVATIONS.has(bindings[name]!)
    return arrays?.every((b) => b.elem === isActivation(b.name)) || !arrays?.some((b) => isActivation(b.name))
  })

test('every variant has a half form', async () => {
  const device = await testDevice()
  if (!device.adapter.f16) return
  const forms = new Set<string>()
  for (const row of CONV_SHAPES) {
    const s = convShapeOf(row)
    for (const cpu of [true, false]) {
      const plan = (half: boolean) => planConv2d(s, { ...convAdapter(device, half), cpu })
      for (const part of ['forward', 'inputGrad', 'weightGrad', 'biasGrad'] as const) {
        const halves = plan(true)[part]
        expect(halves.map((v) => v.name)).toEqual(plan(false)[part].map((v) => v.name))
        for (const v of halves) if (hasHalfForm(v)) forms.add(v.name)
        expect(
          halves.filter((v) => !hasHalfForm(v)).map((v) => v.name),
          `${part} of ${s.kh}×${s.kw}`,
        ).toEqual([])
      }
    }
  }
  expect([...forms]).toEqual(expect.arrayContaining(['product', 'gemmSplit', 'winograd']))
})

test('sums of halves are longer than halves can count', async () => {
  const device = await testDevice()
  if (!device.adapter.f16) return
  const [channels, cout] = [2600, 8]
  const s = conv2dShape([1, channels, 1, 2], [cout, channels, 1, 1])
  const ones = (count: number, dtype: 'float16' | 'float32') => device.full([count], 1, { dtype })
  const [x, weight, y] = [
    ones(2 * channels, 'float16'),
    ones(cout * channels, 'float32'),
    ones(2 * cout, 'float16'),
  ]
  const variant = planConv2d(s, convAdapter(device)).forward.find((v) => v.name === 'gemm')!
  const run = new Run(device, 'variant')
  runConvVariant(run, variant, { x, weight, y }, 0)
  run.finish([])
  // In halves 2048 + 1 is 2048.
  expect([...(await y.data())]).toEqual(new Array(2 * cout).fill(channels))
  const [a, b] = [
    device.ones([3, channels], { dtype: 'float16' }),
    device.ones([channels, 2], { dtype: 'float16' }),
  ]
  expect([...(await matmul(a, b, { form: 'tiles' }).data())]).toEqual(new Array(6).fill(channels))
})

test('on a CPU driver with lanes groups and few channels have kernels of their own', () => {
  const adapter = {
    ...{ cpu: true, subgroups: true, lanes: true, maxInvocations: 1024, maxWorkgroupStorage: 2 ** 15 },
    ...{ cpuPlans, tuned: tunedPlans },
  }
  const chosen = (row: ConvRow) => {
    const { forward, inputGrad, weightGrad } = planConv2d(convShapeOf(row), adapter)
    return [forward, inputGrad, weightGrad].map((variants) => variants[0]!.name).join(' ')
  }
  // A 1×1 window to one channel, as a network ends.
  expect(chosen([4, 16, 64, 64, 1, 1, 1, 0, 1, 1])).toBe('lanes lanes planes')
  expect(chosen([4, 256, 16, 16, 1, 1, 1, 0, 1, 1])).toBe('lanes lanes lanes')
  expect(chosen([4, 1, 64, 64, 16, 3, 1, 1, 1, 1])).toBe('depthwise groups3x3 groups3x3')
  // Groups of any size, the first and the last layer of a network.
  expect(chosen([4, 32, 32, 32, 32, 3, 1, 1, 1, 8])).toBe('groups3x3 groups3x3 groups3x3')
  expect(chosen([4, 128, 16, 16, 128, 3, 1, 1, 1, 2])).toBe('groups3x3 groups3x3 groups3x3')
  expect(chosen([4, 3, 64, 64, 16, 3, 1, 1, 1, 1])).toBe('groups3x3 groups3x3 groups3x3')
  expect(chosen([4, 16, 64, 64, 1, 3, 1, 1, 1, 1])).toBe('groups3x3 groups3x3 groups3x3')
  expect(chosen([4, 32, 32, 32, 32, 5, 1, 2, 1, 8])).toBe('groups groups groups')
  expect(chosen([4, 32, 32, 32, 32, 3, 2, 1, 1, 8])).toBe('groups lanes groups')
  expect(chosen([4, 64, 32, 32, 64, 3, 2, 1, 1, 8])).toBe('groups lanes lanes')
  expect(chosen([4, 64, 32, 32, 64, 3, 2, 1, 1, 4])).toBe('lanes lanes lanes')
  expect(chosen([4, 128, 32, 32, 128, 3, 2, 1, 1, 4])).toBe('patches lanes patches')
  expect(chosen([4, 64, 32, 32, 64, 1, 1, 0, 1, 8])).toBe('lanes lanes lanes')
  expect(chosen([1, 240, 28, 28, 240, 1, 1, 0, 1, 3])).toBe('product product product')
  // Depthwise.
  expect(chosen([1, 64, 32, 32, 64, 7, 1, 3, 1, 64])).toBe('depthwise depthwise depthwise')
  expect(chosen([1, 64, 32, 32, 64, 3, 1, 2, 2, 64])).toBe('depthwise depthwise depthwise')
  expect(chosen([2, 24, 32, 32, 48, 3, 1, 1, 1, 24])).toBe('depthwise groups3x3 depthwise')
  expect(chosen([4, 512, 4, 4, 512, 3, 1, 12, 12, 512])).toBe('planes planes planes')
  expect(chosen([1, 64, 32, 32, 64, 3, 2, 1, 1, 64])).toBe('depthwise depthwise depthwise')
  expect(chosen([1, 64, 33, 33, 64, 7, 2, 3, 1, 64])).toBe('depthwise depthwise depthwise')
  expect(chosen([1, 64, 32, 32, 64, 3, 3, 1, 1, 64])).toBe('planes planes planes')
  // Few pixels: adding up over lanes would outweigh the sums.
  expect(chosen([1, 256, 8, 8, 256, 3, 2, 1, 1, 256])).toBe('depthwise depthwise planes')
  expect(chosen([1, 256, 8, 8, 256, 3, 1, 1, 1, 8])).toBe('groups3x3 groups3x3 lanes')
  expect(chosen([4, 512, 4, 4, 512, 3, 1, 1, 1, 512])).toBe('depthwise depthwise planes3x3')
  // A ResNet begins so; of one channel, too.
  expect(chosen([1, 3, 128, 128, 64, 7, 2, 3, 1, 1])).toBe('patches patches patches')
  expect(chosen([4, 1, 64, 64, 64, 7, 2, 3, 1, 1])).toBe('patches patches patches')
  // Strides and dilations from 32 channels on, but for patches that take more than 64 MB.
  expect(chosen([4, 32, 32, 32, 64, 3, 2, 1, 1, 1])).toBe('patches patches patches')
  expect(chosen([4, 64, 36, 36, 64, 3, 1, 2, 2, 1])).toBe('patches patches patches')
  expect(chosen([4, 64, 31, 31, 64, 3, 1, 2, 2, 1])).toBe('patches lanes patches')
  expect(chosen([4, 64, 92, 92, 64, 3, 1, 2, 2, 1])).toBe('lanes lanes lanes')
  // Dilated windows by Winograd, where the rows of each residue are whole vec4s.
  expect(chosen([4, 64, 32, 32, 64, 3, 1, 2, 2, 1])).toBe('winograd winograd winograd')
  expect(chosen([4, 64, 48, 48, 64, 3, 1, 3, 3, 1])).toBe('winograd winograd winograd')
  expect(chosen([4, 64, 32, 32, 64, 3, 1, 1, 2, 1])).toBe('patches lanes patches')
  // 32 channels on one side: in large maps, if transformed by lanes.
  expect(chosen([4, 64, 64, 64, 32, 3, 1, 1, 1, 1])).toBe('winograd winograd winograd')
  expect(chosen([4, 64, 66, 66, 32, 3, 1, 1, 1, 1])).toBe('lanes3x3 lanes3x3 lanes3x3')
  expect(chosen([4, 16, 64, 64, 32, 3, 2, 1, 1, 1])).toBe('lanes lanes lanes')
  expect(chosen([4, 64, 32, 32, 32, 3, 1, 1, 1, 1])).toBe('lanes3x3 lanes3x3 lanes3x3')
})
