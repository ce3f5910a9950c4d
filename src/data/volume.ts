import { DataError } from '../gpu/errors.ts'

/** 4×4 matrix, rows first: (x, y, z, 1) voxel indices to mm in RAS+ (x right, y anterior, z superior). */
export type Affine = readonly (readonly number[])[]

/** How a file's own grid lies: what `writeVolume` needs to give a mask the grid of its image. */
export interface StoredGrid {
  /** Sizes along the file's axes, fastest first. */
  readonly shape: readonly [number, number, number]
  /** The file's axis that became x, y and z. */
  readonly axes: readonly [number, number, number]
  /** Whether x, y and z run against the file's axis. */
  readonly flips: readonly [boolean, boolean, boolean]
  readonly affine: Affine
}

/**
 * A scan: (D, H, W) voxels on a grid in mm.
 *
 * Axis order, whatever the file's: W runs from the patient's right to left, H from anterior to posterior, D
 * from inferior to superior. So each slice looks as radiologists look at it, and slice 0 is the lowest.
 * Oblique grids are turned to the nearest such order, not resampled.
 */
export interface Volume {
  /** D · H · W values, W fastest: HU in CT, else stored units after slope and intercept. */
  readonly data: Float32Array
  readonly shape: readonly [depth: number, height: number, width: number]
  /** Distance between voxel centres, mm. */
  readonly spacing: readonly [z: number, y: number, x: number]
  readonly affine: Affine
  /** The file's own grid; absent for volumes made or resampled here. */
  readonly stored?: StoredGrid
  /** Where it came from, for messages. */
  readonly name?: string
}

/** Signs of the wanted axes in RAS+: left and posterior count down, superior up. */
const WANTED = [-1, -1, 1] as const
type Triple = [number, number, number]

const column = (affine: Affine, axis: number): Triple => [0, 1, 2].map((r) => affine[r]![axis]!) as Triple
const norm = (v: readonly number[]): number => Math.hypot(...v)

/** Assigns each axis of the body the file's axis that runs most along it, surest first. */
function nearestAxes(affine: Affine): { axes: Triple; flips: [boolean, boolean, boolean] } {
  const cosines = [0, 1, 2].map((axis) => {
    const v = column(affine, axis)
    return v.map((c) => c / norm(v))
  })
  const axes: Triple = [-1, -1, -1]
  for (let n = 0; n < 3; n++) {
    let best = { size: -1, body: 0, axis: 0 }
    for (let body = 0; body < 3; body++) {
      for (let axis = 0; axis < 3; axis++) {
        const size = Math.abs(cosines[axis]![body]!)
        if (axes[body] === -1 && !axes.includes(axis) && size > best.size) best = { size, body, axis }
      }
    }
    axes[best.body] = best.axis
  }
  const flips = axes.map((axis, body) => cosines[axis]![body]! * WANTED[body]! < 0)
  return { axes, flips: flips as [boolean, boolean, boolean] }
}

/** For each of x, y, z: step and start in the file's order, in voxels. */
function strides({ shape, axes, flips }: StoredGrid): { steps: Triple; start: number; sizes: Triple } {
  const step = [1, shape[0], shape[0] * shape[1]]
  let start = 0
  const steps = axes.map((axis, i) => {
    if (!flips[i]) return step[axis]!
    start += (shape[axis]! - 1) * step[axis]!
    return -step[axis]!
  }) as Triple
  return { steps, start, sizes: axes.map((axis) => shape[axis]!) as Triple }
}

function checkAffine(affine: Affine, name: string): void {
  const lengths = [0, 1, 2].map((axis) => norm(column(affine, axis)))
  const [a, b, c] = [0, 1, 2].map((axis) => column(affine, axis)) as [Triple, Triple, Triple]
  const volume =
    a[0] * (b[1] * c[2] - b[2] * c[1]) -
    a[1] * (b[0] * c[2] - b[2] * c[0]) +
    a[2] * (b[0] * c[1] - b[1] * c[0])
  const box = lengths[0]! * lengths[1]! * lengths[2]!
  if (Number.isFinite(volume) && box > 0 && Math.abs(volume) > 1e-6 * box) return
  throw new DataError(
    `${name}: its affine does not span space (voxel edges of ${lengths.map((l) => l.toPrecision(4)).join(', ')} mm); ` +
      "mend the file's header",
  )
}

/**
 * Brings voxels in a file's own order to the order of `Volume`.
 *
 * @param values the file's voxels, first axis fastest
 * @param shape sizes of the file's axes, fastest first
 * @param affine the file's voxel indices to mm, RAS+
 * @throws DataError when the affine is singular or not finite
 */
export function orientVolume(
  values: Float32Array,
  shape: readonly [number, number, number],
  affine: Affine,
  name: string,
): Volume {
  checkAffine(affine, name)
  const stored: StoredGrid = { shape, affine, ...nearestAxes(affine) }
  const { steps, start, sizes } = strides(stored)
  const [width, height, depth] = sizes
  const data = new Float32Array(values.length)
  let i = 0
  for (let z = 0; z < depth; z++) {
    for (let y = 0; y < height; y++) {
      let from = start + z * steps[2] + y * steps[1]
      for (let x = 0; x < width; x++, from += steps[0]) data[i++] = values[from]!
    }
  }
  const { axes, flips } = stored
  const oriented = affine.map((row) => {
    if (row === affine[3]) return [0, 0, 0, 1]
    const turned = axes.map((axis, n) => (flips[n] ? -row[axis]! : row[axis]!))
    const origin = axes.reduce(
      (sum, axis, n) => sum + (flips[n] ? row[axis]! * (shape[axis]! - 1) : 0),
      row[3]!,
    )
    return [...turned, origin]
  })
  const spacing = [2, 1, 0].map((axis) => norm(column(oriented, axis))) as Triple
  return { data, shape: [depth, height, width], spacing, affine: oriented, stored, name }
}

