import { convertChannels, type Image } from './image.ts'
import { type Normalization, type NormalizationName, normalization } from './normalize.ts'
import { resizeImage, resizeLabels } from './resize.ts'

/** One decoded, normalised and resized sample. The arrays are shared with the cache: do not write to them. */
export interface SampleData {
  /** (C, H, W), normalised. */
  image: Float32Array
  /** (1, H, W) of 0 and 1. */
  mask: Float32Array
  /** (H, W): 0 background, 1…n objects; only where the data set tells objects apart. */
  instances?: Int32Array
  /** (1, H, W) of 0 and 1: the one object that this sample is about; only of samples made by `perObject`. */
  object?: Float32Array
  /** (H, W) of 0 and 1: the pixels whose stored value is in the range that was asked for. */
  inRange?: Float32Array
  height: number
  width: number
  channels: number
  /** Distance between the pixel centres of these arrays, mm; absent where it is not known. */
  spacing?: readonly [y: number, x: number]
}

/** One image with its truth, decoded when it is first asked for. */
export interface Sample {
  /** Unique in the data set. */
  id: string
  /** Patient, or the id where every image stands alone. A split never parts a group. */
  group: string
  imagePath: string
  maskPath?: string
  instancesPath?: string
  /** Place along z in the patient, 0 up to but not 1 (section 6 of the thesis); only for slices. */
  depth?: number
  /** Size of the file's image, px, before any resizing. */
  originalSize: readonly [height: number, width: number]
  load(): Promise<SampleData>
  /** What its files hold, as stored: image and truth at their own size. Slices of scans have none: HU want a window. */
  original?(): Promise<RawSample>
}

/** A list of samples, in order of their ids. */
export interface Dataset {
  /** Where it came from, for messages and reports. */
  name: string
  layout: string
  /** Channels of every loaded image. */
  channels: number
  /** Size of every loaded image, px; absent when each keeps its own. */
  size?: readonly [height: number, width: number]
  samples: readonly Sample[]
  /** A sentence for each kind of file that was passed over: images of a part without ground truth, DICOM files of no image. */
  leftOut?: readonly string[]
}

/** What a reader hands over: decoded files at their own size. Truth is `instances` or `mask`. */
export interface RawSample {
  image: Image
  mask?: Float32Array
  instances?: Int32Array
}

/** How raw samples become network input. */
export interface PrepareOptions {
  /** [height, width] in px; absent: the image's own. */
  size?: readonly [number, number] | undefined
  /** 1 or 3. */
  channels: number
  normalize: NormalizationName | Normalization
  /** Appended as one more channel that holds this value in every pixel. */
  depth?: number | undefined
  /** Least and greatest stored value of the pixels that `inRange` tells of, before any normalisation. */
  range?: readonly [number, number] | undefined
}

/**
 * Normalises and resizes one sample: image by area-aware bilinear interpolation (`resizeImage`), truth by
 * nearest neighbour (`resizeLabels`). Pure: it runs in the browser, too.
 *
 * @param raw decoded image with a mask (1, H, W) or instances (H, W) of the same size
 */
export function prepareSample(raw: RawSample, options: PrepareOptions): SampleData {
  const [from, h, w] = raw.image.shape
  const [height, width] = options.size ?? [h, w]
  const coloured = convertChannels(raw.image.data, from, options.channels)
  const normalised = normalization(options.normalize)(coloured, raw.image.max)
  let image = resizeImage(normalised, [options.channels, h, w], [height, width])
  let { channels } = options
  if (options.depth !== undefined) {
    const plane = height * width
    const deeper = new Float32Array(image.length + plane).fill(options.depth, image.length)
    deeper.set(image)
    image = deeper
    channels++
  }
  const inRange = options.range
    ? { inRange: resizeLabels(pixelsIn(raw.image, options.range), [h, w], [height, width]) }
    : {}
  const [dy, dx] = raw.image.spacing ?? []
  const spacing =
    dy === undefined || dx === undefined
      ? {}
      : { spacing: [(dy * h) / height, (dx * w) / width] as [number, number] }
  const about = { height, width, channels, ...spacing }
  if (raw.instances) {
    const instances = resizeLabels(raw.instances, [h, w], [height, width])
    const mask = Float32Array.from(instances, (v) => (v > 0 ? 1 : 0))
    return { image, mask, instances, ...inRange, ...about }
  }
  const mask = resizeLabels(raw.mask ?? new Float32Array(h * w), [h, w], [height, width])
  return { image, mask, ...inRange, ...about }
}

/** 1 where the (grey) value lies in the range, else 0. */
function pixelsIn({ data, shape: [channels] }: Image, [low, high]: readonly [number, number]): Float32Array {
  return convertChannels(data, channels, 1).map((v) => (v >= low && v <= high ? 1 : 0))
}

/**
 * Keeps loaded samples in memory up to a number of bytes: those that came first, for good. In shuffled epochs over
 * more samples than fit, a share c of them in memory is then a share c of hits; dropping those unused for longest
 * gives c + (1 − c)·ln(1 − c), 0.15 for one half. Two calls for one key at the same time decode once; a failure is
 * not kept.
 *
 * @param maxBytes 0 keeps nothing
 * @returns a function that gives the kept sample of a key, or loads it
 */
export function sampleCache(
  maxBytes: number,
): (key: string, load: () => Promise<SampleData>) => Promise<SampleData> {
  const pending = new Map<string, Promise<SampleData>>()
  const kept = new Map<string, SampleData>()
  let bytes = 0
  const keep = (key: string, data: SampleData): void => {
    if (bytes + bytesOf(data) > maxBytes) return
    kept.set(key, data)
    bytes += bytesOf(data)
  }
  return (key, load) => {
    const known = kept.get(key)
    if (known) return Promise.resolve(known)
    let loading = pending.get(key)
    if (!loading) {
      loading = load()
        .then((data) => {
          keep(key, data)
          return data
        })
        .finally(() => pending.delete(key))
      pending.set(key, loading)
    }
    return loading
  }
}

/** Bytes of a decoded sample. */
export function bytesOf(data: SampleData): number {
  return (
    data.image.byteLength +
    data.mask.byteLength +
    (data.instances?.byteLength ?? 0) +
    (data.inRange?.byteLength ?? 0)
  )
}
