import source from '../../../kernels/interpolate.wgsl'
import { ShapeError } from '../../gpu/errors.ts'
import { kernel } from '../../gpu/kernel.ts'
import { defineUnaryResult, type OpLaunch } from '../op.ts'
import { checkOptions } from '../options.ts'
import type { Slot } from '../slots.ts'
import { formatShape, type Shape, type Tensor } from '../tensor.ts'
import { launchTwofold, type Twofold, twofoldOf } from './interpolate_twofold.ts'
import {
  fourColumns,
  fourSizes,
  imageShape,
  type Pair,
  pair,
  pixelThreads,
  places,
  ROWS_ON_CPU,
  storedInFours,
} from './window.ts'

const resize = kernel('interpolate', source)

export interface InterpolateOptions {
  /** Height and width of the result. */
  readonly size: Pair
  /** Default 'nearest'. */
  readonly mode?: 'nearest' | 'bilinear'
  /** Bilinear: corner pixels' centres stay in the corners. Default false: the image's edges do. */
  readonly alignCorners?: boolean
  /** Where the result is to lie: channels of a later `concat` (see `concatSlots`). */
  readonly into?: Slot | undefined
}

/** Rows of a gradient that an invocation takes on GPUs, each of which two rows of the result may share. */
const ROWS_OF_GRADIENT = 4

/** Columns of the result that go into four of x, as many as the kernel takes at once: those less than 1 away from them. */
const samplesOfFour = ({ aW, dW }: Readonly<Record<string, number>>): number => {
  const most = Math.ceil((5 * dW!) / Math.max(1, aW!))
  return most <= 4 ? 4 : most <= 8 ? 8 : 12
}

interface Resizing {
  readonly n: number
  readonly c: number
  readonly params: Readonly<Record<string, number>>
  /** If it is one of those by two. */
  readonly twofold: Twofold | undefined
}

interface Attrs extends Resizing {
  readonly into: Slot | undefined
}

/** Of fewer invocations along x most lanes of a CPU driver's subgroups would have no work. */
const NARROW = 8
/** So many lie side by side then. */
const ABREAST = 16
/** And so many there are in all: each takes a few planes, so that what their columns share is found less often. */
const WANTED = 2 ** 11

/**
 * How a kernel runs of which a plane takes so many invocations along x and y: those of narrow planes lie side by side on CPU
 * drivers, whose subgroups lie along x (lavapipe, 4×512×2² to 4²: 0.75 → 0.16 ms, the gradient 1.5 → 0.25). `usual` where
 * they don't.
 */
function abreast(cpu: boolean, across: number, down: number, planes: number, usual: OpLaunch['threads']) {
  const count = cpu && across < NARROW ? Math.min(planes, Math.ceil(ABREAST / across)) : 1
  const depth = Math.min(Math.ceil(planes / count), Math.ceil(WANTED / (count * across * down)))
  return {
    abreast: count,
    overrides: (count > 1
      ? { WX: ABREAST, WY: Math.min(4, 2 ** Math.ceil(Math.log2(down))) }
      : {}) as Readonly<Record<string, number>>,
    threads: count > 1 ? ([count * across, down, depth] as const) : usual,
  }
}

/** Largest size whose products the kernel's integers hold. */
const LARGEST = 16_384

/** Source coordinate max(0, a·i + b) / d of output i. */
function axis(size: number, out: number, mode: string, corners: boolean) {
  if (mode === 'nearest') return { a: size, b: 0, d: out }
  if (corners) return { a: out > 1 ? size - 1 : 0, b: 0, d: Math.max(1, out - 1) }
  return { a: 2 * size, b: size - out, d: 2 * out }
}

/** Checks and numbers of a resizing. Needs no GPU. */
export function interpolateShape(x: Shape, options: InterpolateOptions): Resizing {
  const op = 'interpolate'
  const { size, mode = 'nearest', alignCorners = false } = options
  const [n, c, h, w] = fourSizes(op, 'x', x)
  const [outH, outW] = pair(op, 'size', size, 1)
  if (mode !== 'nearest' && mode !== 'bilinear') {
    throw new ShapeError(op, `mode is 'nearest' or 'bilinear', got '${mode}'`)
  }
  if (mode === 'nearest' && alignCorners) {
    throw new ShapeError(op, `alignCorners goes with mode 'bilinear' only`)
  }
  if (h < 1 || w < 1) throw new ShapeError(op, `x ${formatShape(x)} must have pixels`)
  if (Math.max(h, w, outH, outW) > LARGEST) {
    throw new ShapeError(op, `sizes go up to ${LARGEST}, got ${h}×${w} to ${outH}×${outW}; resize a part`)
  }
  const v = axis(h, outH, mode, alignCorners)
  const u = axis(w, outW, mode, alignCorners)
  const params = {
    planes: n * c,
    channels: c,
    h,
    w,
    outH,
    outW,
    aH: v.a,
    bH: v.b,
    dH: v.d,
    aW: u.a,
    bW: u.b,
    dW: u.d,
    nearest: mode === 'nearest' ? 1 : 0,
  }
  return { n, c, params, twofold: twofoldOf(params) }
}

