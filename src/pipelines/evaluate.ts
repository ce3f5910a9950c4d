import type { Device } from '../autograd/device.ts'
import { centerOfMass } from '../autograd/ops/center-of-mass.ts'
import { interpolate } from '../autograd/ops/interpolate.ts'
import { polarWarp } from '../autograd/ops/polar-warp.ts'
import type { Tensor } from '../autograd/tensor.ts'
import type { Sample, SampleData } from '../data/dataset.ts'
import { BatchLoader } from '../data/loader.ts'
import type { Module } from '../nn/module.ts'
import type { EndToEndCrops } from './end-to-end.ts'
import { type SweepPoint, sweepThresholds } from './fuse.ts'
import { type Segment, type SlidingWindowOptions, slidingWindow } from './inference.ts'
import { segmentLocalised } from './localise.ts'
import { stacksOf } from './losses.ts'
import { inPrecision, type Precision } from './precision.ts'
import { type MaskScores, scoreWhole } from './score-masks.ts'
import { type Scores, scoreMask } from './scores.ts'
import { type SegmentSeveralOptions, segmentSeveral } from './segment-several.ts'
import { type SegmentThenSegmentOptions, segmentThenSegment } from './segment-then-segment.ts'
import { stackImages, stackSamples } from './tasks.ts'
import type { NetworkOutput } from './training-options.ts'
import { brightestOfMap, centreOfMap, type ParameterFunction } from './transforms/parameters.ts'
import { type PolarOptions, polarTransform } from './transforms/polar.ts'

/** What a method made of one image. */
export interface Evaluated {
  readonly id: string
  /** Patient, where the data set has patients. */
  readonly group: string
  /** Scores in the space of the images: what a user gets. Distances are in mm where there is a spacing, else in px. */
  readonly scores: MaskScores
  /** Distance between the pixels that were scored, mm. */
  readonly spacing?: readonly [y: number, x: number]
  /** Scores in polar space against the polar truth, as the thesis's tables have them. Polar methods only. */
  readonly polarScores?: Scores
  /** Distance of the origin used from the truth's centre of mass, pixels. Polar methods only. */
  readonly originError?: number
  /** Probabilities (H, W). */
  readonly prediction: Float32Array
  /** What it was scored against (H, W), where that is not the image's mask. */
  readonly truth?: Float32Array
  readonly height: number
  readonly width: number
}

/** Images in one forward pass. */
const BATCH = 8

/** Networks are called in evaluation mode and without a tape; of several stacks the last one counts. */
const inference =
  (net: Module, precision: Precision = 'float32') =>
  (x: Tensor): Tensor =>
    inPrecision(x.device, precision, () => stacksOf(net.forward(x) as NetworkOutput).at(-1)!)

export interface InferenceOptions {
  /** 'mixed' runs the networks in float16, if the adapter has it. Default 'float32'. */
  readonly precision?: Precision | undefined
  /** Ends it before the next batch of images, by throwing the signal's reason. */
  readonly signal?: AbortSignal | undefined
}

export interface CartesianEvaluation extends InferenceOptions {
  /** Images of any size go through in tiles, one after the other. Left out: whole, and all of one size. */
  readonly slidingWindow?: SlidingWindowOptions | undefined
}

async function inBatches<R>(
  samples: readonly Sample[],
  { size = BATCH, signal }: { readonly size?: number; readonly signal: AbortSignal | undefined },
  f: (batch: readonly Sample[], data: readonly SampleData[]) => Promise<R[]>,
): Promise<R[]> {
  const batches = Array.from({ length: Math.ceil(samples.length / size) }, (_, i) =>
    samples.slice(i * size, (i + 1) * size),
  )
  const loader = new BatchLoader(batches)
  try {
    const results: R[] = []
    for (const batch of batches) {
      const data = (await loader.next())!
      signal?.throwIfAborted()
      results.push(...(await f(batch, data)))
    }
    return results
  } finally {
    await loader.close()
  }
}

const row = (values: ArrayLike<number>, i: number, length: number): Float32Array =>
  Float32Array.from({ length }, (_, k) => values[i * length + k]!)

/** Plain segmentation: the network on images as they are, whole or in tiles. */
export async function evaluateCartesian(
  device: Device,
  net: Module,
  samples: readonly Sample[],
  { precision, signal, slidingWindow: tiles }: CartesianEvaluation = {},
): Promise<Evaluated[]> {
  const whole = inference(net, precision)
  const segment = tiles ? slidingWindow(whole, tiles) : whole
  return evaluateBy(device, net, samples, segment, { size: tiles ? 1 : BATCH, signal })
}

