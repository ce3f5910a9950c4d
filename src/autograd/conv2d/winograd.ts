/**
 * 3×3, stride 1, by Winograd's F(4×4) and F(2×2): transform, a matrix product over channels for each of 36 or 16 places,
 * transform back. A quarter or 4/9 of the multiplications; rounding errors some times those of the direct sum
 * (docs/kernels-convolution.md), so that it is no default where the direct kernels are as fast.
 */
import { lanesProduct, oneAxis, type Product, tilesProduct } from './product.ts'
import { withSums } from './split.ts'
import {
  biasBinding,
  type ConvAdapter,
  type ConvBuffer,
  type ConvDispatch,
  type ConvEpilogue,
  type ConvPart,
  type ConvShape,
  type ConvVariant,
  flag,
  type LoadedPlans,
  lanes,
  placeParams,
  spread,
  tileWorkgroup,
  WORKGROUP,
} from './variant.ts'
import { type Conv3x3, forward3x3, inputGrad3x3 } from './window3x3.ts'

/**
 * A tile is 4×4 pixels, for F(2×2) four tiles of 2×2 that share what is loaded: places of a transformed one, and the
 * columns that a tile has in the products. `whole`: the place that holds the sum of a tile of dy, where 1 is a point.
 */
export const F4 = { name: 'winograd', places: 36, columns: 1, SMALL: 0, whole: undefined }
export const F2 = { name: 'winograd2x2', places: 16, columns: 4, SMALL: 1, whole: 5 }
type Form = typeof F4 | typeof F2

/** With lanes B may begin at `sourceOffset` of its array and m at `offset`, and rows of A be summed up at one place. */
type Products = Pick<
  Product,
  'm' | 'n' | 'k' | 'transposeB' | 'summed' | 'addSums' | 'sourceOffset' | 'offset'
> & {
  readonly places: number
}

/** A batch of products, one a place: `a` (m, k) · `b` (k, n), or (n, k) where it is transposed, gives scratch m. */
export function products(
  [a, b]: readonly [ConvBuffer, ConvBuffer],
  { places, ...size }: Products,
  adapter: ConvAdapter,
): ConvDispatch {
  const bindings: Record<string, ConvBuffer> = { a, wide_a: a, b, wide_b: b }
  const axes = oneAxis(places, 1, 1)
  if (lanes(adapter)) {
    const { entry, result, params, overrides, workgroups } = lanesProduct({ ...size, batch: places, axes })
    const dispatch = {
      file: 'matmul_lanes',
      entry,
      bindings: { ...bindings, bias: a, [result]: 'scratch:m' as const },
      ...{ params, overrides, workgroups },
    }
    return size.summed === undefined ? dispatch : withSums(dispatch, 1)
  }
  const { result, ...launch } = tilesProduct({ ...size, batch: places, axes })
  return { file: 'matmul', bindings: { ...bindings, [result]: 'scratch:m' }, ...launch }
}

type Numbers = Record<string, number>

/** So many invocations, and behind them in workgroups of their own those that transform weights. */
export function transform(
  what: 'factors' | 'output' | 'both' | 'window' | 'backward' | 'gradients',
  count: number,
  bindings: Record<string, ConvBuffer>,
  params: Numbers,
  overrides: Numbers,
  adapter: ConvAdapter,
  weights = 0,
): ConvDispatch {
  const WG = adapter.cpu ? tileWorkgroup(count + weights) : WORKGROUP
  const before = Math.ceil(count / WG)
  const byLanes = lanes(adapter) && overrides.SMALL === 0 && inFours(params)
  // The kernels by lanes have one form, but for what ends within eight of them.
  const { SMALL, VEC, DYVEC, ...ofAny } = overrides
  const { tilesW = 1, dilation = 1 } = params
  const ENDS = flag(/factors|both|backward/.test(what) && 8 % tilesW > 0)
  const ofLanes = { ...ofAny, ENDS, DILATED: flag(dilation > 1) }
  return {
    file: byLanes ? 'conv2d_winograd_lanes' : 'conv2d_winograd',
    entry: `conv2d_winograd_transform_${what}${what === 'output' && dilation > 1 ? '_apart' : ''}`,
    bindings,
    params: { behind: 0, ...params, dilation, weights: before },
    overrides: { ...(byLanes ? ofLanes : overrides), WG },
    workgroups: spread(before + Math.ceil(weights / WG)),
  }
}

