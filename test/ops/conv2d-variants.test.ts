import { expect, test } from 'vitest'
import { planConv2d } from '../../src/autograd/conv2d/plan.ts'
import type {
  ConvBuffer,
  ConvEpilogue,
  ConvPart,
  ConvShape,
  ConvVariant,
} from '../../src/autograd/conv2d/variant.ts'
import type { Device } from '../../src/autograd/device.ts'
import { Run } from '../../src/autograd/op.ts'
import { ACTIVATIONS, convAdapter, findsChannels, runConvVariant } from '../../src/autograd/ops/conv2d_run.ts'
import { testDevice } from '../device.ts'
import { convValues, type Sum, sums } from './conv-oracle.ts'
import { choosePipelines } from './conv-pipelines.ts'
import { CONV_SHAPES, convShapeOf } from './conv-shapes.ts'

const PARTS = ['forward', 'inputGrad', 'weightGrad'] as const
const DTYPES = ['float32', 'float16'] as const
type DType = (typeof DTYPES)[number]

/** What a part reads as images, and what it writes. */
const READS = { forward: 'x', inputGrad: 'dy', weightGrad: 'x' } as const
const WRITES = { forward: 'y', inputGrad: 'dx', weightGrad: 'dw' } as const

/** What is written lies among other channels, and so does what is read, where a variant finds it. */
const PLACE = { offset: 4, gap: 12 }
const SOURCE = { sourceOffset: 8, sourceGap: 20 }

/** A gradient of the input is added to what is there, or, as the output of a transposed convolution, rectified. */
const EPILOGUES: Record<ConvPart, readonly ConvEpilogue[]> = {
  forward: [{ bias: true, relu: true, ...PLACE, ...SOURCE }],
  inputGrad: [
    { bias: true, accumulate: true, ...PLACE, ...SOURCE },
    { bias: true, relu: true, ...PLACE, ...SOURCE },
  ],
  weightGrad: [{ accumulate: true, ...SOURCE }],
}

const typeOf = (buffer: ConvBuffer, dtype: DType): DType => (ACTIVATIONS.has(buffer) ? dtype : 'float32')

/** Every variant, each once, that an adapter of any kind may choose for a row of the shapes. */
function variantsOf(
  device: Device,
  dtype: DType,
  part: ConvPart,
  row: number,
  epilogue: ConvEpilogue,
): ConvVariant[] {
  const here = convAdapter(device, dtype === 'float16')
  const other = { ...here, cpu: !here.cpu }
  // SwiftShader takes minutes to compile the forms that are made for others, but for one; lavapipe holds them all.
  const slow = /swiftshader/i.test(device.adapter.name)
  const s = convShapeOf(CONV_SHAPES[row]!)
  const variants = [here, other, { ...here, subgroups: false }].flatMap((adapter) =>
    planConv2d(s, adapter, { [part]: epilogue })[part].filter(
      ({ name }) => !slow || adapter !== other || name === 'gemmSplit',
    ),
  )
  return [...new Map(variants.map((v) => [JSON.stringify(v), v])).values()]
}

/** Other tiles of the same kernels, which only a tuner chooses. */
const isOtherTile = (variant: string): boolean => /^gemm\d/.test(variant)

const triedTiles = new Set<string>()

/** Such tiles are tried once each, for shapes that fill them, in float32: lavapipe takes up to ten seconds to compile one. */
function takeTile(part: ConvPart, dtype: DType, { name, dispatches }: ConvVariant, row: number): boolean {
  const [, cin, , , cout] = CONV_SHAPES[row]!
  const tile = `${part} ${name} ${dispatches[0]!.overrides.TAPS}`
  if (dtype === 'float16' || Math.min(cin, cout) <= 32 || triedTiles.has(tile)) return false
  triedTiles.add(tile)
  return true
}

const choices = new Map<DType, (variant: ConvVariant) => boolean>()