/**
 * The inverse of `orientVolume`: voxels of a (D, H, W) array in the order of the file that `stored` describes.
 *
 * @returns voxels, the file's first axis fastest
 */
export function toStoredOrder(data: Float32Array, stored: StoredGrid): Float32Array {
  const { steps, start, sizes } = strides(stored)
  const [width, height, depth] = sizes
  const out = new Float32Array(data.length)
  let i = 0
  for (let z = 0; z < depth; z++) {
    for (let y = 0; y < height; y++) {
      let to = start + z * steps[2] + y * steps[1]
      for (let x = 0; x < width; x++, to += steps[0]) out[to] = data[i++]!
    }
  }
  return out
}

/** Whether two grids agree: same sizes, and corners within a tenth of a voxel of each other. */
export function sameGrid(a: Volume, b: Volume): boolean {
  if (a.shape.some((size, i) => size !== b.shape[i])) return false
  const [d, h, w] = a.shape
  const tolerance = 0.1 * Math.min(...a.spacing)
  return [0, w - 1].every((x) =>
    [0, h - 1].every((y) =>
      [0, d - 1].every((z) => {
        const at = (affine: Affine, row: number) =>
          affine[row]![0]! * x + affine[row]![1]! * y + affine[row]![2]! * z + affine[row]![3]!
        return norm([0, 1, 2].map((row) => at(a.affine, row) - at(b.affine, row))) <= tolerance
      }),
    ),
  )
}

/**
 * Refuses a mask that lies on another grid than its image.
 *
 * @throws DataError naming both files, sizes and spacings
 */
export function assertSameGrid(image: Volume, mask: Volume): void {
  if (sameGrid(image, mask)) return
  const say = (v: Volume) =>
    `${v.name ?? 'volume'} (${v.shape.join('×')} voxels of ${v.spacing.map((s) => +s.toPrecision(4)).join('×')} mm, D×H×W)`
  throw new DataError(
    `the mask ${say(mask)} lies on another grid than its image ${say(image)}; resample the mask to the image's grid`,
  )
}

/**
 * Resamples a volume to another voxel size over the same extent of tissue: the outer faces of the corner voxels stay.
 *
 * @param spacing wanted distance between voxels, mm: one number, or [z, y, x]
 * @param options.mode `linear` (default; voxels past the border repeat it) or `nearest` for masks and labels
 * @returns a volume of round(size · old / new) voxels an axis, at least 1; its spacing is adjusted so that the
 *   extent is kept. The file's grid is forgotten
 * @throws DataError when a spacing is not over 0
 */
export function resampleVolume(
  volume: Volume,
  spacing: number | readonly [number, number, number],
  options: { readonly mode?: 'linear' | 'nearest' } = {},
): Volume {
  const wanted = typeof spacing === 'number' ? [spacing, spacing, spacing] : spacing
  if (wanted.length !== 3 || wanted.some((s) => !(s > 0) || !Number.isFinite(s)))
    throw new DataError(`resampleVolume: spacing must be over 0 mm on each axis, got ${wanted.join(', ')}`)
  const shape = volume.shape.map((n, i) =>
    Math.max(1, Math.round((n * volume.spacing[i]!) / wanted[i]!)),
  ) as Triple
  let data = volume.data
  let now = [...volume.shape] as Triple
  // An axis at a time: linear interpolation is separable, nearest trivially so.
  for (const axis of [0, 1, 2]) {
    data = resampleAxis(data, now, axis, shape[axis]!, options.mode ?? 'linear')
    now = now.map((n, i) => (i === axis ? shape[axis]! : n)) as Triple
  }
  const scale = shape.map((n, i) => volume.shape[i]! / n)
  const affine = volume.affine.map((row, r) => {
    if (r === 3) return [0, 0, 0, 1]
    const columns = [0, 1, 2].map((c) => row[c]! * scale[2 - c]!)
    // Voxel 0 of the new grid has its centre at scale/2 − 1/2 of the old.
    const origin = [0, 1, 2].reduce((sum, c) => sum + row[c]! * (scale[2 - c]! / 2 - 0.5), row[3]!)
    return [...columns, origin]
  })
  const exact = volume.spacing.map((s, i) => s * scale[i]!) as Triple
  return { data, shape, spacing: exact, affine, ...(volume.name ? { name: volume.name } : {}) }
}

function resampleAxis(
  data: Float32Array,
  shape: Triple,
  axis: number,
  size: number,
  mode: 'linear' | 'nearest',
): Float32Array {
  const from = shape[axis]!
  if (from === size) return data
  const inner = shape.slice(axis + 1).reduce((n, s) => n * s, 1)
  const outer = shape.slice(0, axis).reduce((n, s) => n * s, 1)
  const out = new Float32Array(outer * size * inner)
  for (let o = 0; o < outer; o++) {
    for (let k = 0; k < size; k++) {
      const at = Math.min(from - 1, Math.max(0, ((k + 0.5) * from) / size - 0.5))
      const low = mode === 'nearest' ? Math.floor(((2 * k + 1) * from) / (2 * size)) : Math.floor(at)
      const high = Math.min(from - 1, low + 1)
      const part = mode === 'nearest' ? 0 : at - low
      const a = (o * from + low) * inner
      const b = (o * from + high) * inner
      const to = (o * size + k) * inner
      for (let i = 0; i < inner; i++)
        out[to + i] = part === 0 ? data[a + i]! : data[a + i]! * (1 - part) + data[b + i]! * part
    }
  }
  return out
}
