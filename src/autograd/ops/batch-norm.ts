import source from '../../../kernels/batch_norm.wgsl'
import { ShapeError } from '../../gpu/errors.ts'
import { kernel } from '../../gpu/kernel.ts'
import { defineUnaryResult, type Run } from '../op.ts'
import { formatShape, type Shape, type Tensor } from '../tensor.ts'
import { checkActivation } from './fused-relu.ts'
import { fourSizes, imageShape } from './window.ts'

const batchNormKernel = kernel('batch_norm', source)

export interface BatchNormOptions {
  /** Scale of each channel (C). */
  readonly weight?: Tensor | undefined
  /** Offset of each channel (C). */
  readonly bias?: Tensor | undefined
  /** (C). Moved on in place in training, normalises in evaluation. */
  readonly runningMean?: Tensor | undefined
  /** (C). Takes the unbiased variance of the batch in training. */
  readonly runningVar?: Tensor | undefined
  /** True: the batch's own statistics. Default false: the running ones. */
  readonly training?: boolean
  /** Share of the batch in the new running statistics. Default 0.1. */
  readonly momentum?: number
  /** Default 1e-5. */
  readonly eps?: number
  /** 'relu' behind it, in the same launches. */
  readonly activation?: 'relu' | undefined
}

interface Attrs {
  readonly training: boolean
  readonly relu: boolean
  readonly momentum: number
  readonly eps: number
  readonly runningMean: Tensor | undefined
  readonly runningVar: Tensor | undefined
  readonly hasWeight: boolean
  readonly hasBias: boolean
}

/** Checks x and the number of values a channel; gives [N, C, H·W]. Needs no GPU. */
export function batchNormShape(x: Shape, training: boolean): [number, number, number] {
  const [n, c, h, w] = fourSizes('batchNorm', 'x', x)
  if (training && n * h * w < 2 && c > 0) {
    throw new ShapeError(
      'batchNorm',
      `training needs at least 2 values a channel, x is ${formatShape(x)}; use a larger batch, or evaluation mode`,
    )
  }
  return [n, c, h * w]
}

/** Longest run that one lane group sums: bounds what an outlying first value can cost in digits. */
const RUN_BLOCKS = 1024

/** How the sums over N and H·W are cut into workgroups, and the uniforms of every launch. */
function layout(run: Run, x: Shape, attrs: Attrs) {
  const { cpu } = run.device.adapter
  const [n, c, row] = batchNormShape(x, attrs.training)
  const lanes = cpu ? 8 : 64
  const aligned = row % 4 === 0
  const rowBlocks = aligned ? row / 4 : Math.ceil(row / 4) + 1
  const wanted = cpu ? 16 : 1024
  let blocks = Math.min(RUN_BLOCKS, Math.max(1, rowBlocks))
  while (blocks > 4 * lanes && c * n * Math.ceil(rowBlocks / blocks) < wanted) blocks = Math.ceil(blocks / 2)
  const segments = Math.ceil(rowBlocks / blocks)
  let runImages = segments > 1 ? 1 : Math.max(1, Math.min(n, Math.floor(RUN_BLOCKS / blocks)))
  while (runImages > 1 && c * Math.ceil(n / runImages) < wanted) runImages = Math.ceil(runImages / 2)
  const runs = segments * Math.ceil(n / runImages)
  const count = n * row
  return {
    lanes,
    runs,
    partials: runs * lanes,
    channels: c,
    params: {
      images: n,
      channels: c,
      row,
      blocks,
      run_images: runImages,
      segments,
      partials: runs * lanes,
      unbiased: count > 1 ? count / (count - 1) : 1,
      inverse_count: attrs.training ? 1 / count : 0,
      momentum: attrs.momentum,
      eps: attrs.eps,
      relu: attrs.relu ? 1 : 0,
      has_weight: attrs.hasWeight ? 1 : 0,
      has_bias: attrs.hasBias ? 1 : 0,
      // A forward pass that is run again for its gradients must not move them a second time.
      running: attrs.training && attrs.runningMean && !run.device.recomputation.again ? 1 : 0,
      add_weight: 0,
      add_bias: 0,
    },
    overrides: { WG: lanes },
    /** Entry point, bindings of whole arrays and extent of a launch over all elements. */
    every: (entry: string, arrays: Readonly<Record<string, Tensor>>) => ({
      entry: aligned ? entry : `${entry}_any`,
      arrays: aligned
        ? arrays
        : Object.fromEntries(Object.entries(arrays).map(([name, t]) => [`${name}1`, t])),
      workgroups: [Math.ceil(row / (4 * blocks)), Math.min(n * c, 65_535)] as const,
    }),
  }
}

