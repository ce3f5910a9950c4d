import { readdirSync } from 'node:fs'
import { expect, test } from 'vitest'
import { cpuPlans } from '../../src/autograd/conv2d/cpu.ts'
import { planConv2d } from '../../src/autograd/conv2d/plan.ts'
import { tunedPlans } from '../../src/autograd/conv2d/tuned.ts'
import {
  type ConvBuffer,
  type ConvEpilogue,
  type ConvVariant,
  lanes,
} from '../../src/autograd/conv2d/variant.ts'
import { halfBits, halfValue } from '../../src/autograd/float16.ts'
import { Run } from '../../src/autograd/op.ts'
import { conv2dShape } from '../../src/autograd/ops/conv2d.ts'
import { addCpuConvKernels } from '../../src/autograd/ops/conv2d_cpu_kernels.ts'
import { convKernels } from '../../src/autograd/ops/conv2d_kernels.ts'
import { ACTIVATIONS, convAdapter, runConvVariant } from '../../src/autograd/ops/conv2d_run.ts'
import { addTunedConvKernels } from '../../src/autograd/ops/conv2d_tuned_kernels.ts'
import { matmul } from '../../src/autograd/ops/matmul.ts'
import { testDevice } from '../device.ts'
import { randomValues } from '../oracle.ts'
import { type Sum, sums } from './conv-oracle.ts'
import { ConvPipelines } from './conv-pipelines.ts'

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

/** n, cin, h, w, cout, window, stride, padding, dilation, groups. */
type Row = readonly [number, number, number, number, number, number, number, number, number, number]

