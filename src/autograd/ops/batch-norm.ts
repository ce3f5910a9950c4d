import source from '../../../kernels/batch_norm.wgsl'
import { ShapeError } from '../../gpu/errors.ts'
import { type KernelFor, summing } from '../../gpu/summing.ts'
import type { Device } from '../device.ts'
import { defineOp, type OpLaunch, type Run } from '../op.ts'
import { checkOptions, checkRates } from '../options.ts'
import type { Slot } from '../slots.ts'
import { formatShape, type Shape, type Span, type Tensor } from '../tensor.ts'
import { checkActivation } from './fused-relu.ts'
import { maxPool2d } from './max-pool2d.ts'
import { fourSizes, imageShape, pool2dShape } from './window.ts'

const batchNorms = summing('batch_norm', source, true)

/** The kernels that pool, too, from when `openDevice` gave their text: in Node and, in pages, on CPU drivers. */
let pooledNorms: KernelFor | undefined

export function setPooledBatchNorm(text: string): void {
  pooledNorms ??= summing('batch_norm_pooled', text, true)
}

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
  /** Where the result is to lie: channels of a later `concat` (see `concatSlots`). */
  readonly into?: Slot | undefined
}

const OPTIONS = [
  'weight',
  'bias',
  'runningMean',
  'runningVar',
  'training',
  'momentum',
  'eps',
  'activation',
  'into',
]

