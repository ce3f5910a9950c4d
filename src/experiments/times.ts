import type { Device } from '../autograd/device.ts'
import { cropResize } from '../autograd/ops/crop-resize.ts'
import { interpolate } from '../autograd/ops/interpolate.ts'
import type { Tensor } from '../autograd/tensor.ts'
import type { Sample } from '../data/dataset.ts'
import { resizeImage } from '../data/resize.ts'
import { splitDataset } from '../data/split.ts'
import { openDataset } from '../node/folders.ts'
import { evenSpans, objectsAPass } from '../pipelines/object-rows.ts'
import { summarize } from '../pipelines/scores.ts'
import { segmentThenSegment } from '../pipelines/segment-then-segment.ts'
import { meanOf } from '../pipelines/statistics.ts'
import { Interrupted, type RunHost } from '../runs/host.ts'
import { kindOf } from '../runs/network-kinds.ts'
import type { Experiment } from './experiment.ts'
import { rounded } from './image-scores.ts'
import { rowsAt, type Scale, SPLIT_SEED, withoutFolder } from './jobs.ts'
import type { ExperimentResults, RowResult, RowTime } from './results.ts'

/** Images of a data set that are timed where no share is asked for. */
const IMAGES = 24
/** Each is passed once to warm up, then so often; the median counts. */
const REPEATS = 3

type Segment = (x: Tensor) => Tensor

/** The networks of a row, with random weights: their time does not hang on them. */
interface Networks {
  readonly rough: Segment
  readonly fine: Segment
  readonly size: number
}

/** Milliseconds of one image. */
interface ImageTime {
  readonly ms: number
  readonly networksMs: number
  readonly objects: number
}

/** Results as those of any experiment; a row's time stands in place of its scores. */
export async function runTimes(
  device: Device,
  experiment: Experiment,
  scale: Scale,
  { folders, host }: { readonly folders: ReadonlyMap<string, string>; readonly host: RunHost },
): Promise<ExperimentResults> {
  const started = performance.now()
  const opened = new Map<string, { samples: readonly Sample[]; channels: number; layout: string }>()
  for (const [key, folder] of folders) {
    const { samples, channels, layout } = await openDataset(folder)
    opened.set(key, { samples: someOf(samples, scale.subset), channels, layout })
  }
  const rows: RowResult[] = []
  for (const row of rowsAt(experiment, scale)) {
    const { label, data, method, arm, network, size, thesis, thesisMs } = row
    const about = { label, data, method, arm, network, size, share: 1, thesis, runs: [] }
    const known = { ...about, ...(thesisMs === undefined ? {} : { thesisMs }) }
    const missing = withoutFolder(row, new Set(folders.keys()))
    if (missing) {
      rows.push({ ...known, missing })
      continue
    }
    host.note(`${label}, ${size}²\n`)
    const { samples, channels } = opened.get(data)!
    const build = (inChannels: number) =>
      kindOf(network).build(device, { inChannels, features: scale.features, seed: scale.seeds[0]! }).eval()
    const nets = [build(channels), build(channels)] as const
    const [rough, fine] = nets.map(
      (net): Segment =>
        (x) =>
          net.forward(x) as Tensor,
    ) as [Segment, Segment]
    const times: ImageTime[] = []
    for (const sample of samples) {
      if (host.signal.aborted) throw new Interrupted('stopped; times are measured anew by the same command')
      times.push(await timeOf(device, sample, arm, { rough, fine, size }))
    }
    for (const net of nets) net.dispose()
    rows.push({ ...known, time: summaryOf(times) })
  }
  const { id, title, section, data } = experiment
  return {
    ...{ fovea: 1, experiment: id, title, section, adapter: device.adapter.name },
    ...{ seconds: Math.round((performance.now() - started) / 1000), scale },
    data: data.map((slot) => {
      const found = opened.get(slot.key)
      return { ...slot, ...(found ? { layout: found.layout, scored: found.samples.length } : {}) }
    }),
    ...{ rows, curves: [] },
  }
}

/** Some images, the same each time. */
const someOf = (samples: readonly Sample[], share: number): readonly Sample[] => {
  const kept = share < 1 ? share : Math.min(1, IMAGES / samples.length)
  if (kept === 1) return samples
  return splitDataset(samples, { fractions: { kept, rest: 1 - kept }, seed: SPLIT_SEED }).kept
}

const summaryOf = (times: readonly ImageTime[]): RowTime => {
  const { mean, sd } = summarize(times.map((t) => t.ms))
  return {
    ms: { mean: rounded(mean), sd: rounded(sd) },
    networksMs: rounded(meanOf(times.map((t) => t.networksMs))),
    objects: rounded(meanOf(times.map((t) => t.objects))),
    images: times.length,
  }
}

/** One image, from its pixels on the GPU to its mask read back at full size. */
async function timeOf(
  device: Device,
  sample: Sample,
  arm: string,
  { rough, fine, size }: Networks,
): Promise<ImageTime> {
  const { image, mask, channels, height, width } = await sample.load()
  const x = device.tensor(image, [1, channels, height, width])
  // What a perfect rough network would say: as many crops as there are objects that so small a map tells apart.
  const truth = device.tensor(resizeImage(mask, [1, height, width], [size, size]), [1, 1, size, size])
  const crops = async (): Promise<number> => {
    const [result] = await segmentThenSegment(device, [x], {
      rough: (small) => {
        rough(small)
        return truth
      },
      fine,
      size,
    })
    await result!.mask.data()
    const objects = result!.boxes.shape[0]!
    for (const t of [result!.rough, result!.mask, result!.boxes]) t.dispose()
    return objects
  }
  const whole = async (): Promise<number> => {
    const found = device.noGrad(() =>
      device.scope(() => {
        const small = cropResize(x, device.tensor([0, 0, width, height], [1, 4]), { size })
        return interpolate(rough(small), { size: [height, width], mode: 'bilinear' })
      }),
    )
    await found.data()
    found.dispose()
    return 0
  }
  const method = arm === 'crops' ? crops : whole
  try {
    const objects = await method()
    const ms = await median(method)
    // As the method passes them: one image through the rough network, all its crops through the fine one.
    const passes = [1, ...evenSpans(objects, objectsAPass(size, size)).map(([from, to]) => to - from)]
    const inputs = passes.map((n) => device.full([n, channels, size, size], 0.1))
    const alone = async () => {
      device.noGrad(() =>
        device.scope(() => inputs.forEach((input, i) => void (i === 0 ? rough : fine)(input))),
      )
      await device.idle()
    }
    await alone()
    const networksMs = await median(alone)
    for (const input of inputs) input.dispose()
    return { ms, networksMs, objects }
  } finally {
    x.dispose()
    truth.dispose()
  }
}

async function median(call: () => Promise<unknown>): Promise<number> {
  const times: number[] = []
  for (let i = 0; i < REPEATS; i++) {
    const start = performance.now()
    await call()
    times.push(performance.now() - start)
  }
  return times.sort((a, b) => a - b)[Math.floor(REPEATS / 2)]!
}
