import source from '../../../kernels/max_pool2d.wgsl'
import { kernel } from '../../gpu/kernel.ts'
import { defineUnaryResult } from '../op.ts'
import { checkOptions } from '../options.ts'
import type { Span, Tensor } from '../tensor.ts'
import { imageShape, type Pair, type Pool, pixelThreads, pool2dShape } from './window.ts'

const maxPool = kernel('max_pool2d', source)

export interface MaxPool2dOptions {
  readonly kernelSize: Pair
  /** Default: kernelSize. */
  readonly stride?: Pair
  /** At most half the kernel; counts as −∞. */
  readonly padding?: Pair
  readonly dilation?: Pair
  /** Also a last window that begins inside and ends outside. */
  readonly ceilMode?: boolean
}

/** `span`: where x or its gradient lies. */
const params = ({ n, c, ...p }: Pool, { offset, gap }: Span, accumulate = false) => ({
  planes: n * c,
  ...p,
  lowest: Number.NEGATIVE_INFINITY,
  channels: c,
  offset,
  gap,
  accumulate: accumulate ? 1 : 0,
})

/** The common case, for which there is a kernel on vec4s. It finds a window's row by a division of floats. */
const isTwoByTwo = (p: Pool): boolean =>
  p.kh === 2 &&
  p.kw === 2 &&
  p.strideH === 2 &&
  p.strideW === 2 &&
  p.padH + p.padW === 0 &&
  p.dilationH === 1 &&
  p.dilationW === 1 &&
  p.w % 8 === 0 &&
  2 * p.outH <= p.h &&
  p.n * p.c * (p.outH + 1) < 2 ** 22

const apply = defineUnaryResult<Pool>({
  name: 'maxPool2d',
  half: { inputs: 'all' },
  forward(run, [x], p) {
    const planes = p.n * p.c
    const y = run.empty([p.n, p.c, p.outH, p.outW], x!.dtype)
    const fast = isTwoByTwo(p)
    const at = run.save(run.empty(fast ? [y.size / 4] : y.shape, 'uint32'))
    const { span } = x!
    run.launch({
      kernel: maxPool,
      entry: fast ? 'max_pool2d_2x2' : 'max_pool2d',
      bindings: fast ? { x4: x!, y4: y, at4_out: at } : { x: x!, y, at_out: at },
      inPlace: ['x', 'x4'],
      params: params(p, span),
      threads: fast ? y.size / 4 : pixelThreads(run.device.adapter.cpu, p.outH, p.outW, planes),
      flops: y.size * p.kh * p.kw,
    })
    return y
  },
  backward(run, { inputs: [x], saved: [at], grads: [dy], partial, attrs: p }) {
    const planes = p.n * p.c
    const known = partial(0)
    const dx = known ?? run.empty(x!.shape, x!.dtype)
    const { span } = dx
    const fast = isTwoByTwo(p)
    run.launch({
      kernel: maxPool,
      entry: fast ? 'max_pool2d_2x2_grad' : 'max_pool2d_grad',
      bindings: fast ? { dy4: dy!, at4: at!, dx4: dx } : { dy: dy!, at: at!, dx },
      inPlace: ['dx', 'dx4'],
      params: params(p, span, known !== undefined),
      threads: fast
        ? planes * Math.ceil(p.h / 2) * (p.w / 8)
        : pixelThreads(run.device.adapter.cpu, p.h, p.w, planes),
    })
    return [known ? undefined : dx]
  },
})

/**
 * Maximum over windows of x (N, C, H, W), as PyTorch's `max_pool2d`:
 *
 *     y[n,c,i,j] = max over k < kh, l < kw of x[n, c, i·stride − padding + k·dilation, j·…]
 *
 * with −∞ outside. Result (N, C, outH, outW), outH = ⌊(H + 2·padding − dilation·(kh − 1) − 1) / stride⌋ + 1, with
 * ceilMode ⌈…⌉ less a window that would begin in the padding. The gradient goes to the first maximum in
 * window order. A NaN in a window is its maximum. Throws a ShapeError where the kernel does not fit.
 */
export function maxPool2d(x: Tensor, options: MaxPool2dOptions): Tensor {
  checkOptions('maxPool2d', options, ['kernelSize'], ['stride', 'padding', 'dilation', 'ceilMode'])
  imageShape('maxPool2d', 'x', x)
  return apply([x], pool2dShape('maxPool2d', x.shape, options))
}