/** For each family of kernels shapes that its tiles do not divide, and some that they do. */
const SHAPES: readonly Row[] = [
  // Depthwise and small groups; dilation as in DeepLab's atrous convolutions; a channel multiplier.
  [1, 5, 11, 13, 5, 3, 1, 1, 1, 5],
  [2, 8, 12, 16, 8, 3, 1, 1, 1, 8],
  [1, 4, 17, 19, 8, 3, 1, 3, 3, 4],
  [1, 3, 13, 40, 3, 3, 1, 12, 12, 3],
  [2, 8, 5, 4, 8, 3, 1, 18, 18, 8],
  [1, 4, 9, 3, 4, 3, 1, 4, 5, 4],
  [2, 5, 4, 4, 5, 3, 1, 2, 2, 5],
  [2, 6, 9, 10, 4, 3, 1, 2, 1, 2],
  [2, 12, 8, 8, 8, 3, 1, 0, 1, 4],
  [1, 5, 11, 13, 5, 3, 2, 1, 1, 5],
  [1, 4, 14, 15, 8, 3, 3, 2, 2, 2],
  [2, 6, 12, 16, 4, 5, 1, 2, 1, 2],
  [1, 3, 19, 17, 3, 7, 1, 3, 1, 3],
  // What the gradient of the weight holds of a row: in vec4s or not, even and odd columns, columns that it cannot hold.
  [1, 3, 9, 20, 3, 7, 1, 3, 1, 3],
  [2, 4, 11, 16, 8, 7, 1, 1, 1, 4],
  [1, 4, 13, 16, 4, 7, 2, 3, 1, 4],
  [2, 3, 9, 12, 3, 5, 2, 2, 1, 3],
  [1, 3, 15, 14, 3, 6, 2, 1, 1, 3],
  [1, 4, 9, 24, 4, 3, 2, 1, 1, 4],
  [2, 3, 14, 17, 3, 5, 1, 4, 2, 3],
  [1, 3, 17, 16, 3, 7, 3, 3, 1, 3],
  [1, 3, 20, 21, 3, 9, 1, 4, 1, 3],
  // Groups whose channels go in blocks of four or three, the last not full; strips that end within a subgroup or with it, tiles
  // that leave lanes over or are too few to share weights.
  [2, 10, 12, 24, 16, 3, 1, 1, 1, 2],
  [3, 18, 5, 12, 14, 3, 1, 1, 1, 2],
  [1, 8, 3, 20, 8, 3, 1, 1, 1, 2],
  [1, 12, 17, 33, 12, 3, 1, 2, 1, 3],
  // Depthwise, walking down strips: columns that begin before, at and behind a vec4's, several bands and residues, strips that
  // end within a subgroup, wider than one; a window of even size; multipliers.
  [1, 3, 37, 24, 6, 5, 1, 3, 1, 3],
  [3, 5, 18, 16, 5, 3, 1, 2, 2, 5],
  [2, 2, 6, 12, 2, 3, 1, 4, 4, 2],
  [1, 2, 19, 36, 2, 5, 1, 4, 2, 2],
  [2, 3, 10, 8, 3, 2, 1, 1, 1, 3],
  [1, 1, 23, 40, 3, 7, 1, 3, 1, 1],
  // No padding: rows of x that reach further than the strips do.
  [1, 2, 9, 12, 2, 5, 1, 0, 1, 2],
  [2, 2, 9, 20, 2, 5, 2, 0, 1, 2],
  // The same with a stride: two bands of strips that end within a subgroup, multipliers, even windows, paddings as wide as the
  // window, rows and columns before the first tap.
  [1, 3, 37, 40, 6, 5, 2, 2, 1, 3],
  [2, 5, 36, 16, 5, 3, 2, 1, 1, 5],
  [3, 4, 10, 24, 4, 2, 2, 0, 1, 4],
  [1, 3, 14, 20, 3, 7, 2, 6, 1, 3],
  [2, 3, 9, 23, 3, 4, 2, 3, 1, 3],
  [2, 8, 8, 8, 8, 3, 2, 0, 1, 8],
  // Groups that walk down strips: blocks of channels, the last not full; groups as products, with pixels that fill no vec4 and
  // with patches.
  [2, 10, 17, 24, 16, 3, 2, 1, 1, 2],
  [3, 6, 9, 12, 10, 5, 2, 2, 1, 2],
  [2, 8, 10, 20, 6, 5, 1, 0, 1, 2],
  [2, 24, 5, 5, 26, 1, 1, 0, 1, 2],
  [2, 26, 6, 8, 72, 1, 1, 0, 1, 2],
  [3, 36, 6, 8, 39, 3, 2, 1, 1, 3],
  // First and last layers.
  [2, 1, 16, 20, 16, 3, 1, 1, 1, 1],
  [2, 16, 16, 12, 1, 3, 1, 1, 1, 1],
  [1, 2, 9, 9, 5, 3, 1, 2, 2, 1],
  [1, 3, 19, 17, 6, 7, 2, 3, 1, 1],
  // Winograd.
  [2, 17, 9, 13, 19, 3, 1, 1, 1, 1],
  [1, 40, 8, 12, 66, 3, 1, 2, 1, 1],
  [3, 16, 6, 5, 20, 3, 1, 0, 1, 1],
  // The same by lanes: eight tiles that end with a row, within one, in a row of sixteen; a last row of tiles that is not full, more
  // channels in than out, invocations past the end.
  [2, 16, 10, 8, 18, 3, 1, 1, 1, 1],
  [1, 20, 7, 20, 16, 3, 1, 1, 1, 1],
  [1, 18, 5, 64, 16, 3, 1, 1, 1, 1],
  // Dilated, by lanes: four images of each, whose tiles end within eight lanes or with them; nine, with padding.
  [2, 16, 10, 24, 18, 3, 1, 2, 2, 1],
  [1, 20, 12, 16, 17, 3, 1, 2, 2, 1],
  [1, 17, 9, 12, 20, 3, 1, 3, 3, 1],
  // Four images of 4×4 a tile, the last tile not full; pairs of flat images, eight columns a tile.
  [5, 9, 4, 4, 11, 3, 1, 1, 1, 1],
  [3, 6, 3, 13, 9, 3, 1, 1, 1, 1],
  // Taller than a column of the gradient of the weight: three bands, the last not full; bands and no padding.
  [1, 3, 71, 6, 5, 3, 1, 1, 1, 1],
  [2, 9, 68, 5, 4, 3, 1, 0, 1, 1],
  // Transposed 2×2 as a product.
  [2, 5, 6, 8, 13, 2, 2, 0, 1, 1],
  [1, 9, 8, 24, 16, 2, 2, 0, 1, 1],
  [3, 20, 8, 8, 40, 2, 2, 0, 1, 1],
  // Patches: images whose pixels fill no vec4f, an even window, a stride that leaves pixels without a tap.
  [3, 40, 5, 7, 33, 3, 1, 3, 3, 1],
  [2, 17, 9, 6, 35, 4, 3, 1, 1, 1],
  [2, 33, 5, 5, 20, 1, 2, 0, 1, 1],
  // Patches that are summed a row at a time: odd and even columns, strips that end within a subgroup; windows apart.
  [2, 3, 18, 40, 5, 7, 2, 3, 1, 1],
  [1, 3, 9, 20, 4, 5, 1, 4, 2, 1],
  // Rows of four that are held for all taps: moved by up to three columns, and with padding that is no multiple.
  [3, 18, 4, 4, 20, 3, 1, 2, 2, 1],
  [2, 3, 5, 4, 6, 3, 1, 3, 3, 1],
  [1, 4, 6, 4, 7, 5, 1, 2, 1, 1],
  // Few channels to few, in planes of whole vec4s and not.
  [2, 6, 7, 9, 3, 1, 1, 0, 1, 1],
  [1, 7, 6, 10, 1, 1, 1, 0, 1, 1],
  // Matrix products.
  [2, 13, 7, 9, 14, 1, 1, 0, 1, 1],
  [3, 20, 8, 8, 17, 1, 1, 0, 1, 1],
  [1, 64, 6, 6, 40, 1, 1, 0, 1, 1],
  // Three taps a fetch, in every tile: images that end within one, groups.
  [2, 36, 6, 8, 70, 3, 1, 1, 1, 1],
  [1, 24, 5, 20, 20, 3, 1, 1, 1, 2],
  // Few pixels of many channels: the sum over k is split. Two groups; a stride whose phases have four taps to one, and one
  // that leaves three phases of four without any.
  [1, 130, 4, 5, 70, 3, 1, 1, 1, 1],
  [2, 300, 3, 3, 20, 1, 1, 0, 1, 1],
  [2, 96, 5, 4, 70, 3, 1, 1, 1, 2],
  [1, 60, 7, 8, 130, 3, 2, 1, 1, 1],
  [1, 40, 8, 8, 130, 3, 2, 2, 2, 1],
]

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