/** Which variants are to run that are no other tile. The text of a kernel for halves differs from that for floats in its types. */
function choiceFor(device: Device, dtype: DType): (variant: ConvVariant) => boolean {
  const known = choices.get(dtype)
  if (known) return known
  const planned = PARTS.flatMap((part) =>
    EPILOGUES[part].flatMap((epilogue) =>
      CONV_SHAPES.flatMap((_, row) => variantsOf(device, dtype, part, row, epilogue))
        .filter(({ name }) => !isOtherTile(name))
        .map((variant) => ({ part, variant })),
    ),
  )
  const choice = choosePipelines(planned, { formsAlone: dtype === 'float16' })
  const names = (list: typeof planned) => new Set(list.map(({ part, variant }) => `${part} ${variant.name}`))
  expect(names(planned.filter(({ variant }) => choice(variant)))).toEqual(names(planned))
  choices.set(dtype, choice)
  return choice
}

/** These variants transform tiles: by F(2×2) and F(4×4), or along a row by F(4, 3) and F(3, 4). */
const isTransformed = (variant: string): boolean => /^winograd|^(lanes|groups)3x3$/.test(variant)

/**
 * Largest |got − want| of float32 sums, in units of 2⁻²⁴ · Σ|terms|: rounding errors of a sum of products are some of these. The
 * transforms of F(4×4) add up 36 values that cancel. Over a thousand random shapes from 1×1 to 12×12, padding 0 to 2, measured up
 * to 5.6 for direct sums, 12.5 along a row, 7.8 for F(2×2), 35 for F(4×4).
 */
const bound = (variant: string): number => (variant === 'winograd' ? 48 : 16)

/**
 * What an error is measured by. A transform rounds what the pixels of a tile, or the weights of a window, have in common, which may be far larger
 * than the few terms that one of them has, as at a corner: so it is the largest of a plane of so many values.
 */
function sizesFor(variant: string, size: Float64Array, plane: number): Float64Array {
  if (!isTransformed(variant)) return size
  return size.map((_, i) => Math.max(...size.subarray(i - (i % plane), i - (i % plane) + plane)))
}

/**
 * The same for the half form of the matrix products in tiles, in units of 2⁻¹¹ · Σ|terms|. A weight is rounded once, a term at
 * most eight times on its way through a run of eight, and the result once: at worst 10; measured up to 2.5, over a thousand random
 * shapes up to 3.8.
 */
const HALF_BOUND = 4

/** How far a variant may be off a value that is a sum of terms of that size altogether. */
function tolerance(variant: string, part: ConvPart, dtype: DType, value: number, size: number): number {
  if (dtype === 'float16' && variant.startsWith('gemm')) return HALF_BOUND * 2 ** -11 * size
  const error = bound(variant) * 2 ** -24 * size
  // The others sum up in float32 and round once: by 2⁻¹¹ of it, or, below the normal halves, by 2⁻²⁵.
  return typeOf(WRITES[part], dtype) === 'float16'
    ? error + 2 ** -11 * (Math.abs(value) + error) + 2 ** -25
    : error
}

/** What a part is to give, from the convolution's own sums in float64. */
function expected(part: ConvPart, s: ConvShape, sum: Sum, epilogue: ConvEpilogue, bias: Float32Array): Sum {
  const add = (of: Sum, by: (i: number) => number): Sum => ({
    value: of.value.map((v, i) => v + by(i)),
    size: of.size.map((v, i) => v + Math.abs(by(i))),
  })
  let result = sum
  if (part !== 'weightGrad') {
    const channels = part === 'forward' ? s.cout : s.cin
    const plane = sum.value.length / s.n / channels
    result = add(result, (i) => bias[Math.floor(i / plane) % channels]!)
  }
  if (epilogue.accumulate) result = add(result, () => 0.5)
  return epilogue.relu ? { ...result, value: result.value.map((v) => Math.max(0, v)) } : result
}