/** Scores what `segment` makes of whole images with the network, `size` images at a time. */
function evaluateBy(
  device: Device,
  net: Module,
  samples: readonly Sample[],
  segment: Segment,
  options: Parameters<typeof inBatches>[1],
): Promise<Evaluated[]> {
  net.eval()
  return inBatches(samples, options, async (batch, data) => {
    const p = device.noGrad(() => device.scope(() => segment(stackImages(device, data))))
    const values = await p.data()
    p.dispose()
    return batch.map((s, i) => evaluated(s, data[i]!, row(values, i, data[i]!.mask.length)))
  })
}

function evaluated(sample: Sample, data: SampleData, prediction: Float32Array): Evaluated {
  const { id, group } = sample
  const { height, width, mask, spacing } = data
  const known = spacing ? { spacing } : {}
  const scores = scoreWhole(prediction, mask, [height, width], known)
  return { id, group, scores, ...known, prediction, height, width }
}

export interface PolarEvaluation extends PolarOptions, InferenceOptions {
  /**
   * Where the origins come from: the ground truth, the centre of mass of a Cartesian network's prediction (approach A),
   * the brightest pixel of a network's heatmap (approach B), or what another f_ϕ makes of a network's output.
   */
  readonly origins:
    | 'truth'
    | { readonly cartesian: Module }
    | { readonly heatmap: Module }
    | { readonly network: Module; readonly at: ParameterFunction }
}

/** The network that finds origins, none for the truth, and what makes an origin of its map. */
function localiserOf(origins: PolarEvaluation['origins'], precision: Precision | undefined) {
  if (origins === 'truth') return { parameters: centreOfMap() }
  const { network, at } =
    'network' in origins
      ? origins
      : 'heatmap' in origins
        ? { network: origins.heatmap, at: brightestOfMap() }
        : { network: origins.cartesian, at: centreOfMap() }
  return { localise: inference(network.eval(), precision), parameters: at }
}

/** Polar segmentation about a found origin, mapped back. Scores in Cartesian and in polar space. */
export async function evaluatePolar(
  device: Device,
  net: Module,
  samples: readonly Sample[],
  options: PolarEvaluation,
): Promise<Evaluated[]> {
  const { origins, precision, signal, ...polar } = options
  net.eval()
  const { localise, parameters: at } = localiserOf(origins, precision)
  return inBatches(samples, { signal }, async (batch, data) => {
    const made = device.noGrad(() =>
      device.scope(() => {
        const { x, y } = stackSamples(device, data)
        const parts = {
          localise: localise ?? (() => y),
          parameters: at,
          transform: polarTransform(polar),
          segment: inference(net, precision),
        }
        const { mask, segmented, parameters } = segmentLocalised(parts, x)
        // Truth in polar space about the same origin.
        const truth = polarWarp(y, parameters, { ...polar, mode: 'nearest' })
        return { mask, segmented, truth, origin: parameters, centre: centerOfMass(y) }
      }),
    )
    const [mask, segmented, truth, origin, centre] = await Promise.all(
      [made.mask, made.segmented, made.truth, made.origin, made.centre].map((t) => t.data()),
    )
    for (const t of Object.values(made)) t.dispose()
    return batch.map((s, i): Evaluated => {
      const polarSize = truth!.length / batch.length
      const [dx, dy] = [origin![2 * i]! - centre![2 * i]!, origin![2 * i + 1]! - centre![2 * i + 1]!]
      return {
        ...evaluated(s, data[i]!, row(mask!, i, data[i]!.mask.length)),
        polarScores: scoreMask(row(segmented!, i, polarSize), row(truth!, i, polarSize)),
        originError: Math.hypot(dx, dy),
      }
    })
  })
}

export interface SeveralEvaluation extends Omit<SegmentSeveralOptions, 'rough' | 'fine'>, InferenceOptions {
  /** Objects are the components of the ground truth, or of a Cartesian network's prediction. */
  readonly origins: 'truth' | { readonly cartesian: Module }
  /** Thresholds at which the fused maps are scored, too. */
  readonly sweep?: Parameters<typeof sweepThresholds>[2]
}

