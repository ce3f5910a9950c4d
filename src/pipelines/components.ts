import { DataError } from '../gpu/errors.ts'

/** Which voxels hang together: those that share a face (6), also an edge (18), also a corner (26). In one plane 4, 8 and 8. */
export type VolumeConnectivity = 6 | 18 | 26

/** Stretches along the rows of an array (D, H, W), in raster order, and the components that they make up. */
interface Runs {
  /** First place of each, and the place after its last. */
  readonly from: readonly number[]
  readonly to: readonly number[]
  /** Component of each, numbered from 0 in raster order of their first voxels. */
  readonly component: Int32Array
  readonly count: number
}

type VolumeShape = readonly [depth: number, height: number, width: number]

/** Rows before row (z, y) whose runs may touch its own, and by how many voxels they may miss each other along the row. */
function neighbours(
  connectivity: VolumeConnectivity,
): readonly (readonly [dz: number, dy: number, reach: number])[] {
  const edges = connectivity >= 18
  const [edge, corner] = [edges ? 1 : 0, connectivity === 26 ? 1 : 0]
  return [
    [0, -1, edge],
    [-1, 0, edge],
    ...(edges
      ? ([
          [-1, -1, corner],
          [-1, 1, corner],
        ] as const)
      : []),
  ]
}

/** Union-find over runs: linear in voxels, and in memory in what the mask's outline is long. */
function runsOf(
  isIn: (i: number) => boolean,
  [depth, height, width]: VolumeShape,
  connectivity: VolumeConnectivity,
): Runs {
  const from: number[] = []
  const to: number[] = []
  const parent: number[] = []
  const firstOf = new Int32Array(depth * height + 1)
  const root = (run: number): number => {
    let at = run
    while (parent[at] !== at) {
      parent[at] = parent[parent[at]!]!
      at = parent[at]!
    }
    return at
  }
  // The smaller number wins: roots stay the first runs of their components.
  const unite = (a: number, b: number): void => {
    const [one, other] = [root(a), root(b)]
    parent[Math.max(one, other)] = Math.min(one, other)
  }
  const around = neighbours(connectivity)
  for (let row = 0; row < depth * height; row++) {
    const start = row * width
    firstOf[row] = from.length
    for (let x = 0; x < width; x++) {
      if (!isIn(start + x)) continue
      const begin = x
      while (x < width && isIn(start + x)) x++
      parent.push(from.length)
      from.push(start + begin)
      to.push(start + x)
    }
    firstOf[row + 1] = from.length
    const [z, y] = [Math.floor(row / height), row % height]
    for (const [dz, dy, reach] of around) {
      if (z + dz < 0 || y + dy < 0 || y + dy >= height) continue
      const other = row + dz * height + dy
      const shift = (row - other) * width
      // Both lists are in order: whichever run ends first can touch nothing that comes later.
      for (let a = firstOf[row]!, b = firstOf[other]!; a < firstOf[row + 1]! && b < firstOf[other + 1]!; ) {
        const [low, high] = [from[b]! + shift, to[b]! + shift]
        if (from[a]! < high + reach && low < to[a]! + reach) unite(a, b)
        if (to[a]! < high) a++
        else b++
      }
    }
  }
  const component = new Int32Array(from.length)
  let count = 0
  for (let run = 0; run < from.length; run++) {
    const first = root(run)
    component[run] = first === run ? count++ : component[first]!
  }
  return { from, to, component, count }
}

function checkVolume(name: string, mask: ArrayLike<number>, shape: VolumeShape, connectivity: number): void {
  const wanted = shape.reduce((n, size) => n * size, 1)
  if (mask.length !== wanted)
    throw new DataError(
      `${name}: ${mask.length} voxels do not fill ${shape.join('×')}, which wants ${wanted}`,
    )
  if (![6, 18, 26].includes(connectivity))
    throw new DataError(`${name}: connectivity is 6, 18 or 26, got ${connectivity}`)
}

/**
 * Keeps the k largest components of a mask in three dimensions, by voxels; of equal ones the first in raster order. On the
 * host, in time linear in the voxels.
 *
 * @param mask (D, H, W), foreground over 0.5
 * @param options.connectivity of the foreground; 6 (default): voxels that share a face
 * @returns 0 and 1; a mask of fewer components keeps all
 * @throws DataError when the mask does not fill the shape, or k is no whole number of at least 1
 */
export function keepLargestInVolume(
  mask: ArrayLike<number>,
  shape: VolumeShape,
  { k = 1, connectivity = 6 }: { readonly k?: number; readonly connectivity?: VolumeConnectivity } = {},
): Float32Array {
  checkVolume('keepLargestInVolume', mask, shape, connectivity)
  if (!Number.isInteger(k) || k < 1)
    throw new DataError(`keepLargestInVolume: k must be a whole number of at least 1, got ${k}`)
  const { from, to, component, count } = runsOf((i) => mask[i]! > 0.5, shape, connectivity)
  const sizes = new Float64Array(count)
  component.forEach((c, run) => {
    sizes[c]! += to[run]! - from[run]!
  })
  const order = Array.from(sizes, (_, c) => c).sort((a, b) => sizes[b]! - sizes[a]! || a - b)
  const kept = new Set(order.slice(0, k))
  const out = new Float32Array(mask.length)
  component.forEach((c, run) => {
    if (kept.has(c)) out.fill(1, from[run], to[run])
  })
  return out
}

/**
 * Fills the holes of a mask in three dimensions: background from which no path leads to the border of the volume, as SciPy's
 * binary_fill_holes does. A tunnel is no hole, though it is one in each slice across it. On the host, linear in the voxels.
 *
 * @param mask (D, H, W), foreground over 0.5
 * @param options.connectivity of the background; 6 (default): paths of steps along the axes
 * @returns 0 and 1
 * @throws DataError when the mask does not fill the shape
 */
export function fillHolesInVolume(
  mask: ArrayLike<number>,
  shape: VolumeShape,
  { connectivity = 6 }: { readonly connectivity?: VolumeConnectivity } = {},
): Float32Array {
  checkVolume('fillHolesInVolume', mask, shape, connectivity)
  const [depth, height, width] = shape
  const { from, to, component, count } = runsOf((i) => !(mask[i]! > 0.5), shape, connectivity)
  const open = new Uint8Array(count)
  component.forEach((c, run) => {
    const row = Math.floor(from[run]! / width)
    const [z, y] = [Math.floor(row / height), row % height]
    // A single slice has no border above and below.
    const outermost = (depth > 1 && (z === 0 || z === depth - 1)) || y === 0 || y === height - 1
    if (outermost || from[run] === row * width || to[run] === (row + 1) * width) open[c] = 1
  })
  const out = new Float32Array(mask.length)
  // Not by Float32Array.from, which takes seconds for a scan.
  for (let i = 0; i < out.length; i++) if (mask[i]! > 0.5) out[i] = 1
  component.forEach((c, run) => {
    if (!open[c]) out.fill(1, from[run], to[run])
  })
  return out
}

/** Labels the 4-connected components of a mask (H, W): 0 background, 1…n in raster order of their first pixels. */
export function labelComponents(mask: ArrayLike<number>, height: number, width: number): Int32Array {
  const { from, to, component } = runsOf((i) => mask[i]! > 0.5, [1, height, width], 6)
  const labels = new Int32Array(height * width)
  component.forEach((c, run) => {
    labels.fill(c + 1, from[run], to[run])
  })
  return labels
}
