import { FoveaError, GradientError } from '../gpu/errors.ts'
import { Prng } from './random.ts'
import { formatShape, type Tensor } from './tensor.ts'

export interface GradcheckOptions {
  /** Step of the finite differences, relative to max(1, |x|). Default 1e-2: float32 has few digits to difference. */
  readonly eps?: number
  /** An element is right if |analytic − numeric| ≤ atol + rtol · |numeric|. */
  readonly rtol?: number
  readonly atol?: number
  readonly seed?: number
  /** Random directions tried on inputs of more elements than `maxElements`. */
  readonly directions?: number
  /** Elements differentiated one by one; more are drawn at random after a direction failed. */
  readonly maxElements?: number
}

/**
 * Holds the backward rules inside `fn` against central differences in float32 on the GPU: of ⟨fn(inputs), u⟩ for
 * a random u, along single elements of small inputs and along random directions of large ones. Checks the
 * inputs with `requiresGrad`; leaves values and gradients as they were. `fn` must be deterministic.
 * Throws a GradientError that names the input and its worst element.
 */
export async function gradcheck(
  fn: (...inputs: Tensor[]) => Tensor,
  inputs: readonly Tensor[],
  options: GradcheckOptions = {},
): Promise<void> {
  const { eps = 1e-2, rtol = 1e-2, atol = 1e-3, seed = 0, directions = 4, maxElements = 64 } = options
  const checked = inputs.flatMap((x, i) => (x.requiresGrad ? [i] : []))
  const device = inputs[0]?.device
  if (!device || checked.length === 0) {
    throw new FoveaError('gradcheck: no input has requiresGrad: there is nothing to check')
  }
  const prng = new Prng(seed)
  const values = await Promise.all(inputs.map(async (x) => Float32Array.from(await x.data())))
  // Leaves of our own: the caller's gradients stay as they are.
  const leaves = inputs.map((x, i) =>
    x.dtype === 'float32' ? device.tensor(values[i]!, x.shape, { requiresGrad: x.requiresGrad }) : x,
  )
  const call = (args: readonly Tensor[]): Tensor => {
    const y = fn(...args)
    if (y.dtype !== 'float32')
      throw new GradientError(`gradcheck: fn gives ${y.dtype}, which has no gradient`)
    return y
  }
  const y = call(leaves)
  const upstream = Float32Array.from({ length: y.size }, () => 2 * prng.uniform() - 1)
  y.backward(device.tensor(upstream, y.shape))
  const analytic = await Promise.all(
    leaves.map(async (x, i) =>
      checked.includes(i) && x.grad ? Float32Array.from(await x.grad.data()) : new Float32Array(x.size),
    ),
  )

  /** ⟨fn, u⟩ with input i moved by `step` · direction. */
  const projected = async (i: number, move: (at: number) => number): Promise<number> => {
    const moved = device.tensor(
      values[i]!.map((v, at) => v + move(at)),
      inputs[i]!.shape,
    )
    const out = device.noGrad(() => call(leaves.map((x, k) => (k === i ? moved : x))))
    const data = await out.data()
    out.dispose()
    moved.dispose()
    return upstream.reduce((sum, u, k) => sum + u * data[k]!, 0)
  }
  const slope = async (i: number, direction: (at: number) => number, step: number): Promise<number> => {
    const above = await projected(i, (at) => step * direction(at))
    const below = await projected(i, (at) => -step * direction(at))
    return (above - below) / (2 * step)
  }
  const off = (got: number, wanted: number): number =>
    got === wanted ? 0 : Math.abs(got - wanted) / (atol + rtol * Math.abs(wanted))

  const inspect = async (i: number, elements: readonly number[]): Promise<void> => {
    let worst = { at: 0, error: 0, got: 0, wanted: 0 }
    for (const at of elements) {
      const step = eps * Math.max(1, Math.abs(values[i]![at]!))
      const wanted = await slope(i, (k) => (k === at ? 1 : 0), step)
      const got = analytic[i]![at]!
      const error = off(got, wanted)
      if (!(error <= worst.error)) worst = { at, error, got, wanted }
    }
    if (worst.error <= 1) return
    throw new GradientError(
      `gradcheck: input ${i} ${formatShape(inputs[i]!.shape)}, element ${worst.at}: ` +
        `backward gives ${worst.got}, finite differences give ${worst.wanted}`,
    )
  }

  try {
    for (const i of checked) {
      const { size } = inputs[i]!
      if (size <= maxElements) {
        await inspect(
          i,
          Array.from({ length: size }, (_, k) => k),
        )
        continue
      }
      for (let d = 0; d < directions; d++) {
        const signs = Float64Array.from(
          { length: size },
          () => (prng.uniform() < 0.5 ? -1 : 1) / Math.sqrt(size),
        )
        const wanted = await slope(i, (at) => signs[at]!, eps * Math.sqrt(Math.min(size, 16)))
        const got = analytic[i]!.reduce((sum, g, at) => sum + g * signs[at]!, 0)
        if (off(got, wanted) <= 1) continue
        await inspect(i, prng.permutation(size).slice(0, maxElements))
        throw new GradientError(
          `gradcheck: input ${i} ${formatShape(inputs[i]!.shape)}: along a random direction backward gives ${got}, ` +
            `finite differences give ${wanted}; the ${maxElements} elements tried one by one were right, raise maxElements`,
        )
      }
    }
  } finally {
    for (const [i, x] of leaves.entries()) {
      if (x === inputs[i]) continue
      x.grad?.dispose()
      x.dispose()
    }
    y.dispose()
  }
}
