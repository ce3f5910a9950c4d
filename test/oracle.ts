import { halfBits, halfValue } from '../src/autograd/float16.ts'
import { broadcastShapes, broadcastStrides, stridesOf } from '../src/autograd/shape.ts'
import { elements, type Shape, type Tensor } from '../src/autograd/tensor.ts'
import { testDevice } from './device.ts'
import { expectClose } from './reference.ts'

/** Seeded uniform numbers in [0, 1) (mulberry32). */
export function uniforms(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** Seeded float32 values, uniform in [low, high). */
export function randomValues(shape: Shape, seed = 1, low = -1, high = 1): Float32Array {
  const next = uniforms(seed)
  return Float32Array.from({ length: elements(shape) }, () => low + (high - low) * next())
}

/** The halves nearest to these values. */
export const nearestHalves = (values: Float32Array): Float32Array => values.map((v) => halfValue(halfBits(v)))

/** An array of the oracle: float64, row-major. */
export interface Array64 {
  readonly data: Float64Array
  readonly shape: Shape
}

/** f over arrays that broadcast as in NumPy. */
export function broadcastOracle(f: (...v: number[]) => number, ...arrays: readonly Array64[]): Float64Array {
  const shape = broadcastShapes('oracle', ...arrays.map((a) => a.shape))
  const own = stridesOf(shape)
  const strides = arrays.map((a) => broadcastStrides(a.shape, shape))
  return Float64Array.from({ length: elements(shape) }, (_, i) => {
    const at = strides.map((s) => shape.reduce((sum, d, k) => sum + (Math.floor(i / own[k]!) % d) * s[k]!, 0))
    return f(...arrays.map((a, k) => a.data[at[k]!]!))
  })
}

/** An input of a gradient check. Without `data` it is uniform in [low, high) (default [−1, 1)). */
export interface OracleInput {
  readonly shape: Shape
  readonly data?: ArrayLike<number>
  readonly low?: number
  readonly high?: number
  /** Default true. False: a constant, e.g. a mask or a running mean. */
  readonly grad?: boolean
}

export interface GradientOptions {
  readonly seed?: number
  /** Step of the finite differences, in float64. */
  readonly eps?: number
  readonly rtol?: number
  readonly atol?: number
  readonly gradRtol?: number
  readonly gradAtol?: number
  /** Elements of each input that are differentiated one by one; of a larger input this many are drawn. */
  readonly maxElements?: number
}

/** Which elements of an input are differentiated: all, or a seeded draw. */
function chosen(count: number, most: number, next: () => number): number[] {
  const all = Array.from({ length: count }, (_, i) => i)
  if (count <= most) return all
  for (let i = 0; i < most; i++) {
    const j = i + Math.floor(next() * (count - i))
    ;[all[i], all[j]] = [all[j]!, all[i]!]
  }
  return all.slice(0, most)
}

/**
 * Holds a GPU function to its float64 oracle: its values, and the gradients of ⟨fn(inputs), u⟩ for a random
 * u against central differences of the oracle. `oracle` returns the output flat, in row-major order.
 */
export async function checkGradients(
  fn: (...inputs: Tensor[]) => Tensor,
  oracle: (...inputs: Array64[]) => ArrayLike<number>,
  inputs: readonly OracleInput[],
  options: GradientOptions = {},
): Promise<void> {
  const { seed = 1, eps = 1e-5, rtol = 1e-5, atol = 1e-5, maxElements = 150 } = options
  const { gradRtol = 1e-4, gradAtol = 1e-5 } = options
  const device = await testDevice()
  const values = inputs.map((x, i) =>
    x.data ? Float32Array.from(x.data) : randomValues(x.shape, seed + 101 * i, x.low ?? -1, x.high ?? 1),
  )
  const exact = inputs.map((x, i): Array64 => ({ data: Float64Array.from(values[i]!), shape: x.shape }))
  const tensors = inputs.map((x, i) => device.tensor(values[i]!, x.shape, { requiresGrad: x.grad ?? true }))
  const y = fn(...tensors)
  expectClose(await y.data(), Float64Array.from(oracle(...exact)), rtol, atol, 'value')
  const upstream = randomValues(y.shape, seed + 7777)
  const projected = (): number => {
    const out = oracle(...exact)
    let sum = 0
    for (let i = 0; i < upstream.length; i++) sum += upstream[i]! * out[i]!
    return sum
  }
  y.backward(device.tensor(upstream, y.shape))
  const next = uniforms(seed + 31)
  for (const [k, x] of inputs.entries()) {
    if (x.grad === false) continue
    const { data } = exact[k]!
    const at = chosen(data.length, maxElements, next)
    const expected = at.map((i) => {
      const kept = data[i]!
      const h = eps * Math.max(1, Math.abs(kept))
      data[i] = kept + h
      const above = projected()
      data[i] = kept - h
      const below = projected()
      data[i] = kept
      return (above - below) / (2 * h)
    })
    const got = await tensors[k]!.grad!.data()
    expectClose(
      at.map((i) => got[i]!),
      expected,
      gradRtol,
      gradAtol,
      `gradient of input ${k} at elements ${at.slice(0, 4).join(', ')}…`,
    )
  }
  for (const t of [y, ...tensors]) {
    t.grad?.dispose()
    t.dispose()
  }
}

/**
 * Holds a linear function A and its gradient to ⟨A x, y⟩ = ⟨x, Aᵀ y⟩ for random x and y. Sums in float64;
 * the tolerance is relative to Σ|terms|.
 */
export async function adjoint(
  fn: (x: Tensor) => Tensor,
  shape: Shape,
  { seed = 1, rtol = 1e-5 }: { seed?: number; rtol?: number } = {},
): Promise<void> {
  const device = await testDevice()
  const xs = randomValues(shape, seed)
  const x = device.tensor(xs, shape, { requiresGrad: true })
  const y = fn(x)
  const ax = await y.data()
  const ys = randomValues(y.shape, seed + 1)
  y.backward(device.tensor(ys, y.shape))
  const aty = await x.grad!.data()
  let [left, right, scale] = [0, 0, 1e-30]
  for (let i = 0; i < ys.length; i++) {
    left += ax[i]! * ys[i]!
    scale += Math.abs(ax[i]! * ys[i]!)
  }
  for (let i = 0; i < xs.length; i++) right += xs[i]! * aty[i]!
  for (const t of [x.grad, x, y]) t?.dispose()
  if (!(Math.abs(left - right) <= rtol * scale)) {
    throw new Error(`⟨Ax, y⟩ = ${left} but ⟨x, Aᵀy⟩ = ${right} for x of shape (${shape.join(', ')})`)
  }
}