const apply = defineUnaryResult<Attrs>({
  name: 'interpolate',
  half: { inputs: 'all' },
  forward(run, [x], { n, c, params, twofold, into }) {
    const { outH, outW } = params as { outH: number; outW: number }
    const y = run.emptyIn(into, [n, c, outH, outW], x!.dtype)
    if (twofold) {
      launchTwofold(run, twofold, twofold.forward, { from: x!, to: y })
      return y
    }
    const { cpu } = run.device.adapter
    const rows = cpu ? ROWS_ON_CPU : 1
    const wide = cpu && outW % 4 === 0
    const [across, down] = [wide ? Math.ceil(outW / 8) : outW, Math.ceil(outH / rows)]
    const usual = pixelThreads(cpu, down, across, n * c)
    // Only the wide entry point, CPU drivers', finds planes side by side.
    const narrow = abreast(wide, across, down, n * c, usual)
    run.launch({
      kernel: resize,
      entry: wide ? 'interpolate_wide' : 'interpolate',
      bindings: wide ? { x: x!, y4: y } : { x: x!, y },
      inPlace: ['x', wide ? 'y4' : 'y'],
      params: { ...params, ...places(x!.span, y.span), abreast: narrow.abreast },
      overrides: { ROWS: rows, ...narrow.overrides },
      threads: narrow.threads,
      flops: params.nearest ? 0 : 9 * y.size,
    })
    return y
  },
  backward(run, { inputs: [x], grads: [dy], attrs: { n, c, params, twofold }, partial }) {
    const { h, w } = params as { h: number; w: number }
    const known = partial(0)
    const dx = known ?? run.empty(x!.shape, x!.dtype)
    if (twofold) {
      launchTwofold(run, twofold, twofold.backward, { from: dy!, to: dx, adds: known !== undefined })
      return [known ? undefined : dx]
    }
    const strips = fourColumns(run, ROWS_OF_GRADIENT, h, w, n * c)
    const { cpu } = run.device.adapter
    const down = Math.ceil(h / strips.overrides.ROWS)
    const narrow = abreast(cpu, Math.ceil(w / 4), down, n * c, strips.threads)
    const { WIDE, bindings } = storedInFours(run, dx, w)
    run.launch({
      kernel: resize,
      entry: 'interpolate_grad',
      bindings: { dy: dy!, ...bindings },
      inPlace: ['dy', 'y', 'y4'],
      params: { ...params, ...places(dy!.span, dx.span), abreast: narrow.abreast },
      overrides: {
        ...strips.overrides,
        ...narrow.overrides,
        WIDE,
        SAMPLES: samplesOfFour(params),
        ADDS: known ? 1 : 0,
      },
      threads: narrow.threads,
      flops: params.nearest ? 0 : 8 * dy!.size,
    })
    return [known ? undefined : dx]
  },
})

/**
 * Resizes x (N, C, H, W) to (N, C, …size), as PyTorch's `interpolate`. 'nearest' takes row ⌊i·H/outH⌋.
 * 'bilinear' mixes the four neighbours of the source point s:
 *
 *     s = (i + ½)·H/outH − ½, at least 0          alignCorners: s = i·(H − 1)/(outH − 1)
 *
 * It does not smooth before shrinking. Coordinates are computed in whole numbers, so weights are exact at
 * any factor. Differentiable in x. Throws a ShapeError for sizes below 1 or above 16384.
 */
export function interpolate(x: Tensor, options: InterpolateOptions): Tensor {
  checkOptions('interpolate', options, ['size'], ['mode', 'alignCorners', 'into'])
  imageShape('interpolate', 'x', x)
  return apply([x], { ...interpolateShape(x.shape, options), into: options.into })
}
