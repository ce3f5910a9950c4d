import { DataError } from '../gpu/errors.ts'
import { type Summary, summarize } from './scores.ts'
import { quantile } from './statistics.ts'

/** Distances between the outlines of two masks, and how well the outlines overlap. */
export interface SurfaceScores {
  /**
   * 95th percentile of the distances from each outline to the other, the larger of the two directions. 0 where both
   * masks are empty, Infinity where one is.
   */
  hausdorff95: number
  /** Mean over the pixels of both outlines of the distance to the other outline; empty masks as above. */
  meanSurfaceDistance: number
  /** IoU of the bands along both outlines, inside the masks (Cheng et al., 2021). Both empty: 1, one empty: 0. */
  boundaryIou: number
}

/** Outlines over many images. */
export interface SurfaceSummary {
  /** Of the distances: mm where the images tell their spacing, else px of the images as they were scored. */
  readonly unit: 'mm' | 'px'
  /** Over images that have a distance: both masks are empty or neither is. null where none has. */
  readonly hausdorff95: Summary | null
  readonly meanSurfaceDistance: Summary | null
  /** Over all images. */
  readonly boundaryIou: Summary
}

/**
 * Sums up outlines over many images.
 *
 * @param images at least one, all with a spacing in mm or all without
 * @throws DataError when there is none, or only some have a spacing
 */
export function summarizeSurfaces(
  images: readonly { readonly scores: SurfaceScores; readonly spacing?: readonly number[] }[],
): SurfaceSummary {
  const inMm = images.filter(({ spacing }) => spacing).length
  if (inMm !== 0 && inMm !== images.length)
    throw new DataError(
      `summarizeSurfaces: ${inMm} of ${images.length} images have a spacing; distances in mm and in px have no mean: give all ` +
        'or none',
    )
  const distances = (key: 'hausdorff95' | 'meanSurfaceDistance'): Summary | null => {
    const finite = images.map(({ scores }) => scores[key]).filter(Number.isFinite)
    return finite.length > 0 ? summarize(finite) : null
  }
  return {
    unit: inMm > 0 ? 'mm' : 'px',
    hausdorff95: distances('hausdorff95'),
    meanSurfaceDistance: distances('meanSurfaceDistance'),
    boundaryIou: summarize(images.map(({ scores }) => scores.boundaryIou)),
  }
}

/** Options of `surfaceScores`. */
export interface SurfaceOptions {
  /** Distance between pixel centres by axis, as the shape has them; mm for answers in mm. Default 1: px. */
  readonly spacing?: readonly number[]
  readonly threshold?: number
  /** Width of the band for `boundaryIou`, in units of the spacing; default 2 % of the diagonal. */
  readonly boundaryWidth?: number
}

/**
 * Compares the outlines of two masks. A pixel is on the outline when it is in the mask and one of its neighbours
 * along an axis is not; beyond the border of the image nothing is.
 *
 * @param prediction probabilities or zeros and ones in the order of `shape`
 * @param truth as many
 * @param shape [height, width], or [depth, height, width] for a volume
 * @returns distances in the unit of `spacing`
 * @throws DataError when lengths, shape and spacing do not fit each other; for a negative boundaryWidth
 */
export function surfaceScores(
  prediction: ArrayLike<number>,
  truth: ArrayLike<number>,
  shape: readonly number[],
  options: SurfaceOptions = {},
): SurfaceScores {
  const { threshold = 0.5, spacing = shape.map(() => 1) } = options
  const n = shape.reduce((product, size) => product * size, 1)
  if (prediction.length !== n || truth.length !== n || n === 0) {
    throw new DataError(
      `surfaceScores: prediction has ${prediction.length} pixels, truth ${truth.length}; ${shape.join('×')} wants ${n}`,
    )
  }
  if (spacing.length !== shape.length || spacing.some((s) => !(s > 0) || !Number.isFinite(s))) {
    throw new DataError(
      `surfaceScores: spacing ${spacing.join(', ')} for ${shape.join('×')} pixels; wants ${shape.length} numbers over 0`,
    )
  }
  const diagonal = Math.hypot(...shape.map((size, i) => size * spacing[i]!))
  const width = options.boundaryWidth ?? 0.02 * diagonal
  if (!(width >= 0))
    throw new DataError(`surfaceScores: boundaryWidth is 0 or more, in units of the spacing, got ${width}`)
  const wholeA = inside(prediction, threshold)
  const wholeB = inside(truth, threshold)
  const [any, other] = [wholeA.includes(1), wholeB.includes(1)]
  if (!any || !other) {
    const distance = any === other ? 0 : Number.POSITIVE_INFINITY
    return { hausdorff95: distance, meanSurfaceDistance: distance, boundaryIou: any === other ? 1 : 0 }
  }
  // Nothing outside the box around both masks has a say, and at its sides as at the image's border a mask ends.
  const box = boxAround(wholeA, wholeB, shape)
  const [a, b] = [cut(wholeA, shape, box), cut(wholeB, shape, box)]
  const [outlineA, outlineB] = [outline(a, box.shape), outline(b, box.shape)]
  const [toA, toB] = [distanceTo(outlineA, box.shape, spacing), distanceTo(outlineB, box.shape, spacing)]
  const fromA = gather(toB, outlineA)
  const fromB = gather(toA, outlineB)
  const sum = (list: Float64Array) => list.reduce((total, v) => total + v, 0)
  return {
    hausdorff95: Math.max(quantile(fromA.sort(), 0.95), quantile(fromB.sort(), 0.95)),
    meanSurfaceDistance: (sum(fromA) + sum(fromB)) / (fromA.length + fromB.length),
    boundaryIou: bandIou(a, b, toA, toB, width),
  }
}