const isOtherTile = (variant: string): boolean => /^gemm\d/.test(variant)
/** Those that multiply halves, or whose arrays of one kind are of float16 here and of float32 there. */
const takesForms = (variant: string): boolean => variant.startsWith('gemm') || variant === 'product'

/** What is compiled of either type. */
const pipelines = { float32: new ConvPipelines(), float16: new ConvPipelines() }

/** Tiles that only the tuner chooses and that were tried. */
const triedTiles = new Set<string>()

/** Such tiles are tried once each, for shapes that fill them, in float32: this driver takes up to ten seconds to compile one. */
function isTileToTry(
  part: string,
  dtype: string,
  { name, dispatches }: ConvVariant,
  channels: number,
): boolean {
  const tile = `${part} ${name} ${dispatches[0]!.overrides!.TAPS}`
  if (dtype === 'float16' || channels <= 32 || triedTiles.has(tile)) return false
  triedTiles.add(tile)
  return true
}

/**
 * Largest |got − want| of float32, in units of 2⁻²⁴ · Σ|terms|: rounding errors of a sum of products are some of these.
 * The transforms of Winograd's F(4×4) add up 36 values that cancel: measured up to 20, and 40 with padding 2, whose corners have
 * one term while their tile has many. F(2×2) and F(4, 3) along a row are held to what the direct sums are.
 */
const bound = (variant: string): number => (variant === 'winograd' ? 48 : 16)

/**
 * The same for the half form of the matrix products, in units of 2⁻¹¹ · Σ|terms|. A weight is rounded once, a term at
 * most eight times on its way through a run of eight, and the result once: at worst 10; measured up to 2.5, over a thousand random
 * shapes up to 3.8.
 */
