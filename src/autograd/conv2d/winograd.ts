/**
 * 3×3, stride 1, by Winograd's F(4×4): transform, a matrix product over channels for each of 36 places, transform
 * back. A quarter of the multiplications; rounding errors some times those of the direct sum
 * (docs/kernels-convolution.md), so that it is no default where the direct kernels are as fast.
 */
import { lanes } from './lanes.ts'
import { lanesProduct, oneAxis } from './product.ts'
import { tileWorkgroup } from './tile.ts'
import {
  biasBinding,
  type ConvAdapter,
  type ConvBuffer,
  type ConvDispatch,
  type ConvEpilogue,
  type ConvShape,
  type ConvVariant,
  placeParams,
  spread,
  WORKGROUP,
} from './variant.ts'
import { type Conv3x3, forward3x3 } from './window3x3.ts'

/** Places of a transformed tile. */
const PLACES = 36

/** A batch of products, one a place: `a` (m, k) · `b` (k, n), or (n, k) where it is transposed, gives scratch m. */
function products(
  [a, b]: readonly [ConvBuffer, ConvBuffer],
  size: { m: number; n: number; k: number; transposeB?: boolean },
  adapter: ConvAdapter,
): ConvDispatch {
  const bindings: Record<string, ConvBuffer> = { a, wide_a: a, b, wide_b: b, y: 'scratch:m' }
  const axes = oneAxis(PLACES, 1, 1)
  if (lanes(adapter)) {
    const { params, overrides, workgroups } = lanesProduct({ ...size, batch: PLACES, axes })
    const file = 'matmul_lanes'
    return { file, entry: file, bindings: { ...bindings, bias: a }, params, overrides, workgroups }
  }
  const { m, n, k, transposeB } = size
  return {
    file: 'matmul',
    entry: 'tiles',
    bindings,
    params: { m, n, k, ...axes },
    overrides: { TRANSPOSE_A: 0, TRANSPOSE_B: transposeB ? 1 : 0 },
    workgroups: [Math.ceil(n / 64), Math.ceil(m / 64), PLACES],
  }
}

const flag = (on: boolean | undefined) => (on ? 1 : 0)

type Numbers = Record<string, number>

function transform(
  what: 'input' | 'weight' | 'output' | 'upstream' | 'window',
  count: number,
  bindings: Record<string, ConvBuffer>,
  params: Numbers,
  overrides: Numbers,
  adapter: ConvAdapter,
): ConvDispatch {
  const WG = adapter.cpu ? tileWorkgroup(count) : WORKGROUP
  return {
    file: 'conv2d_winograd',
    entry: `conv2d_winograd_transform_${what}`,
    bindings,
    params,
    overrides: { ...overrides, WG },
    workgroups: spread(Math.ceil(count / WG)),
  }
}

type Sizes = Record<'n' | 'cin' | 'cout' | 'outH' | 'outW', number>

function tilesOf({ n, outH, outW }: Sizes) {
  const [tilesH, tilesW] = [Math.ceil(outH / 4), Math.ceil(outW / 4)]
  return { tilesH, tilesW, tiles: n * tilesH * tilesW }
}

/** Floats of the largest transformed array; by default a binding holds 2²⁵. */
const largest = (c: Sizes) =>
  PLACES * Math.max(c.cin, c.cout) * Math.max(tilesOf(c).tiles, Math.min(c.cin, c.cout))

/** With few channels the transforms cost more than the products save. */
const fits = (c: Sizes, adapter: ConvAdapter) =>
  Math.min(c.cin, c.cout) >= 16 && (!adapter.cpu || lanes(adapter)) && largest(c) <= 2 ** 25

/**
 * Where it was measured to be faster than the direct kernels, on lavapipe, and takes at most 64 MB an array. With
 * few tiles the transform of the weights outweighs what they are used for.
 */
const pays = (c: Sizes, adapter: ConvAdapter, channels: number, tiles: number) =>
  lanes(adapter) && Math.min(c.cin, c.cout) >= channels && tilesOf(c).tiles >= tiles && largest(c) <= 2 ** 24

export const suitsWinograd = (c: Conv3x3 | undefined, adapter: ConvAdapter): boolean =>
  c !== undefined && pays(c.params, adapter, 64, 32)

export const suitsWinogradWeightGrad = (s: ConvShape, adapter: ConvAdapter): boolean =>
  forward3x3(s) !== undefined && (pays(s, adapter, 32, 64) || pays(s, adapter, 64, 32))

/** Padding 1 and rows of whole vec4fs. */
const inVectors = ({ padW, w }: { padW: number; w: number }) => flag(padW === 1 && w % 4 === 0)

export function winograd(
  c: Conv3x3 | undefined,
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant | undefined {
  if (!c || !fits(c.params, adapter)) return undefined
  const { cin, cout } = c.params
  const { tilesH, tilesW, tiles } = tilesOf(c.params)
  const params = { ...c.params, tilesH, tilesW, relu: flag(epilogue.relu), ...placeParams(epilogue) }
  const input = { x: c.from, x4: c.from, transformed: 'scratch:v' } as const
  const output = { products: 'scratch:m', bias: biasBinding(epilogue), y: c.to } as const
  const weight = { weight: 'weight', transformed: 'scratch:u' } as const
  const last = { BIAS: flag(epilogue.bias), ACCUMULATE: flag(epilogue.accumulate) }
  return {
    name: 'winograd',
    scratch: { u: PLACES * cout * cin, v: PLACES * cin * tiles, m: PLACES * cout * tiles },
    dispatches: [
      transform('weight', cout * cin, weight, params, { TURN: flag(c.turn) }, adapter),
      transform('input', cin * tiles, input, params, { VEC: inVectors(c.params) }, adapter),
      products(['scratch:u', 'scratch:v'], { m: cout, n: tiles, k: cin }, adapter),
      transform('output', cout * tiles, output, params, last, adapter),
    ],
  }
}

export function winogradWeightGrad(
  s: ConvShape,
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant | undefined {
  const c = forward3x3(s)
  if (!c || !fits(s, adapter)) return undefined
  const { cin, cout } = s
  const { tilesH, tilesW, tiles } = tilesOf(s)
  const params = { ...c.params, tilesH, tilesW, relu: 0, ...placeParams({}) }
  const ofDy = { ...params, cin: cout, h: s.outH, w: s.outW, padH: 0, padW: 0 }
  const input = { x: 'x', x4: 'x', transformed: 'scratch:v' } as const
  const upstream = { x: 'dy', x4: 'dy', transformed: 'scratch:d' } as const
  const window = { products: 'scratch:m', transformed: 'dw' } as const
  return {
    name: 'winograd',
    scratch: { d: PLACES * cout * tiles, v: PLACES * cin * tiles, m: PLACES * cout * cin },
    dispatches: [
      transform('input', cin * tiles, input, params, { VEC: inVectors(s) }, adapter),
      transform('upstream', cout * tiles, upstream, ofDy, { VEC: flag(s.outW % 4 === 0) }, adapter),
      products(['scratch:d', 'scratch:v'], { m: cout, n: cin, k: tiles, transposeB: true }, adapter),
      transform('window', cout * cin, window, params, { ACCUMULATE: flag(epilogue.accumulate) }, adapter),
    ],
  }
}