/** Images with so much before the first and behind each. */
function among(images: Float32Array, count: number, offset: number, gap: number): Float32Array {
  const size = images.length / count
  const whole = new Float32Array(offset + count * (size + gap)).fill(0.5)
  for (let k = 0; k < count; k++) {
    whole.set(images.subarray(k * size, (k + 1) * size), offset + k * (size + gap))
  }
  return whole
}

// A part and half of the shapes at a time: on a cold cache all of them take minutes to compile.
test.each(
  DTYPES.flatMap((dtype) =>
    PARTS.flatMap((part) => (['even', 'odd'] as const).map((rows) => [part, dtype, rows] as const)),
  ),
)(
  'every variant of %s is within a bound of rounding errors of the float64 convolution, %s, %s rows of shapes',
  async (part, dtype, rows) => {
    const device = await testDevice()
    const half = dtype === 'float16'
    if (half && !device.adapter.f16) return
    const isToRun = choiceFor(device, dtype)
    let ran = 0
    for (let row = rows === 'even' ? 0 : 1; row < CONV_SHAPES.length; row += 2) {
      const s = convShapeOf(CONV_SHAPES[row]!)
      const values = convValues(s, half)
      const sum = sums(s, values)[part]
      const tensor = (v: Float32Array, name: string) =>
        device.tensor(v, [v.length], { dtype: typeOf(name as ConvBuffer, dtype) })
      const buffers = Object.fromEntries(Object.entries(values).map(([name, v]) => [name, tensor(v, name)]))
      const read = READS[part]
      const source = tensor(among(values[read], s.n, SOURCE.sourceOffset, SOURCE.sourceGap), read)
      for (const epilogue of EPILOGUES[part]) {
        const { value, size } = expected(part, s, sum, epilogue, values.bias)
        const plane = { forward: s.outH * s.outW, inputGrad: s.h * s.w, weightGrad: s.kh * s.kw }[part]
        for (const variant of variantsOf(device, dtype, part, row, epilogue)) {
          if (!(isOtherTile(variant.name) ? takeTile(part, dtype, variant, row) : isToRun(variant))) continue
          ran++
          const isPlaced = part !== 'weightGrad' && findsChannels(variant, WRITES[part], 'offset')
          const images = isPlaced ? s.n : 1
          const { offset, gap } = isPlaced ? PLACE : { offset: 0, gap: PLACE.gap }
          const dtypeOut = typeOf(WRITES[part], dtype)
          const out = device.full([offset + value.length + images * gap], 0.5, { dtype: dtypeOut })
          const run = new Run(device, 'variant')
          const found = findsChannels(variant, read, 'sourceOffset') ? { [read]: source } : {}
          runConvVariant(run, variant, { ...buffers, ...found, [WRITES[part]]: out }, 0)
          run.finish([])
          const got = (await out.data()) as Float32Array
          const sizes = sizesFor(variant.name, size, plane)
          let [worst, where] = [0, '']
          value.forEach((v, i) => {
            const at = offset + i + gap * Math.floor((i * images) / value.length)
            const most = tolerance(variant.name, part, dtype, v, sizes[i]!) + Number.MIN_VALUE
            const error = Math.abs(got[at]! - v) / most
            if (!(error <= worst)) {
              worst = Number.isNaN(error) ? Number.POSITIVE_INFINITY : error
              where = `element ${i} is ${got[at]}, expected ${v}`
            }
            got[at] = 0.5
          })
          const what = `${part} ${variant.name} of ${CONV_SHAPES[row]}`
          expect(worst, `${what}: ${where}; the error, in parts of what is allowed`).toBeLessThanOrEqual(1)
          expect(new Set(got), `${what}: what lies around its images`).toEqual(new Set([0.5]))
          out.dispose()
        }
      }
      for (const t of [source, ...Object.values(buffers)]) t.dispose()
    }
    expect(ran).toBeGreaterThan(0)
    await device.checkGuards()
  },
)
