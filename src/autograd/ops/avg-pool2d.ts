import source from '../../../kernels/avg_pool2d.wgsl'
import { ShapeError } from '../../gpu/errors.ts'
import { kernel } from '../../gpu/kernel.ts'
import { defineUnaryResult, type OpRule } from '../op.ts'
import { checkOptions } from '../options.ts'
import { formatShape, type Shape, type Tensor } from '../tensor.ts'
import { fourSizes, imageShape, type Pair, type Pool, pair, pixelThreads, pool2dShape } from './window.ts'

const avgPool = kernel('avg_pool2d', source)

export interface AvgPool2dOptions {
  readonly kernelSize: Pair
  /** Default: kernelSize. */
  readonly stride?: Pair
  /** Zeros on each side, at most half the kernel. */
  readonly padding?: Pair
  /** Also a last window that begins inside and ends outside. */
  readonly ceilMode?: boolean
  /** Whether padding counts in the mean. Default true. */
  readonly countIncludePad?: boolean
}

export interface AdaptiveAvgPool2dOptions {
  readonly outputSize: Pair
}

interface Attrs {
  readonly pool: Pool
  readonly countIncludePad: boolean
  readonly adaptive: boolean
}

function params({ pool, countIncludePad, adaptive }: Attrs) {
  const { n, c, dilationH: _h, dilationW: _w, ...p } = pool
  return { planes: n * c, ...p, count_pad: countIncludePad ? 1 : 0, adaptive: adaptive ? 1 : 0 }
}

/** Windows of this many elements are summed by a workgroup each. */
const WIDE = 64

const rule = (name: string): OpRule<Attrs> => ({
  name,
  half: { inputs: 'all' },
  forward(run, [x], attrs) {
    const p = attrs.pool
    const { cpu } = run.device.adapter
    const planes = p.n * p.c
    const y = run.empty([p.n, p.c, p.outH, p.outW], x!.dtype)
    const wide = p.kh * p.kw >= WIDE && p.outH * p.outW < 65_536
    run.launch({
      kernel: avgPool,
      entry: wide ? 'avg_pool2d_wide' : 'avg_pool2d',
      bindings: { x: x!, y },
      params: params(attrs),
      ...(wide
        ? {
            overrides: { WX: 8, WY: cpu ? 1 : 8 },
            workgroups: [p.outH * p.outW, Math.min(planes, 65_535)] as const,
          }
        : { threads: pixelThreads(cpu, p.outH, p.outW, planes) }),
      flops: y.size * p.kh * p.kw,
    })
    return y
  },
  backward(run, { inputs: [x], grads: [dy], attrs }) {
    const p = attrs.pool
    const dx = run.empty(x!.shape, x!.dtype)
    run.launch({
      kernel: avgPool,
      entry: 'avg_pool2d_grad',
      bindings: { dy: dy!, dx },
      params: params(attrs),
      threads: pixelThreads(run.device.adapter.cpu, p.h, p.w, Math.ceil((p.n * p.c) / 4)),
    })
    return [dx]
  },
})

const applyAvg = defineUnaryResult(rule('avgPool2d'))
const applyAdaptive = defineUnaryResult(rule('adaptiveAvgPool2d'))

/**
 * Mean over windows of x (N, C, H, W), as PyTorch's `avg_pool2d`:
 *
 *     y[n,c,i,j] = Σ_k,l x[n, c, i·stride − padding + k, j·…] / count
 *
 * with zeros outside. `count` is the window's size within image and padding, or with countIncludePad false
 * within the image. Result (N, C, outH, outW), sizes as of `maxPool2d`. Throws a ShapeError where the kernel
 * does not fit.
 */
export function avgPool2d(x: Tensor, options: AvgPool2dOptions): Tensor {
  checkOptions('avgPool2d', options, ['kernelSize'], ['stride', 'padding', 'ceilMode', 'countIncludePad'])
  const { countIncludePad = true, ...window } = options
  imageShape('avgPool2d', 'x', x)
  const pool = pool2dShape('avgPool2d', x.shape, window)
  return applyAvg([x], { pool, countIncludePad, adaptive: false })
}

/** Checks and shape of `adaptiveAvgPool2d`. Needs no GPU. */
export function adaptiveShape(x: Shape, outputSize: Pair): Pool {
  const op = 'adaptiveAvgPool2d'
  const [n, c, h, w] = fourSizes(op, 'x', x)
  const [outH, outW] = pair(op, 'outputSize', outputSize, 1)
  if (h < 1 || w < 1) throw new ShapeError(op, `x ${formatShape(x)} must have pixels`)
  // In 32-bit integers the kernel multiplies a place by a size.
  if (Math.max(h, w, outH, outW) > 32_767) {
    throw new ShapeError(op, `sizes go up to 32767, got ${h}×${w} to ${outH}×${outW}`)
  }
  const kh = Math.ceil(h / outH)
  const kw = Math.ceil(w / outW)
  const fixed = { strideH: 1, strideW: 1, padH: 0, padW: 0, dilationH: 1, dilationW: 1 }
  return { n, c, h, w, kh, kw, ...fixed, outH, outW }
}

/**
 * Mean over windows that share x (N, C, H, W) out among outH × outW outputs, as PyTorch's
 * `adaptive_avg_pool2d`: output i averages rows ⌊i·H/outH⌋ to ⌈(i + 1)·H/outH⌉ − 1; columns likewise.
 * `outputSize: 1` is the mean of each plane. Throws a ShapeError for sizes that are no whole numbers ≥ 1.
 */
export function adaptiveAvgPool2d(x: Tensor, options: AdaptiveAvgPool2dOptions): Tensor {
  checkOptions('adaptiveAvgPool2d', options, ['outputSize'], [])
  imageShape('adaptiveAvgPool2d', 'x', x)
  return applyAdaptive([x], {
    pool: adaptiveShape(x.shape, options.outputSize),
    countIncludePad: false,
    adaptive: true,
  })
}