type Layout = ReturnType<typeof layout>

/** Mean and biased variance of each channel of the batch; moves the running statistics on. */
function statistics(run: Run, x: Tensor, l: Layout, attrs: Attrs): [Tensor, Tensor] {
  const { channels, partials, runs, params, overrides } = l
  const moments = run.empty([channels, partials, 4])
  run.launch({
    kernel: batchNormKernel,
    entry: 'lane_statistics',
    bindings: { x, lane_moments: moments },
    params,
    overrides,
    workgroups: [channels, runs],
    flops: 4 * x.size,
  })
  const mean = run.empty([channels])
  const variance = run.empty([channels])
  run.launch({
    kernel: batchNormKernel,
    entry: 'reduce_statistics',
    bindings: {
      moments,
      batch_mean: mean,
      batch_variance: variance,
      running_mean: attrs.runningMean ?? run.empty([1]),
      running_variance: attrs.runningVar ?? run.empty([1]),
    },
    params,
    overrides,
    workgroups: [channels],
  })
  return [run.save(mean), run.save(variance)]
}

const apply = defineUnaryResult<Attrs>({
  name: 'batchNorm',
  forward(run, [x, ...affine], attrs) {
    const l = layout(run, x!.shape, attrs)
    const y = run.empty(x!.shape)
    if (y.size === 0) return y
    const [mean, variance] = attrs.training
      ? statistics(run, x!, l, attrs)
      : [attrs.runningMean!, attrs.runningVar!]
    const weight = attrs.hasWeight ? affine[0]! : mean
    const bias = attrs.hasBias ? affine[attrs.hasWeight ? 1 : 0]! : mean
    const { entry, arrays, workgroups } = l.every('normalize', { x: x!, result: y })
    run.launch({
      kernel: batchNormKernel,
      entry,
      bindings: { ...arrays, mean, variance, weight, bias },
      params: l.params,
      overrides: l.overrides,
      workgroups,
      flops: 3 * x!.size,
    })
    return y
  },
  backward(run, { inputs, outputs, saved, grads, needs, sink, attrs }) {
    const [x, ...affine] = inputs
    const dy = grads[0]!
    const y = attrs.relu ? outputs[0]! : x!
    const l = layout(run, x!.shape, attrs)
    const [mean, variance] = attrs.training ? saved : [attrs.runningMean, attrs.runningVar]
    const { channels, partials, runs, overrides } = l
    const weightAt = attrs.hasWeight ? 1 : -1
    const biasAt = attrs.hasBias ? (attrs.hasWeight ? 2 : 1) : -1
    const wantsWeight = weightAt > 0 && needs[weightAt]!
    const wantsBias = biasAt > 0 && needs[biasAt]!
    const intoWeight = wantsWeight ? sink(weightAt) : undefined
    const intoBias = wantsBias ? sink(biasAt) : undefined
    const params = { ...l.params, add_weight: intoWeight ? 1 : 0, add_bias: intoBias ? 1 : 0 }
    const dweight = run.empty([channels])
    const dbias = run.empty([channels])
    const sums = run.empty([channels, 2])
    const empty = x!.size === 0
    if (!empty && (attrs.training || wantsWeight || wantsBias)) {
      const products = run.empty([channels, partials, 2])
      run.launch({
        kernel: batchNormKernel,
        entry: 'lane_gradients',
        bindings: { x: x!, dy, y, mean: mean!, variance: variance!, lane_products: products },
        params,
        overrides,
        workgroups: [channels, runs],
        flops: 4 * x!.size,
      })
      run.launch({
        kernel: batchNormKernel,
        entry: 'reduce_gradients',
        bindings: {
          products,
          channel_sums: sums,
          dweight: intoWeight ?? dweight,
          dbias: intoBias ?? dbias,
        },
        params,
        overrides,
        workgroups: [channels],
      })
    } else run.device.clear(run.op, sums.storage)
    let dx: Tensor | undefined
    if (needs[0]) {
      dx = run.empty(x!.shape)
      const { entry, arrays, workgroups } = l.every('input_gradient', { x: x!, dy, y, result: dx })
      run.launch({
        kernel: batchNormKernel,
        entry,
        bindings: {
          ...arrays,
          mean: mean!,
          variance: variance!,
          weight: attrs.hasWeight ? affine[0]! : mean!,
          sums,
        },
        params,
        overrides,
        workgroups,
        flops: 6 * x!.size,
      })
    }
    const result: (Tensor | undefined)[] = [dx]
    if (weightAt > 0) result.push(wantsWeight && !intoWeight ? dweight : undefined)
    if (biasAt > 0) result.push(wantsBias && !intoBias ? dbias : undefined)
    return result
  },
})