/** Padding 1, rows of whole vec4s, and arrays of transformed tiles and windows whose places begin at whole ones. */
function inFours({ n, cin, cout, padH, padW, w, tilesH, tilesW }: Numbers): boolean {
  const tiles = n! * tilesH! * tilesW!
  return padH === 1 && padW === 1 && [w!, cin! * tiles, cout! * tiles, cin! * cout!].every((v) => v % 4 === 0)
}

/**
 * A dilated window on an image is a dense one on its dilation² images of rows and columns that are equal modulo the dilation. Of
 * those the transforms by lanes find their places, if rows are whole vec4s: dilation and padding are the same.
 */
function withoutDilation(s: ConvShape, adapter: ConvAdapter): (ConvShape & { dilation: number }) | undefined {
  const { dilationH: dilation, dilationW, padH, padW, h, w } = s
  if (dilation === 1 && dilationW === 1) return { ...s, dilation }
  const same = [dilationW, padH, padW].every((v) => v === dilation)
  if (!same || h % dilation > 0 || w % (4 * dilation) > 0) return undefined
  const size = { h: h / dilation, w: w / dilation, outH: s.outH / dilation, outW: s.outW / dilation }
  const dense = { padH: 1, padW: 1, dilationH: 1, dilationW: 1 }
  const of = { ...s, ...size, ...dense, n: s.n * dilation ** 2, dilation }
  return lanes(adapter) && inFours({ ...of, ...tilesOf(of) }) ? of : undefined
}

type Sizes = Record<'n' | 'cin' | 'cout' | 'outH' | 'outW', number>

export function tilesOf({ n, outH, outW }: Sizes) {
  const [tilesH, tilesW] = [Math.ceil(outH / 4), Math.ceil(outW / 4)]
  return { tilesH, tilesW, tiles: n * tilesH * tilesW }
}

/** Floats of the largest transformed array; by default a binding holds 2²⁵. */
const largest = (c: Sizes, { places, columns }: Form) =>
  places * Math.max(c.cin, c.cout) * Math.max(columns * tilesOf(c).tiles, Math.min(c.cin, c.cout))

/** With few channels the transforms cost more than the products save. */
const fits = (c: Sizes, adapter: ConvAdapter, form: Form) =>
  Math.min(c.cin, c.cout) >= 16 && (!adapter.cpu || lanes(adapter)) && largest(c, form) <= 2 ** 25

/**
 * Where F(4×4) was measured to be faster than the direct kernels, on lavapipe, and takes at most 64 MB an array: with
 * few channels the transforms weigh too much, with few tiles that of the weights. Dilated windows have no direct kernels as
 * fast as dense ones; below 64 channels dense ones are slower only than what transforms by lanes.
 */
function suited(c: Conv3x3['params'], dilated: boolean, adapter: ConvAdapter): boolean {
  const [fewer, more, { tiles }] = [Math.min(c.cin, c.cout), Math.max(c.cin, c.cout), tilesOf(c)]
  if (!lanes(adapter) || largest(c, F4) > 2 ** 24 || fewer < 32) return false
  const products = fewer * more * tiles
  if (dilated) return tiles >= 16 && products >= 2 ** 17
  if (tiles < 32 || more < 64) return false
  return fewer < 64 ? products >= 2 ** 20 && inFours({ ...c, ...tilesOf(c) }) : products >= 2 ** 19
}

/** Padding 1 and rows of whole vec4fs. */
const inVectors = ({ padW, w }: { padW: number; w: number }) => flag(padW === 1 && w % 4 === 0)

