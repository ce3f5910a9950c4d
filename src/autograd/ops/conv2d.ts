import { ShapeError } from '../../gpu/errors.ts'
import type { ConvShape } from '../conv2d/variant.ts'
import { defineUnaryResult } from '../op.ts'
import { checkOptions } from '../options.ts'
import type { Slot } from '../slots.ts'
import { checkTensor, formatShape, type Shape, type Tensor } from '../tensor.ts'
import { runGradients } from './conv2d_gradients.ts'
import { runConv } from './conv2d_run.ts'
import { checkActivation, reluGrad } from './fused-relu.ts'
import { fourSizes, imageShape, type Pair, pair } from './window.ts'

export interface Conv2dOptions {
  /** (outChannels). */
  readonly bias?: Tensor | undefined
  readonly stride?: Pair
  /** Zeros on each side. */
  readonly padding?: Pair
  readonly dilation?: Pair
  /** Blocks of channels that do not see each other; as many as input channels for a depthwise convolution. */
  readonly groups?: number
  /** 'relu' is computed as part of the convolution, and its gradient with the convolution's. */
  readonly activation?: 'relu' | undefined
  /** Where the result is to lie: channels of a later `concat` (see `concatSlots`). */
  readonly into?: Slot | undefined
}

type Geometry = Omit<Conv2dOptions, 'bias' | 'activation' | 'into'>

/** The numbers of a convolution, checked. Needs no GPU. */
export function conv2dShape(
  x: Shape,
  weight: Shape,
  { stride = 1, padding = 0, dilation = 1, groups = 1 }: Geometry = {},
): ConvShape {
  const op = 'conv2d'
  const [n, cin, h, w] = fourSizes(op, 'x', x)
  if (weight.length !== 4) {
    throw new ShapeError(
      op,
      `weight must be (outChannels, inChannels / groups, kernelHeight, kernelWidth), got ${formatShape(weight)}`,
    )
  }
  const [cout, cinGroup, kh, kw] = fourSizes(op, 'weight', weight)
  const [strideH, strideW] = pair(op, 'stride', stride, 1)
  const [padH, padW] = pair(op, 'padding', padding, 0)
  const [dilationH, dilationW] = pair(op, 'dilation', dilation, 1)
  if (!Number.isInteger(groups) || groups < 1) {
    throw new ShapeError(op, `groups is a whole number of at least 1, got ${groups}`)
  }
  if (cinGroup * groups !== cin) {
    const with_ = groups === 1 ? '' : ` with groups ${groups}`
    throw new ShapeError(
      op,
      `weight ${formatShape(weight)}${with_} expects ${cinGroup * groups} input channels, x has ${cin}; pass groups or another weight`,
    )
  }
  if (cout % groups !== 0) {
    throw new ShapeError(
      op,
      `weight ${formatShape(weight)} has ${cout} output channels, which ${groups} groups do not divide`,
    )
  }
  if (Math.min(n, cin, cout, kh, kw) < 1) {
    throw new ShapeError(op, `x ${formatShape(x)} and weight ${formatShape(weight)} must not be empty`)
  }
  const outH = Math.floor((h + 2 * padH - dilationH * (kh - 1) - 1) / strideH) + 1
  const outW = Math.floor((w + 2 * padW - dilationW * (kw - 1) - 1) / strideW) + 1
  if (outH < 1 || outW < 1) {
    throw new ShapeError(
      op,
      `a ${kh}×${kw} kernel with dilation ${dilationH}×${dilationW} does not fit into x ${formatShape(x)} with padding ${padH}×${padW}; pass more padding or a larger image`,
    )
  }
  return {
    n, cin, h, w, cout, kh, kw, strideH, strideW, padH, padW, dilationH, dilationW, groups, outH, outW,
  } // biome-ignore format: one line a thought
}

export function checkBias(op: string, bias: Tensor | undefined, channels: number): void {
  if (!bias) return
  checkTensor(op, 'bias', bias)
  if (bias.rank !== 1 || bias.shape[0] !== channels || bias.dtype !== 'float32') {
    throw new ShapeError(
      op,
      `bias must be float32 (${channels}), one value an output channel, got ${bias.dtype} ${formatShape(bias.shape)}`,
    )
  }
}

interface Attrs {
  readonly shape: ConvShape
  readonly relu: boolean
  readonly into: Slot | undefined
}

const apply = defineUnaryResult<Attrs>({
  name: 'conv2d',
  half: { inputs: [0], lower: true },
  forward(run, [x, weight, bias], { shape, relu, into }) {
    const y = run.emptyIn(into, [shape.n, shape.cout, shape.outH, shape.outW], x!.dtype)
    const buffers = { x: x!, weight: weight!, y, ...(bias ? { bias } : {}) }
    runConv(run, 'forward', shape, { bias: bias !== undefined, relu }, buffers)
    return y
  },
  backward(run, at) {
    const { shape, relu } = at.attrs
    const dy = relu ? reluGrad(run, at.outputs[0]!, at.grads[0]!) : at.grads[0]!
    return runGradients(run, shape, dy, at)
  },
})

/**
 * Two-dimensional convolution (cross-correlation, as PyTorch's `conv2d`):
 *
 *     y[n,o,i,j] = bias[o] + Σ_c,k,l weight[o,c,k,l] · x[n, g·Cin/G + c, i·stride − padding + k·dilation, j·…]
 *
 * with x zero outside, g the group of o. x (N, Cin, H, W), weight (Cout, Cin / groups, kh, kw), result
 * (N, Cout, outH, outW), outH = ⌊(H + 2·padding − dilation·(kh − 1) − 1) / stride⌋ + 1. Differentiable in x,
 * weight and bias. Throws a ShapeError where channels, groups or sizes do not fit.
 */
export function conv2d(x: Tensor, weight: Tensor, options: Conv2dOptions = {}): Tensor {
  checkOptions(
    'conv2d',
    options,
    [],
    ['bias', 'stride', 'padding', 'dilation', 'groups', 'activation', 'into'],
  )
  const { bias, activation, into, ...geometry } = options
  imageShape('conv2d', 'x', x)
  if (!weight)
    throw new ShapeError(
      'conv2d',
      'pass a weight (outChannels, inChannels / groups, kernelHeight, kernelWidth)',
    )
  checkTensor('conv2d', 'weight', weight)
  const shape = conv2dShape(x.shape, weight.shape, geometry)
  if (weight.dtype !== 'float32')
    throw new ShapeError('conv2d', `weight must be float32, got ${weight.dtype}`)
  checkBias('conv2d', bias, shape.cout)
  checkActivation('conv2d', activation)
  return apply(bias ? [x, weight, bias] : [x, weight], { shape, relu: activation === 'relu', into })
}