function checkChannels(name: string, t: Tensor | undefined, channels: number): void {
  if (!t || (t.rank === 1 && t.shape[0] === channels && t.dtype === 'float32')) return
  throw new ShapeError(
    'batchNorm',
    `${name} must be float32 (${channels}), one value a channel of x, got ${t.dtype} ${formatShape(t.shape)}`,
  )
}

/**
 * Batch normalisation of x (N, C, H, W) over N, H and W, as PyTorch's `batch_norm`:
 *
 *     y = (x − mean) / √(var + eps) · weight + bias      then max(y, 0) with activation 'relu'
 *
 * In training mean and (biased) variance are the batch's, and the running statistics move in place:
 * running ← (1 − momentum)·running + momentum·batch, with the unbiased variance. In evaluation they are the
 * running ones. Differentiable in x, weight and bias; in training through mean and variance, too. Throws a
 * ShapeError for fewer than two values a channel in training, or statistics of another length than C.
 */
export function batchNorm(x: Tensor, options: BatchNormOptions = {}): Tensor {
  const { weight, bias, runningMean, runningVar, activation } = options
  const { training = false, momentum = 0.1, eps = 1e-5 } = options
  const [, c] = imageShape('batchNorm', 'x', x)
  batchNormShape(x.shape, training)
  checkChannels('weight', weight, c)
  checkChannels('bias', bias, c)
  checkChannels('runningMean', runningMean, c)
  checkChannels('runningVar', runningVar, c)
  checkActivation('batchNorm', activation)
  if (!runningMean !== !runningVar || (!training && !runningMean)) {
    throw new ShapeError(
      'batchNorm',
      `${training ? 'give both runningMean and runningVar, or neither' : 'evaluation needs runningMean and runningVar'}; got ${runningMean ? 'runningMean' : runningVar ? 'runningVar' : 'none'}`,
    )
  }
  runningMean?.assertAlive('batchNorm')
  runningVar?.assertAlive('batchNorm')
  const attrs: Attrs = {
    training,
    relu: activation === 'relu',
    momentum,
    eps,
    runningMean,
    runningVar,
    hasWeight: weight !== undefined,
    hasBias: bias !== undefined,
  }
  return apply([x, ...(weight ? [weight] : []), ...(bias ? [bias] : [])], attrs)
}