const HALF_BOUND = 4

// A part and half of the shapes at a time: on a cold cache all of them take minutes to compile.
test.each(
  (['float32', 'float16'] as const).flatMap((dtype) =>
    (['forward', 'inputGrad', 'weightGrad'] as const).flatMap((part) =>
      (['even', 'odd'] as const).map((rows) => [part, dtype, rows] as const),
    ),
  ),
)(
  'every variant of %s is within a bound of rounding errors of the float64 convolution, %s, %s rows of shapes',
  async (part, dtype, rows) => {
    const device = await testDevice()
    const half = dtype === 'float16'
    if (half && !device.adapter.f16) return
    const rounded = (v: Float32Array) => (half ? v.map((f) => halfValue(halfBits(f))) : v)
    // SwiftShader takes minutes to compile the forms that are made for others, but for one; lavapipe holds them all.
    const here = convAdapter(device, half)
    const other = { ...here, cpu: !here.cpu }
    const slow = /swiftshader/i.test(device.adapter.name)
    for (const row of SHAPES.filter((_, i) => i % 2 === (rows === 'even' ? 0 : 1))) {
      const [n, cin, h, w, cout, window, stride, padding, dilation, groups] = row
      const weightShape = [cout, cin / groups, window, window]
      const s = conv2dShape([n, cin, h, w], weightShape, { stride, padding, dilation, groups })
      const values = {
        x: rounded(randomValues([n, cin, h, w], 1)),
        weight: randomValues(weightShape, 2),
        dy: rounded(randomValues([n, cout, s.outH, s.outW], 3)),
        bias: randomValues([Math.max(cin, cout)], 4),
      }
      const { forward, inputGrad, weightGrad } = sums(s, values)
      const biased = (sum: Sum, plane: number, channels: number): Sum => {
        const bias = (i: number) => values.bias[Math.floor(i / plane) % channels]!
        return {
          value: sum.value.map((v, i) => v + bias(i)),
          size: sum.size.map((v, i) => v + Math.abs(bias(i))),
        }
      }
      const rectified = ({ value, size }: Sum): Sum => ({ value: value.map((v) => Math.max(0, v)), size })
      const added = ({ value, size }: Sum): Sum => ({
        value: value.map((v) => v + 0.5),
        size: size.map((v) => v + 0.5),
      })
      const wanted = {
        forward: rectified(biased(forward, s.outH * s.outW, cout)),
        inputGrad: added(biased(inputGrad, h * w, cin)),
        weightGrad: added(weightGrad),
      }
      const into = { forward: 'y', inputGrad: 'dx', weightGrad: 'dw' } as const
      const typeOf = (name: string) => (ACTIVATIONS.has(name as ConvBuffer) ? dtype : 'float32')
      const buffers = Object.fromEntries(
        Object.entries(values).map(([k, v]) => [k, device.tensor(v, [v.length], { dtype: typeOf(k) })]),
      )
      const { value, size } = wanted[part]
      for (const adapter of [here, other]) {
        const plan = planConv2d(s, adapter, {
          forward: { bias: true, relu: true },
          inputGrad: { bias: true, accumulate: true },
          weightGrad: { accumulate: true },
        })
        for (const variant of plan[part]) {
          if (slow && adapter === other && variant.name !== 'gemmSplit') continue
          // The other variants multiply float32 also in their half form: conv2d.test.ts.
          if (half && !takesForms(variant.name)) continue
          const isToRun = isOtherTile(variant.name)
            ? isTileToTry(part, dtype, variant, Math.min(cin, cout))
            : pipelines[dtype].take(variant, part)
          if (!isToRun) continue
          const run = new Run(device, 'variant')
          const out = device.full([value.length], 0.5, { dtype: typeOf(into[part]) })
          runConvVariant(run, variant, { ...buffers, [into[part]]: out }, 0)
          run.finish([])
          const got = await out.data()
          const unit = half ? 2 ** -11 : 2 ** -24
          const error = (v: number, i: number) => Math.abs(got[i]! - v) / (unit * size[i]! + Number.MIN_VALUE)
          const c = value.reduce((most, v, i) => Math.max(most, error(v, i)), 0)
          expect(c, `${part} ${variant.name} of ${row}`).toBeLessThanOrEqual(
            half ? HALF_BOUND : bound(variant.name),
          )
          out.dispose()
        }
      }
      for (const t of Object.values(buffers)) t.dispose()
    }
    await device.checkGuards()
  },
)

