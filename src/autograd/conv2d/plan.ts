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
import { directWeightGrad } from './direct-weight-grad.ts'
import { gemmForward, gemmInputGrad, gemmWeightGrad } from './gemm.ts'
import {
  planes3x3Forward,
  planes3x3InputGrad,
  planes3x3WeightGrad,
  planesForward,
  planesInputGrad,
  suitsPlanes,
} from './planes.ts'
import type { ConvAdapter, ConvEpilogue, ConvForm, ConvPart, ConvShape, ConvVariant } from './variant.ts'

export interface ConvPlan {
  forward: ConvVariant[]
  inputGrad: ConvVariant[]
  weightGrad: ConvVariant[]
  biasGrad: ConvVariant[]
}

/** For each part: products, windows of 3×3 a plane at a time, and what takes any shape. */
const FORMS: Readonly<Record<ConvPart, readonly [typeof gemmForward, ConvForm, ConvForm]>> = {
  forward: [gemmForward, planes3x3Forward, planesForward],
  inputGrad: [gemmInputGrad, planes3x3InputGrad, planesInputGrad],
  weightGrad: [gemmWeightGrad, planes3x3WeightGrad, directWeightGrad],
}

function plan(
  part: ConvPart,
  s: ConvShape,
  adapter: ConvAdapter,
  epilogue: ConvEpilogue = {},
): ConvVariant[] {
  const { cpu, matrices, cpuPlans, tuned } = adapter
  const [gemm, planes3x3, any] = FORMS[part]
  const products = gemm(s, adapter, epilogue)
  return ordered(
    matrices?.[part](s, epilogue),
    tuned?.best(part, s, adapter) ?? cpuPlans?.best(part, s, adapter) ?? suitsPlanes(part, s, adapter),
    ...(cpu ? [] : products),
    ...(cpuPlans?.variants(part, s, adapter, epilogue) ?? []),
    planes3x3(s, adapter, epilogue),
    any(s, adapter, epilogue),
    ...(tuned?.variants(part, s, adapter, epilogue) ?? []),
    ...(cpu ? products.filter((v) => v.name === 'gemm') : []),
  )
}

export function planConv2d(
  shape: ConvShape,
  adapter: ConvAdapter,
  epilogue: Partial<Record<keyof ConvPlan, ConvEpilogue>> = {},
): ConvPlan {
  return {
    forward: plan('forward', shape, adapter, epilogue.forward),
    inputGrad: plan('inputGrad', shape, adapter, epilogue.inputGrad),
    weightGrad: plan('weightGrad', shape, adapter, epilogue.weightGrad),
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