function variant(
  form: Form,
  part: ConvPart,
  given: ConvShape,
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant | undefined {
  const s = withoutDilation(given, adapter)
  const c = s && convolution(part, s)
  if (!c || !fits(c.params, adapter, form) || (form === F2 && s.dilation > 1)) return undefined
  const { name, places, columns, SMALL } = form
  const { cin, cout } = c.params
  const { tilesH, tilesW, tiles } = tilesOf(c.params)
  const params = {
    ...c.params,
    tilesH,
    tilesW,
    dilation: s.dilation,
    relu: flag(epilogue.relu),
    ...placeParams(epilogue),
  }
  const factors = {
    x: c.from,
    x4: c.from,
    transformed: 'scratch:v',
    transformed4: 'scratch:v',
    weight: 'weight',
    factor: 'scratch:u',
    factor4: 'scratch:u',
  } as const
  const sums = { products: 'scratch:m', products4: 'scratch:m' } as const
  const output = { ...sums, bias: biasBinding(epilogue), y: c.to, y4: c.to } as const
  const last = { SMALL, BIAS: flag(epilogue.bias), ACCUMULATE: flag(epilogue.accumulate) }
  const n = columns * tiles
  return {
    name,
    scratch: { u: places * cout * cin, v: places * cin * n, m: places * cout * n },
    dispatches: [
      transform(
        'factors',
        cin * tiles,
        factors,
        params,
        { SMALL, VEC: inVectors(c.params), TURN: flag(c.turn) },
        adapter,
        cout * cin,
      ),
      products(['scratch:u', 'scratch:v'], { m: cout, n, k: cin, places }, adapter),
      transform('output', cout * tiles, output, params, last, adapter),
    ],
  }
}

/** dw in the transformed places; that of the sums of whole tiles, if there is one, gives the gradient of a bias. */
export const weightProducts = (
  { places, columns, whole }: Form,
  s: Pick<ConvShape, 'cin' | 'cout'> & Sizes,
  { sums, accumulate }: ConvEpilogue,
): Products => ({
  ...{ m: s.cout, n: s.cin, k: columns * tilesOf(s).tiles, transposeB: true, places },
  ...(sums === 'dy' && whole !== undefined ? { summed: whole, addSums: accumulate } : {}),
})

function weightGradVariant(
  form: Form,
  given: ConvShape,
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant | undefined {
  const s = withoutDilation(given, adapter)
  const c = s && forward3x3(s)
  if (!c || !fits(s, adapter, form) || (form === F2 && s.dilation > 1)) return undefined
  const { name, places, columns, SMALL } = form
  const { cin, cout } = s
  const { tilesH, tilesW, tiles } = tilesOf(s)
  const params = { ...c.params, tilesH, tilesW, dilation: s.dilation, relu: 0, ...placeParams({}) }
  const input = { x: 'x', x4: 'x', transformed: 'scratch:v', transformed4: 'scratch:v' } as const
  const upstream = { dy: 'dy', dy4: 'dy', upstream: 'scratch:d', upstream4: 'scratch:d' } as const
  const vectors = { VEC: inVectors(s), DYVEC: flag(s.outW % 4 === 0) }
  const window = { products: 'scratch:m', products4: 'scratch:m', transformed: 'dw' } as const
  const last = { SMALL, ADD_WEIGHTS: flag(epilogue.accumulate) }
  const k = columns * tiles
  return {
    name,
    scratch: { d: places * cout * k, v: places * cin * k, m: places * cout * cin },
    dispatches: [
      transform(
        'both',
        Math.max(cin, cout) * tiles,
        { ...input, ...upstream },
        params,
        { SMALL, ...vectors },
        adapter,
      ),
      products(['scratch:d', 'scratch:v'], weightProducts(form, s, epilogue), adapter),
      transform('window', cout * cin, window, params, last, adapter),
    ],
  }
}

/** The convolution that gives y, or dx, if it is one of 3×3. */
const convolution = (part: ConvPart, s: ConvShape) => (part === 'inputGrad' ? inputGrad3x3(s) : forward3x3(s))

/** F(4×4) and F(2×2) where they fit, and which is faster than the direct kernels, if one is. */
export const winogradPlans: LoadedPlans = {
  variants: (part, s, adapter, epilogue) =>
    [F4, F2].map((form) =>
      part === 'weightGrad'
        ? weightGradVariant(form, s, adapter, epilogue)
        : variant(form, part, s, adapter, epilogue),
    ),
  best(part, given, adapter) {
    const s = withoutDilation(given, adapter)
    const c = s && convolution(part, s)
    return c && suited(c.params, s.dilation > 1, adapter) ? F4.name : undefined
  },
}