function inside(values: ArrayLike<number>, threshold: number): Uint8Array {
  const mask = new Uint8Array(values.length)
  // Not by Uint8Array.from, which takes seconds for a scan.
  for (let i = 0; i < mask.length; i++) if (values[i]! > threshold) mask[i] = 1
  return mask
}

/** Part of an array: where it begins along each axis, and its shape. */
interface Box {
  readonly starts: readonly number[]
  readonly shape: readonly number[]
}

/** The least box that holds both masks. */
function boxAround(a: Uint8Array, b: Uint8Array, shape: readonly number[]): Box {
  const starts = [...shape]
  const ends = shape.map(() => 0)
  const last = shape.length - 1
  for (let row = 0; row < a.length; row += shape[last]!) {
    let [first, end] = [-1, -1]
    for (let i = 0; i < shape[last]!; i++) {
      if (!(a[row + i] || b[row + i])) continue
      if (first < 0) first = i
      end = i + 1
    }
    if (first < 0) continue
    let at = row
    for (let axis = last; axis >= 0; axis--) {
      const size = shape[axis]!
      const [low, high] = axis === last ? [first, end] : [at % size, (at % size) + 1]
      starts[axis] = Math.min(starts[axis]!, low)
      ends[axis] = Math.max(ends[axis]!, high)
      at = Math.floor(at / size)
    }
  }
  return { starts, shape: ends.map((end, axis) => end - starts[axis]!) }
}

function cut(mask: Uint8Array, shape: readonly number[], box: Box): Uint8Array {
  const length = box.shape.at(-1)!
  const rows = box.shape.slice(0, -1)
  const out = new Uint8Array(length * rows.reduce((n, size) => n * size, 1))
  for (let row = 0; row * length < out.length; row++) {
    let [left, stride, from] = [row, shape.at(-1)!, box.starts.at(-1)!]
    for (let axis = rows.length - 1; axis >= 0; axis--) {
      from += ((left % rows[axis]!) + box.starts[axis]!) * stride
      left = Math.floor(left / rows[axis]!)
      stride *= shape[axis]!
    }
    out.set(mask.subarray(from, from + length), row * length)
  }
  return out
}

function outline(mask: Uint8Array, shape: readonly number[]): Uint8Array {
  const out = new Uint8Array(mask.length)
  let stride = mask.length
  for (const size of shape) {
    stride /= size
    for (let i = 0; i < mask.length; i++) {
      if (!mask[i]) continue
      const at = Math.floor(i / stride) % size
      if (at === 0 || at === size - 1 || !mask[i - stride] || !mask[i + stride]) out[i] = 1
    }
  }
  return out
}

/**
 * Distance of every pixel to the nearest one of `points`: exact, in time linear in the pixels (Felzenszwalb and
 * Huttenlocher, 2012): along each axis the lower envelope of the parabolas d² = s²(x − i)² + f(i).
 */
function distanceTo(points: Uint8Array, shape: readonly number[], spacing: readonly number[]): Float64Array {
  const squared = Float64Array.from(points, (p) => (p ? 0 : Number.POSITIVE_INFINITY))
  let stride = squared.length
  shape.forEach((size, axis) => {
    stride /= size
    const line = new Float64Array(size)
    for (let start = 0; start < squared.length; start++) {
      if (Math.floor(start / stride) % size !== 0) continue
      for (let i = 0; i < size; i++) line[i] = squared[start + i * stride]!
      lowerEnvelope(line, spacing[axis]!, (i, d) => {
        squared[start + i * stride] = d
      })
    }
  })
  return squared.map(Math.sqrt)
}

function lowerEnvelope(f: Float64Array, spacing: number, put: (i: number, d: number) => void): void {
  const n = f.length
  const square = spacing * spacing
  // Parabolas of the envelope by their vertex, and from where each is the lowest.
  const vertex = new Int32Array(n)
  const from = new Float64Array(n + 1)
  let last = -1
  for (let q = 0; q < n; q++) {
    if (f[q] === Number.POSITIVE_INFINITY) continue
    let meet = Number.NEGATIVE_INFINITY
    while (last >= 0) {
      const p = vertex[last]!
      meet = (f[q]! / square + q * q - (f[p]! / square + p * p)) / (2 * (q - p))
      if (meet > from[last]!) break
      last--
    }
    if (last < 0) meet = Number.NEGATIVE_INFINITY
    vertex[++last] = q
    from[last] = meet
  }
  if (last < 0) return
  for (let i = 0, k = 0; i < n; i++) {
    while (k < last && from[k + 1]! < i) k++
    const p = vertex[k]!
    put(i, square * (i - p) * (i - p) + f[p]!)
  }
}

function gather(distance: Float64Array, points: Uint8Array): Float64Array {
  const found = new Float64Array(points.reduce((count, p) => count + p, 0))
  let n = 0
  for (let i = 0; i < points.length; i++) if (points[i]) found[n++] = distance[i]!
  return found
}

function bandIou(a: Uint8Array, b: Uint8Array, toA: Float64Array, toB: Float64Array, width: number): number {
  let both = 0
  let either = 0
  for (let i = 0; i < a.length; i++) {
    const inA = a[i] === 1 && toA[i]! < width
    const inB = b[i] === 1 && toB[i]! < width
    if (inA && inB) both++
    if (inA || inB) either++
  }
  // A band narrower than a pixel holds the outline at least, whose distance is 0.
  return either === 0 ? 1 : both / either
}