/** Polar segmentation of several objects an image (4.4), its networks given; and the sweep over t₁ and t₂. */
export async function evaluateSeveral(
  device: Device,
  net: Module,
  samples: readonly Sample[],
  options: SeveralEvaluation,
): Promise<{ images: Evaluated[]; points?: SweepPoint[] }> {
  const { origins, precision, signal, sweep, ...rest } = options
  net.eval()
  const localise = origins === 'truth' ? undefined : inference(origins.cartesian.eval(), precision)
  const swept: SweepPoint[][] = []
  const images = await inBatches(samples, { signal }, async (batch, data) => {
    const { x, y } = stackSamples(device, data)
    const fine = inference(net, precision)
    const result = await segmentSeveral(device, x, { ...rest, rough: localise ?? (() => y), fine })
    if (sweep) swept.push(await sweepThresholds(result.fused, y, sweep))
    const values = await result.mask.data()
    const { rough, fused, mask } = result
    for (const t of new Set([x, y, rough, fused, mask, result.origins])) t?.dispose()
    return batch.map((s, i) => evaluated(s, data[i]!, row(values, i, data[i]!.mask.length)))
  })
  if (!sweep) return { images }
  const points = swept[0]?.map((p, k) => ({ ...p, scores: swept.flatMap((batch) => batch[k]!.scores) }))
  return { images, points: points ?? [] }
}

/** Numbers of the samples that have the same size, together. */
function bySize(data: readonly SampleData[]): number[][] {
  const groups = new Map<string, number[]>()
  data.forEach(({ height, width }, i) => {
    const size = `${height}×${width}`
    groups.set(size, [...(groups.get(size) ?? []), i])
  })
  return [...groups.values()]
}

/** The rough network alone and segment-then-segment, image by image at full resolution. */
export async function evaluateCrops(
  device: Device,
  rough: Module,
  fine: Module,
  samples: readonly Sample[],
  { precision, signal, ...options }: Omit<SegmentThenSegmentOptions, 'rough' | 'fine'> & InferenceOptions,
): Promise<{ rough: Evaluated[]; fine: Evaluated[] }> {
  rough.eval()
  fine.eval()
  const pairs = await inBatches(samples, { signal }, async (batch, data) => {
    const groups = bySize(data)
    const images = groups.map((group) =>
      stackImages(
        device,
        group.map((i) => data[i]!),
      ),
    )
    const results = await segmentThenSegment(device, images, {
      ...options,
      rough: inference(rough, precision),
      fine: inference(fine, precision),
    })
    const read = await Promise.all(
      results.map(async (r) => ({ rough: await r.rough.data(), mask: await r.mask.data() })),
    )
    for (const r of results) for (const t of [r.rough, r.mask, r.boxes]) t.dispose()
    for (const t of images) t.dispose()
    return batch.map((s, i) => {
      const g = groups.findIndex((group) => group.includes(i))
      const of = (maps: ArrayLike<number>) =>
        evaluated(s, data[i]!, row(maps, groups[g]!.indexOf(i), data[i]!.mask.length))
      return { rough: of(read[g]!.rough), fine: of(read[g]!.mask) }
    })
  })
  return { rough: pairs.map((p) => p.rough), fine: pairs.map((p) => p.fine) }
}

/** A network on images shrunken to its input, its map at their size again. */
const shrunken =
  (segment: Segment, size: number): Segment =>
  (x) =>
    interpolate(segment(interpolate(x, { size, mode: 'bilinear' })), {
      size: [x.shape[2]!, x.shape[3]!],
      mode: 'bilinear',
    })

/** A network on images shrunken to a square of `size` px, scored at the images' size. */
export const evaluateShrunken = (
  device: Device,
  net: Module,
  samples: readonly Sample[],
  { size, precision, signal }: InferenceOptions & { readonly size: number },
): Promise<Evaluated[]> =>
  evaluateBy(device, net, samples, shrunken(inference(net, precision), size), { size: BATCH, signal })

/**
 * The coarse network alone, its map enlarged, and end-to-end crops, on images of one size, at that size.
 *
 * @param coarse trained on the images shrunken to the input of `net`
 */
export async function evaluateEndToEnd(
  device: Device,
  coarse: Module,
  net: EndToEndCrops,
  samples: readonly Sample[],
  { precision = 'float32', signal }: InferenceOptions = {},
): Promise<{ coarse: Evaluated[]; mask: Evaluated[] }> {
  coarse.eval()
  net.eval()
  const { size } = net.options
  const pairs = await inBatches(samples, { signal }, async (batch, data) => {
    const made = device.noGrad(() =>
      device.scope(() => {
        const x = stackImages(device, data)
        return { alone: shrunken(inference(coarse, precision), size)(x), mask: inference(net, precision)(x) }
      }),
    )
    const [alone, mask] = await Promise.all([made.alone.data(), made.mask.data()])
    for (const t of Object.values(made)) t.dispose()
    return batch.map((s, i) => ({
      coarse: evaluated(s, data[i]!, row(alone, i, data[i]!.mask.length)),
      mask: evaluated(s, data[i]!, row(mask, i, data[i]!.mask.length)),
    }))
  })
  return { coarse: pairs.map((p) => p.coarse), mask: pairs.map((p) => p.mask) }
}