interface Attrs {
  readonly training: boolean
  readonly relu: boolean
  readonly momentum: number
  readonly eps: number
  readonly runningMean: Tensor | undefined
  readonly runningVar: Tensor | undefined
  readonly hasWeight: boolean
  readonly hasBias: boolean
  readonly into: Slot | undefined
  /** The 2×2 maxima of y are a second result. */
  readonly pooled: boolean
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

/** Longest run of vec4s that a workgroup sums: what is summed about is a value of the run, and fewer terms keep more digits. */
const RUN_BLOCKS = 1024

/** Vec4s that hold a row, at most. Where it is no whole vec4s the outer two hold neighbours, too. */
const blocksOf = (row: number): number => (row + (row % 4 ? 7 : 0)) >> 2

/**
 * Whether a channel's values are few enough for one workgroup, so that each way is one launch. From eight channels on the CPU bound is of
 * digits, a lane adds up 2,048 vec4s: one launch is no slower than two (lavapipe, to 4×512²). Of fewer channels threads may have no work, for which the
 * second launch makes up (4×8×8² to 4×8×64² 0.4 to 0.7 of the time of two launches, 4×1×8² to 4×1×64² 0.4 to 0.5). The
 * bound for GPUs is a guess: four vec4s a lane of 256.
 */
function suitsWorkgroup({ adapter }: Device, x: Shape): boolean {
  const [n, c, row] = batchNormShape(x, false)
  return n * blocksOf(row) <= (adapter.cpu ? 2 ** 11 * Math.min(c, 8) : 2 ** 10)
}

/** How N and H·W are cut into workgroups of so many lanes: images and vec4s of a row for each. */
function runsOf(cpu: boolean, n: number, c: number, rowBlocks: number, lanes: number) {
  const wanted = cpu ? 16 : 1024
  let blocks = Math.min(RUN_BLOCKS, rowBlocks)
  while (blocks > 4 * lanes && c * n * Math.ceil(rowBlocks / blocks) < wanted) blocks = Math.ceil(blocks / 2)
  const segments = Math.ceil(rowBlocks / blocks)
  let images = segments > 1 ? 1 : Math.min(n, Math.floor(RUN_BLOCKS / blocks))
  while (images > 1 && c * Math.ceil(n / images) < wanted) images = Math.ceil(images / 2)
  return { blocks, segments, images }
}

/** Workgroups and the uniforms of every launch; `whole`: a workgroup, or a lane, takes a channel. */
function layout(run: Run, x: Shape, attrs: Attrs, whole: boolean) {
  const { cpu } = run.device.adapter
  const [n, c, row] = batchNormShape(x, attrs.training)
  const lanes = cpu ? 8 : whole ? 256 : 64
  const aligned = row % 4 === 0
  const rowBlocks = blocksOf(row)
  // Four windows of 2×2 take four vec4s.
  const unit = attrs.pooled ? 4 : 1
  const { blocks, segments, images } = whole
    ? { blocks: rowBlocks, segments: 1, images: n }
    : runsOf(cpu, n, c, rowBlocks, lanes)
  const imageRuns = Math.ceil(n / images)
  const runs = segments * imageRuns
  const count = n * row
  // Each lane takes a channel: of small images, what a workgroup does once takes longer than summing them (lavapipe, 4×16×8² to
  // 16×64×16² forward 0.7 to 0.9 of the time, backward 0.7 to 1.0; SwiftShader, without barriers then, 0.3 to 0.7). At 32² and 64² it takes
  // 1.1 to 1.4: channels lie a multiple of 4 kB apart there, and eight of them, of x, dy and dx, rival for the same lines of a cache. A lane adds up
  // 2,048 vec4s at most, fewer of few channels, whose workgroups would leave threads without work (measured with two; c / 8 there are).
  const apart = whole && cpu && c % 8 === 0 && row < 1024 && n * rowBlocks <= 16 * Math.min(c, 128)
  const join = whole ? !apart : !cpu
  const shift = apart ? 3 : Math.min(Math.log2(lanes), Math.ceil(Math.log2(blocks / unit)))
  const partials = join ? runs : runs * lanes
  return {
    channels: c,
    partials,
    /** More partial sums a channel than this are added up by a launch of their own. */
    many: partials > (cpu ? 64 : 32),
    overrides: { WG: lanes, JOIN: +join },
    workgroups: [apart ? c / 8 : c, segments, imageRuns] as const,
    params: {
      images: n,
      channels: c,
      row,
      w: x[3]!,
      blocks,
      run_images: images,
      segments,
      across: apart ? 1 : 2 ** shift,
      shift,
      partials,
      offset: 0,
      gap: 0,
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
      add_input: 0,
    },
    /** The kernels of launches that write all elements. */
    kernel: (attrs.pooled ? pooledNorms! : batchNorms)(run.device.adapter),
    /** Entry point and bindings of a launch over all elements that writes `result`. */
    every: (entry: string, result: Tensor) => ({
      entry: aligned ? entry : `${entry}_any`,
      written: { [aligned ? 'result' : 'result1']: result },
    }),
  }
}

type Layout = ReturnType<typeof layout>

/** A channel of a larger array, as the kernels' offset and gap in vec4s. */
const spanParams = ({ offset, gap }: Span) => ({ offset: offset / 4, gap: gap / 4 })

/** Partial sums, and how many of them a channel has. */
interface Partials {
  readonly sums: Tensor
  readonly partials: number
}

/** The sums of a channel: moments of x (4 numbers), or products of x and dy, Σ dz and Σ dz·x̂. */
function partialSums(
  run: Run,
  l: Layout,
  what: 'moments' | 'products',
  launch: Pick<OpLaunch, 'entry' | 'bindings' | 'flops'>,
  place: { offset?: number; gap?: number } = {},
): Partials {
  const { channels, partials, params, overrides } = l
  const numbers = what === 'moments' ? 4 : 2
  const sums = run.empty([channels, partials, numbers])
  run.launch({
    ...launch,
    kernel: batchNorms(run.device.adapter),
    bindings: { ...launch.bindings, [`part_${what}`]: sums },
    inPlace: ['dy'],
    params: { ...params, ...place },
    overrides,
    workgroups: l.workgroups,
  })
  if (!l.many) return { sums, partials }
  const one = run.empty([channels, numbers])
  run.launch({
    kernel: batchNorms(run.device.adapter),
    entry: `reduce_${what}`,
    bindings: { [what]: sums, [`part_${what}`]: one },
    params,
    overrides,
    workgroups: [channels],
  })
  return { sums: one, partials: 1 }
}

const apply = defineOp<Attrs>({
  name: 'batchNorm',
  half: { inputs: [0] },
  forward(run, [x, ...affine], attrs) {
    const whole = attrs.training && suitsWorkgroup(run.device, x!.shape)
    const l = layout(run, x!.shape, attrs, whole)
    const y = run.emptyIn(attrs.into, x!.shape, x!.dtype)
    const saved = run.save(run.empty([l.channels, 5]))
    if (y.size === 0) return y
    const [n, c, h, w] = x!.shape as [number, number, number, number]
    const maxima = attrs.pooled ? run.empty([n, c, h / 2, w / 2], x!.dtype) : undefined
    const batch =
      attrs.training && !whole
        ? partialSums(run, l, 'moments', { entry: 'statistics', bindings: { x: x! }, flops: 4 * x!.size })
        : undefined
    const unused = batch?.sums ?? (attrs.training ? run.empty([1]) : attrs.runningMean!)
    const weight = attrs.hasWeight ? affine[0]! : unused
    const bias = attrs.hasBias ? affine[attrs.hasWeight ? 1 : 0]! : unused
    const { span } = y
    const name = whole ? 'normalize_channel' : batch ? 'normalize_batch' : 'normalize'
    const { entry, written } = l.every(name, y)
    run.launch({
      kernel: l.kernel,
      entry,
      bindings: {
        x: x!,
        ...written,
        ...(maxima && { maxima }),
        ...(batch && { moments: batch.sums }),
        ...(attrs.training
          ? {
              running_mean: attrs.runningMean ?? run.empty([1]),
              running_variance: attrs.runningVar ?? run.empty([1]),
            }
          : { mean: attrs.runningMean!, variance: attrs.runningVar! }),
        weight,
        bias,
        save: saved,
      },
      inPlace: ['result'],
      params: { ...l.params, ...spanParams(span), partials: batch?.partials ?? 0 },
      overrides: l.overrides,
      workgroups: l.workgroups,
      flops: (whole ? 7 : 3) * x!.size,
    })
    return maxima ? [y, maxima] : y
  },
  backward(run, { inputs, saved: [saved], grads, needs, sink, partial, attrs: given }) {
    const [x] = inputs
    // Where no gradient of the maxima arrived, that of y is all there is.
    const attrs = grads[1] ? given : { ...given, pooled: false }
    const dy = grads[0] ?? run.zeros(x!.shape, x!.dtype)
    const dmaxima = grads[1] && { dmaxima: grads[1] }
    const weightAt = attrs.hasWeight ? 1 : -1
    const biasAt = attrs.hasBias ? (attrs.hasWeight ? 2 : 1) : -1
    const wantsWeight = weightAt > 0 && needs[weightAt]!
    const wantsBias = biasAt > 0 && needs[biasAt]!
    const intoWeight = wantsWeight ? sink(weightAt) : undefined
    const intoBias = wantsBias ? sink(biasAt) : undefined
    const dweight = run.empty([x!.shape[1]!])
    const dbias = run.empty([x!.shape[1]!])
    const left = needs[0] ? partial(0) : undefined
    // The kernels write a dense array.
    const known = left?.channels ? undefined : left
    // What pools takes the gradient of the maxima in the passes that give dx, wanted or not.
    const dx = needs[0] || attrs.pooled ? (known ?? run.empty(x!.shape, x!.dtype)) : undefined
    const summed = attrs.training || wantsWeight || wantsBias
    const whole = summed && dx !== undefined && suitsWorkgroup(run.device, x!.shape)
    const l = layout(run, x!.shape, attrs, whole)
    if (x!.size > 0) {
      const place = spanParams(dy.span)
      const { sums, partials } =
        summed && !whole
          ? partialSums(
              run,
              l,
              'products',
              {
                entry: 'gradient_sums',
                bindings: { x: x!, dy, saved: saved! },
                flops: 7 * x!.size,
              },
              place,
            )
          : { sums: run.empty([2]), partials: 0 }
      const common = {
        params: {
          ...l.params,
          ...place,
          partials,
          add_weight: intoWeight && !run.device.spareClear(intoWeight) ? 1 : 0,
          add_bias: intoBias && !run.device.spareClear(intoBias) ? 1 : 0,
          add_input: known ? 1 : 0,
        },
      }
      const bindings = {
        ...(!whole && { products: sums }),
        dweight: intoWeight ?? dweight,
        dbias: intoBias ?? dbias,
      }
      if (dx) {
        const name = whole ? 'channel_gradient' : 'input_gradient'
        const { entry, written } = l.every(name, dx)
        run.launch({
          ...common,
          kernel: l.kernel,
          entry,
          bindings: { ...bindings, x: x!, dy, ...written, ...dmaxima, saved: saved! },
          inPlace: ['dy'],
          overrides: l.overrides,
          workgroups: l.workgroups,
          flops: (whole ? 16 : 9) * x!.size,
        })
      } else {
        const kernel = batchNorms(run.device.adapter)
        run.launch({ ...common, kernel, entry: 'parameter_gradients', bindings, threads: l.channels })
      }
    } else {
      for (const t of [intoWeight ? undefined : dweight, intoBias ? undefined : dbias])
        if (t) run.device.clear(run.op, t.storage)
    }
    const result: (Tensor | undefined)[] = [known || !needs[0] ? undefined : dx]
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
 * Large arrays are read or written three times in training, twice in evaluation, five times by the gradient.
 */
export function batchNorm(x: Tensor, options: BatchNormOptions = {}): Tensor {
  return normalized(x, options, false)[0]!
}

/**
 * `batchNorm` of x (N, C, H, W) and the 2×2 maxima of what it gives, (N, C, ⌊H/2⌋, ⌊W/2⌋):
 *
 *     [y, maxPool2d(y, { kernelSize: 2 })]
 *
 * with the gradients of both. One op makes both in training, if W is a multiple of 8 and H of 2, and a channel is one launch's
 * (of up to 8,192 values times the channels, at most 65,536, on CPU drivers, and 4,096 on GPUs): the maxima are written beside y, so
 * that pooling reads nothing, and their gradient is taken in the passes of batch norm's. It is in Node and, in pages, on CPU
 * drivers (a page on a GPU does not load its kernels); elsewhere these are two ops. Throws as the two do.
 */
export function batchNormMaxPool2d(x: Tensor, options: BatchNormOptions = {}): readonly [Tensor, Tensor] {
  // Before running statistics have moved.
  pool2dShape('batchNormMaxPool2d', x.shape, { kernelSize: 2 })
  const [y, maxima] = normalized(x, options, options.training === true && mayPool(x))
  return [y!, maxima ?? maxPool2d(y!, { kernelSize: 2 })]
}

/** Whether there are kernels for x. */
function mayPool({ device, shape }: Tensor): boolean {
  const [, , h, w] = shape
  // What is traced is to be ops that others know.
  if (!pooledNorms || device.tracing || !suitsWorkgroup(device, shape)) return false
  return h! % 2 === 0 && w! % 8 === 0
}

function normalized(x: Tensor, options: BatchNormOptions, pooled: boolean): Tensor[] {
  const { weight, bias, runningMean, runningVar, activation, into } = options
  const { training = false, momentum = 0.1, eps = 1e-5 } = options
  checkOptions('batchNorm', options, [], OPTIONS)
  const [, c] = imageShape('batchNorm', 'x', x)
  batchNormShape(x.shape, training)
  checkRates('batchNorm', { eps, momentum })
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
    into,
    pooled,
  }
  return apply([x, ...(weight ? [weight] : []), ...(bias ? [bias] : [])], attrs)
}