test.each(['float32', 'float16'] as const)(
  'gradients of a bias come with those of the weight, which stay the same to the bit, %s',
  async (dtype) => {
    const device = await testDevice()
    const half = dtype === 'float16'
    if (half && !device.adapter.f16) return
    const found = new Set<string>()
    const withSums = new ConvPipelines()
    for (const [n, cin, h, w, cout, window, stride, padding, dilation, groups] of SHAPES) {
      const weightShape = [cout, cin / groups, window, window]
      const s = conv2dShape([n, cin, h, w], weightShape, { stride, padding, dilation, groups })
      const values = {
        x: randomValues([n, cin, h, w], 1).map((v) => halfValue(halfBits(v))),
        dy: randomValues([n, cout, s.outH, s.outW], 3).map((v) => halfValue(halfBits(v))),
      }
      const tensor = (v: Float32Array) => device.tensor(v, [v.length], { dtype })
      const buffers = { x: tensor(values.x), dy: tensor(values.dy) }
      for (const sums of ['dy', 'x'] as const) {
        const [of, channels] = sums === 'dy' ? [values.dy, cout] : [values.x, cin]
        const plane = of.length / n / channels
        const size = new Float64Array(channels).fill(0.5)
        const want = new Float64Array(channels).fill(0.5)
        of.forEach((v, i) => {
          const c = Math.floor(i / plane) % channels
          want[c]! += v
          size[c]! += Math.abs(v)
        })
        const planned = (epilogue: ConvEpilogue) =>
          planConv2d(s, convAdapter(device, half), { weightGrad: { accumulate: true, ...epilogue } })
            .weightGrad
        const alone = planned({})
        for (const [i, variant] of planned({ sums }).entries()) {
          expect(variant.name).toBe(alone[i]!.name)
          if (!variant.dispatches.some((d) => Object.values(d.bindings).includes('db'))) continue
          if (!withSums.take(variant, sums)) continue
          found.add(`${variant.name} ${sums}`)
          const results = [variant, alone[i]!].map((v) => {
            const run = new Run(device, 'variant')
            const dw = device.full([cout * (cin / groups) * window * window], 0.5)
            const db = device.full([channels], 0.5)
            runConvVariant(run, v, { ...buffers, dw, db }, 0)
            run.finish([])
            return { dw, db }
          })
          const [dw, expected] = await Promise.all(results.map((r) => r.dw.data()))
          expect(dw).toEqual(expected)
          const db = await results[0]!.db.data()
          const c = Math.max(...want.map((v, k) => Math.abs(db[k]! - v) / (2 ** -24 * size[k]!)))
          expect(c, `${variant.name} ${sums} of ${[n, cin, h, w, cout, window]}`).toBeLessThanOrEqual(16)
          for (const r of results) for (const t of [r.dw, r.db]) t.dispose()
        }
      }
      for (const t of Object.values(buffers)) t.dispose()
    }
    await device.checkGuards()
    if (lanes(convAdapter(device))) expect([...found].sort()).toEqual(WITH_SUMS)
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
  for (const [n, cin, h, w, cout, window, stride, padding, dilation, groups] of SHAPES) {
    const s = conv2dShape([n, cin, h, w], [cout, cin / groups, window, window], {
      stride,
      padding,
      dilation,
      groups,
    })
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
  const chosen = ([n, cin, h, w, cout, window, stride, padding, dilation, groups]: Row) => {
    const geometry = { stride, padding, dilation, groups }
    const s = conv2dShape([n, cin, h, w], [cout, cin / groups, window, window], geometry)
    const { forward, inputGrad, weightGrad } = planConv2d(s, adapter)
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
