import { ShapeError } from '../../gpu/errors.ts'
import type { ConvShape } from '../conv2d/variant.ts'
import { defineUnaryResult } from '../op.ts'
import { checkOptions } from '../options.ts'
import type { Slot } from '../slots.ts'
import { checkTensor, formatShape, type Shape, type Tensor } from '../tensor.ts'
import { type Conv2dOptions, checkBias } from './conv2d.ts'
import { runWeightGrads } from './conv2d_gradients.ts'
import { runConv } from './conv2d_run.ts'
import { checkActivation, reluGrad } from './fused-relu.ts'
import { fourSizes, imageShape, type Pair, pair } from './window.ts'

export interface ConvTranspose2dOptions extends Conv2dOptions {
  /** Rows and columns added at the end, to choose among the sizes that the stride rounds to one. */
  readonly outputPadding?: Pair
}

type Geometry = Omit<ConvTranspose2dOptions, 'bias' | 'activation' | 'into'>

/**
 * The numbers of the convolution whose transpose this is: its x is our result, its y our x. Needs no GPU.
 */
export function convTranspose2dShape(
  x: Shape,
  weight: Shape,
  { stride = 1, padding = 0, outputPadding = 0, dilation = 1, groups = 1 }: Geometry = {},
): ConvShape {
  const op = 'convTranspose2d'
  const [n, cin, h, w] = fourSizes(op, 'x', x)
  if (weight.length !== 4) {
    throw new ShapeError(
      op,
      `weight must be (inChannels, outChannels / groups, kernelHeight, kernelWidth), got ${formatShape(weight)}`,
    )
  }
  const [rows, coutGroup, kh, kw] = fourSizes(op, 'weight', weight)
  const [strideH, strideW] = pair(op, 'stride', stride, 1)
  const [padH, padW] = pair(op, 'padding', padding, 0)
  const [moreH, moreW] = pair(op, 'outputPadding', outputPadding, 0)
  const [dilationH, dilationW] = pair(op, 'dilation', dilation, 1)
  if (!Number.isInteger(groups) || groups < 1) {
    throw new ShapeError(op, `groups is a whole number of at least 1, got ${groups}`)
  }
  if (rows !== cin) {
    throw new ShapeError(
      op,
      `weight ${formatShape(weight)} expects ${rows} input channels, x has ${cin}; the first axis of a transposed weight is the input's`,
    )
  }
  if (cin % groups !== 0) {
    throw new ShapeError(op, `x has ${cin} channels, which ${groups} groups do not divide`)
  }
  if (Math.min(n, cin, coutGroup, kh, kw, h, w) < 1) {
    throw new ShapeError(op, `x ${formatShape(x)} and weight ${formatShape(weight)} must not be empty`)
  }
  if (moreH >= Math.max(strideH, dilationH) || moreW >= Math.max(strideW, dilationW)) {
    throw new ShapeError(
      op,
      `outputPadding ${moreH}×${moreW} must be smaller than stride ${strideH}×${strideW} or dilation ${dilationH}×${dilationW}`,
    )
  }
  const outH = (h - 1) * strideH - 2 * padH + dilationH * (kh - 1) + moreH + 1
  const outW = (w - 1) * strideW - 2 * padW + dilationW * (kw - 1) + moreW + 1
  if (outH < 1 || outW < 1) {
    throw new ShapeError(
      op,
      `padding ${padH}×${padW} leaves nothing of the ${kh}×${kw} kernel over x ${formatShape(x)}; pass less padding`,
    )
  }
  return {
    n, cin: coutGroup * groups, h: outH, w: outW, cout: cin, kh, kw,
    strideH, strideW, padH, padW, dilationH, dilationW, groups, outH: h, outW: w,
  } // biome-ignore format: one line a thought
}

interface Attrs {
  readonly shape: ConvShape
  readonly relu: boolean
  readonly into: Slot | undefined
}

const apply = defineUnaryResult<Attrs>({
  name: 'convTranspose2d',
  half: { inputs: [0], lower: true },
  forward(run, [x, weight, bias], { shape, relu, into }) {
    const y = run.emptyIn(into, [shape.n, shape.cin, shape.h, shape.w], x!.dtype)
    const buffers = { dy: x!, weight: weight!, dx: y, ...(bias ? { bias } : {}) }
    runConv(run, 'inputGrad', shape, { bias: bias !== undefined, relu }, buffers)
    return y
  },
  backward(run, at) {
    const { inputs, outputs, grads, needs, partial } = at
    const { shape, relu } = at.attrs
    const [x, weight] = inputs
    const dy = relu ? reluGrad(run, outputs[0]!, grads[0]!) : grads[0]!
    let dx: Tensor | undefined
    if (needs[0]) {
      const known = partial(0)
      if (!known) dx = run.empty(x!.shape, x!.dtype)
      const accumulate = known !== undefined
      runConv(run, 'forward', shape, { accumulate }, { x: dy, weight: weight!, y: known ?? dx! })
    }
    // The bias belongs to our result, which is the convolution's x.
    return [dx, ...runWeightGrads(run, shape, { x: dy, dy: x! }, 'x', at)]
  },
})

/**
 * The transpose of `conv2d` as a linear map (PyTorch's `conv_transpose2d`):
 *
 *     y[n, g·Cout/G + o, i·stride − padding + k·dilation, j·…] += x[n,c,i,j] · weight[c,o,k,l],  then + bias
 *
 * x (N, Cin, H, W), weight (Cin, Cout / groups, kh, kw), result (N, Cout, outH, outW) with
 * outH = (H − 1)·stride − 2·padding + dilation·(kh − 1) + outputPadding + 1. It runs on conv2d's kernel for
 * the gradient of its input; the gradients here are conv2d and its weight gradient with x and dy exchanged.
 * Differentiable in x, weight and bias. Throws a ShapeError where channels, groups or sizes do not fit.
 */
export function convTranspose2d(x: Tensor, weight: Tensor, options: ConvTranspose2dOptions = {}): Tensor {
  const op = 'convTranspose2d'
  checkOptions(
    op,
    options,
    [],
    ['bias', 'stride', 'padding', 'dilation', 'groups', 'activation', 'into', 'outputPadding'],
  )
  const { bias, activation, into, ...geometry } = options
  imageShape(op, 'x', x)
  if (!weight)
    throw new ShapeError(op, 'pass a weight (inChannels, outChannels / groups, kernelHeight, kernelWidth)')
  checkTensor(op, 'weight', weight)
  const shape = convTranspose2dShape(x.shape, weight.shape, geometry)
  if (weight.dtype !== 'float32') {
    throw new ShapeError('convTranspose2d', `weight must be float32, got ${weight.dtype}`)
  }
  checkBias('convTranspose2d', bias, shape.cin)
  checkActivation('convTranspose2d', activation)
  return apply(bias ? [x, weight, bias] : [x, weight], { shape, relu: activation === 'relu', into })
}
