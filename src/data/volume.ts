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

/** Where the voxels of a scan lie, mm. */
export interface Grid {
  readonly shape: readonly [depth: number, height: number, width: number]
  /** Distance between voxel centres, mm. */
  readonly spacing: readonly [z: number, y: number, x: number]
  readonly affine: Affine
  /** The file's own grid; absent for volumes made or resampled here. */
  readonly stored?: StoredGrid
}

/**
 * A scan: (D, H, W) voxels on a grid in mm.
 *
 * Axis order, whatever the file's: W runs from the patient's right to left, H from anterior to posterior, D
 * from inferior to superior. So each slice looks as radiologists look at it, and slice 0 is the lowest.
 * Oblique grids are turned to the nearest such order, not resampled.
 */
export interface Volume extends Grid {
  /** D · H · W values, W fastest: HU in CT, else stored units after slope and intercept. */
  readonly data: Float32Array
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
 * The grid of a file in the order of `Volume`.
 *
 * @param shape sizes of the file's axes, fastest first
 * @param affine the file's voxel indices to mm, RAS+
 * @throws DataError when the affine is singular or not finite
 */
export function orientGrid(
  shape: readonly [number, number, number],
  affine: Affine,
  name: string,
): Grid & { readonly stored: StoredGrid } {
  checkAffine(affine, name)
  const { axes, flips } = nearestAxes(affine)
  const [width, height, depth] = axes.map((axis) => shape[axis]!) as Triple
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
  return {
    shape: [depth, height, width],
    spacing,
    affine: oriented,
    stored: { shape, affine, axes, flips },
  }
}

/**
 * Brings voxels in a file's own order to the order of `Volume`.
 *
 * @param values the file's voxels, first axis fastest
 * @throws DataError as `orientGrid`
 */
export function orientVolume(
  values: Float32Array,
  shape: readonly [number, number, number],
  affine: Affine,
  name: string,
): Volume {
  const grid = orientGrid(shape, affine, name)
  const { steps, start, sizes } = strides(grid.stored)
  const [width, height, depth] = sizes
  const data = new Float32Array(values.length)
  let i = 0
  for (let z = 0; z < depth; z++) {
    for (let y = 0; y < height; y++) {
      let from = start + z * steps[2] + y * steps[1]
      for (let x = 0; x < width; x++, from += steps[0]) data[i++] = values[from]!
    }
  }
  return { data, ...grid, name }
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

/** Part of the smallest voxel side by which places in two grids may lie apart. */
const TOLERANCE = 0.1

/** Where a grid's voxel (x, y, z) lies, mm. */
const placeOf = (affine: Affine, [x, y, z]: Triple): Triple =>
  [0, 1, 2].map(
    (r) => affine[r]![0]! * x + affine[r]![1]! * y + affine[r]![2]! * z + affine[r]![3]!,
  ) as Triple

const mm = (spacing: readonly number[]): string => `${spacing.map((s) => +s.toPrecision(4)).join('×')} mm`

/**
 * How the grid of a mask differs from that of its image: sizes, spacing, orientation, position. Empty where they agree:
 * same sizes, and every corner within a tenth of the smallest voxel side. Grids are compared in the order of `Volume`:
 * files may store their axes as they like.
 */
export function gridDifferences(image: Grid, mask: Grid): string[] {
  const found: string[] = []
  const tolerance = TOLERANCE * Math.min(...image.spacing)
  const sizes = image.shape.some((n, i) => n !== mask.shape[i])
  if (sizes) found.push(`sizes: ${mask.shape.join('×')} voxels, the image ${image.shape.join('×')}`)
  // What a difference amounts to at the far end of an axis.
  const far = image.shape.map((n) => Math.max(1, n - 1))
  if (image.spacing.some((s, i) => Math.abs(s - mask.spacing[i]!) * far[i]! > tolerance))
    found.push(`spacing: ${mm(mask.spacing)}, the image ${mm(image.spacing)}`)
  const angles = image.spacing.map((s, i) => {
    const [a, b] = [column(image.affine, 2 - i), column(mask.affine, 2 - i)]
    // By the chord, which is exact for small angles where a cosine is not.
    const chord = norm([0, 1, 2].map((r) => a[r]! / s - b[r]! / mask.spacing[i]!))
    return 2 * Math.asin(Math.min(1, chord / 2))
  })
  if (angles.some((angle, i) => angle * image.spacing[i]! * far[i]! > tolerance))
    found.push(`orientation: axes turned by up to ${((Math.max(...angles) * 180) / Math.PI).toPrecision(2)}°`)
  const apart = (corner: Triple): number => {
    const [a, b] = [placeOf(image.affine, corner), placeOf(mask.affine, corner)]
    return norm([0, 1, 2].map((r) => a[r]! - b[r]!))
  }
  const first = apart([0, 0, 0])
  if (first > tolerance) found.push(`position: first voxels ${first.toPrecision(3)} mm apart`)
  if (found.length > 0) return found
  const [d, h, w] = image.shape
  const ends = [0, w - 1].flatMap((x) => [0, h - 1].flatMap((y) => [0, d - 1].map((z): Triple => [x, y, z])))
  const most = Math.max(...ends.map(apart))
  return most > tolerance ? [`position: corners up to ${most.toPrecision(3)} mm apart`] : []
}

/**
 * Refuses a mask that lies on another grid than its image.
 *
 * @throws DataError naming both files, and in what they differ
 */
export function assertSameGrid(image: Volume, mask: Volume): void {
  const differences = gridDifferences(image, mask)
  if (differences.length === 0) return
  const [a, b] = [image.name ?? 'volume', mask.name ?? 'volume']
  throw new DataError(
    `the mask ${b} lies on another grid than its image ${a} (${differences.join('; ')}; D×H×W); ` +
      "resample the mask to the image's grid",
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
