/**
 * Which kernels compute a convolution, its two transposes and its bias gradient, for one shape on one adapter.
 *
 * Pure: no GPU, no engine. A variant is a list of dispatches in order; the first variant of a list is the
 * default, the others are what a tuner may measure against it. All variants of a list compute the same.
 *
 *   forward      y  = conv(x, weight) + bias, ReLU          reads x, weight, bias     writes y
 *   inputGrad    dx = convᵀ(dy, weight) + bias, ReLU        reads dy, weight, bias    writes dx   (= convTranspose2d)
 *   weightGrad   dw = Σ dy ⊗ x                              reads x, dy               writes dw
 *   biasGrad     db = Σ dy                                  reads dy                  writes db
 *
 * `accumulate` adds to what the output holds instead of overwriting it.
 */
import { biasGrad } from './bias.ts'
import { directForward, directInputGrad, directWeightGrad } from './direct.ts'
import { gemmForward, gemmInputGrad, gemmWeightGrad } from './gemm.ts'
import {
  planes3x3Forward,
  planes3x3InputGrad,
  planes3x3WeightGrad,
  planesForward,
  planesInputGrad,
  planesWeightGrad,
  suitsPlanes,
  suitsPlanesWeightGrad,
} from './planes.ts'
import type { ConvAdapter, ConvEpilogue, ConvPart, ConvShape, ConvVariant } from './variant.ts'

export interface ConvPlan {
  forward: ConvVariant[]
  inputGrad: ConvVariant[]
  weightGrad: ConvVariant[]
  biasGrad: ConvVariant[]
}

export function planConv2d(
  shape: ConvShape,
  adapter: ConvAdapter,
  epilogue: {
    forward?: ConvEpilogue
    inputGrad?: ConvEpilogue
    weightGrad?: ConvEpilogue
    biasGrad?: ConvEpilogue
  } = {},
): ConvPlan {
  const forward = epilogue.forward ?? {}
  const inputGrad = epilogue.inputGrad ?? {}
  const weightGrad = epilogue.weightGrad ?? {}
  const onGpu = !adapter.cpu
  const { matrices, cpuPlans, winograd } = adapter
  const best = (part: ConvPart) =>
    winograd?.best(part, shape, adapter) ?? cpuPlans?.best(part, shape, adapter)
  return {
    forward: ordered(
      matrices?.forward(shape, forward),
      best('forward') ?? suitsPlanes(shape, shape.cout),
      ...(onGpu ? gemmForward(shape, adapter, forward) : []),
      ...(cpuPlans?.variants('forward', shape, adapter, forward) ?? []),
      planes3x3Forward(shape, adapter, forward),
      planesForward(shape, adapter, forward),
      ...(winograd?.variants('forward', shape, adapter, forward) ?? []),
      directForward(shape, forward),
      ...(onGpu ? [] : gemmForward(shape, adapter, forward).filter((v) => v.name === 'gemm')),
    ),
    inputGrad: ordered(
      matrices?.inputGrad(shape, inputGrad),
      best('inputGrad') ?? suitsPlanes(shape, shape.cin),
      ...(onGpu ? gemmInputGrad(shape, adapter, inputGrad) : []),
      ...(cpuPlans?.variants('inputGrad', shape, adapter, inputGrad) ?? []),
      planes3x3InputGrad(shape, adapter, inputGrad),
      planesInputGrad(shape, adapter, inputGrad),
      ...(winograd?.variants('inputGrad', shape, adapter, inputGrad) ?? []),
      directInputGrad(shape, inputGrad),
      ...(onGpu ? [] : gemmInputGrad(shape, adapter, inputGrad).filter((v) => v.name === 'gemm')),
    ),
    weightGrad: ordered(
      matrices?.weightGrad(shape, weightGrad),
      best('weightGrad') ?? suitsPlanesWeightGrad(shape, adapter),
      ...(onGpu ? gemmWeightGrad(shape, adapter, weightGrad) : []),
      ...(cpuPlans?.variants('weightGrad', shape, adapter, weightGrad) ?? []),
      planes3x3WeightGrad(shape, adapter, weightGrad),
      onGpu ? undefined : planesWeightGrad(shape, adapter, weightGrad),
      ...(winograd?.variants('weightGrad', shape, adapter, weightGrad) ?? []),
      directWeightGrad(shape, adapter, weightGrad),
      // Pages on a GPU load it for the tuner alone.
      onGpu ? planesWeightGrad(shape, adapter, weightGrad) : undefined,
      ...(onGpu ? [] : gemmWeightGrad(shape, adapter, weightGrad).slice(0, 1)),
    ),
    biasGrad: [biasGrad(shape, adapter, epilogue.biasGrad ?? {})],
  }
}

/** The variants there are: the given one first if there is one, then the one of that name. */
function ordered(
  best: ConvVariant | undefined,
  first: string | undefined,
  ...variants: (ConvVariant | undefined)[]
): ConvVariant[] {
  const there = variants.filter((v) => v !== undefined)
  return [
    ...(best ? [best] : []),
    ...there.filter((v) => v.name === first),
    ...there.filter((v) => v.name !== first),
  ]
}
