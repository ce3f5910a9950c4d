import source from '../../../kernels/components.wgsl'
import scanSource from '../../../kernels/scan.wgsl'
import { ShapeError } from '../../gpu/errors.ts'
import { kernel } from '../../gpu/kernel.ts'
import type { Storage } from '../../gpu/storage.ts'
import type { Device } from '../device.ts'
import type { Run } from '../op.ts'
import { checkTensor, formatShape, type Shape, type Tensor } from '../tensor.ts'

/*
 * Union-find on the GPU: what connectedComponents, hysteresisThreshold, componentContaining and
 * largestComponent share.
 *
 * Elements are runs of foreground inside 32-pixel words of a row; a run is a bit pattern, so a word finds the
 * runs that it touches by a few bit operations. Four launches, whatever the image; on CPU drivers three where the first two
 * can be one:
 *
 *   threshold  one bit a pixel (of hysteresis two: foreground and strong)
 *   plant      a run takes over the parent of a run above it in its strip, or is its own
 *   connect    joins the runs that touch and are not joined yet (Rem's algorithm)
 *   flatten    every run's parent becomes its root (of hysteresis: and a root with strong pixels is marked)
 *
 * A mask may be larger than a binding of the adapter (8192² of float32 are 256 MB, a binding is often 128 MB):
 * only `threshold` and the writing of the result touch whole images, and they take them in bands of rows.
 *
 * Why it ends: parents only fall. A join (a, b) gives a, the one with the later parent p, the earlier parent q
 * of b, by atomicMin, and goes on with (p, b) unless a was a root: a + b falls each time.
 *
 * Why it is right under any interleaving: call i and p tied if i → p ever was an edge. Where i → p gave way to
 * i → q, q < p, there are in its place the edge i → q, the join of p and b still to be done, and the tie b → q,
 * whose end is earlier than p. A join still to be done leaves ties to ever earlier ends. So no tie leans on
 * itself, and when all joins are done, each tie is a path of edges. Hence the edges tie each component; its
 * root is its earliest run, that of its first pixel in raster order. No lock, no waiting for another
 * invocation, no repetition until nothing changes, the same result in any order.
 *
 * `connect` changes parents by atomicMin alone, `flatten` by stores and compare-exchanges alone: on SwiftShader an
 * atomicMin is atomic among its kind only, and overwrites what was stored between its load and its store.
 *
 * Bounds on the work: joins shorten the paths that they walk, and flatten halves its; measured, the time a
 * pixel does not grow with the size, on spirals, combs and percolation noise.
 *
 * Sources: Rem's algorithm in E. W. Dijkstra, "A discipline of programming", 1976; many threads: M. M. A.
 * Patwary, P. Refsnes, F. Manne, "Multi-core spanning forest algorithms using the disjoint-set data structure",
 * IPDPS 2012, and L. Dhulipala, C. Hong, J. Shun, "ConnectIt", VLDB 2021; atomicMin on a GPU: D. P. Playne,
 * K. Hawick, "A new algorithm for parallel connected-component labelling on GPUs", IEEE TPDS 2018; runs as bit
 * patterns: F. Lemaitre, A. Hennequin, L. Lacassagne, "How to speed connected component labeling up with SIMD
 * RLE algorithms", WPMVP 2020.
 */

/** 4: pixels that share an edge are neighbours. 8: those that share a corner, too. */
export type Connectivity = 4 | 8

/** Largest side, px: up to it coordinates are exact in float32. */
const MAX_SIDE = 2 ** 24
/** Rows that one invocation of `plant` and `measure` takes. */
const STRIP = 8
/** Words that an invocation takes on CPU drivers, where each costs as much as what it does with a word. */
const WORDS_ON_CPU = 8
/** Values a group of the prefix sum. */
const RADIX = 64
/** The most values that one invocation scans by itself; on the processor two more launches cost more than 2048. */
const maxAlone = ({ adapter }: Device): number => (adapter.cpu ? 2048 : 128)

const kernels = kernel('components', source)
const scans = kernel('scan', scanSource)

/** (N, H, W) of a float32 (N, 1, H, W) tensor. */
export function checkPlane(op: string, name: string, x: Tensor): [number, number, number] {
  checkTensor(op, name, x)
  if (x.dtype !== 'float32') throw new ShapeError(op, `${name} must be float32, got ${x.dtype}`)
  return checkPlaneShape(op, name, x.shape)
}

export function checkPlaneShape(op: string, name: string, shape: Shape): [number, number, number] {
  const [n, c, h, w] = shape
  if (shape.length !== 4 || c !== 1) {
    throw new ShapeError(
      op,
      `${name} must have one channel, (N, 1, H, W), got ${formatShape(shape)}; slice or reshape it`,
    )
  }
  if (Math.max(h!, w!) > MAX_SIDE) {
    throw new ShapeError(op, `${name} is ${formatShape(shape)}; sides up to ${MAX_SIDE} px are exact`)
  }
  return [n!, h!, w!]
}

export function checkConnectivity(op: string, connectivity: number): asserts connectivity is Connectivity {
  if (connectivity !== 4 && connectivity !== 8)
    throw new ShapeError(op, `connectivity is 4 (edges) or 8 (edges and corners), got ${connectivity}`)
}

/** A finite number of an option. */
export function checkNumber(op: string, name: string, value: number, least = Number.NEGATIVE_INFINITY): void {
  if (Number.isFinite(value) && value >= least) return
  const from = least > Number.NEGATIVE_INFINITY ? ` of at least ${least}` : ''
  throw new ShapeError(op, `${name} is a finite number${from}, got ${value}`)
}

/** Elements of a float32 tensor that one binding of the device holds. */
const bindable = ({ adapter }: Device): number => Math.floor(adapter.maxBindingBytes / 4)

/** Rows of a tensor with one row a row of pixels, and the part of it that a launch over them binds. */
export interface Band {
  readonly firstRow: number
  readonly endRow: number
  /** Elements before the bound part. */
  readonly skipped: number
  /** Elements of the bound part. */
  readonly count: number
}

/** WebGPU binds at multiples of 256 bytes: elements between two places where a binding may begin. */
const ALIGNMENT = 64

/** Cuts `rows` rows of `width` elements into bands of which no binding exceeds `most` elements, if a row fits. */
export function bands(rows: number, width: number, most: number): Band[] {
  if (rows * width <= most) return [{ firstRow: 0, endRow: rows, skipped: 0, count: rows * width }]
  // What is bound may begin up to ALIGNMENT elements before the first row.
  const high = Math.max(1, Math.floor((most - ALIGNMENT) / width))
  return Array.from({ length: Math.ceil(rows / high) }, (_, i) => {
    const [firstRow, endRow] = [i * high, Math.min(rows, (i + 1) * high)]
    const skipped = Math.floor((firstRow * width) / ALIGNMENT) * ALIGNMENT
    return { firstRow, endRow, skipped, count: endRow * width - skipped }
  })
}

type Bindings = Readonly<Record<string, Tensor | Storage>>

/** Components of a batch of images, before they are numbered. */
export class Forest {
  readonly #params: Readonly<Record<string, number>>
  readonly #bands: readonly Band[]
  /** One bit a pixel, in words of 32 pixels of a row. */
  readonly #bits: Tensor
  /** The same of strong pixels. */
  readonly #strong: Tensor | undefined
  readonly #parents: Tensor
  /** Roots in each word; after `number` the roots before it. */
  readonly #found: Tensor
  /** One bit a run, at its start: it is a root. */
  readonly #rootStarts: Tensor

  /** Finds the components of x > threshold: three or four launches, and one more for each further band. */
  constructor(
    private readonly run: Run,
    private readonly x: Tensor,
    options: {
      readonly threshold: number
      /** Marks the components that hold a value above it. */
      readonly high?: number
      readonly connectivity: Connectivity
      readonly slots?: number
    },
  ) {
    const [images, height, width] = checkPlane(run.op, 'mask', x)
    const rowWords = Math.ceil(width / 32)
    const rowNodes = Math.ceil(width / 2)
    const words = images * height * rowWords
    this.#params = {
      first: 0,
      end: words,
      skipped: 0,
      images,
      height,
      width,
      row_words: rowWords,
      row_nodes: rowNodes,
      strips: Math.ceil(height / STRIP),
      diagonal: options.connectivity === 8 ? 1 : 0,
      slots: options.slots ?? 0,
      threshold: options.threshold,
      high: options.high ?? options.threshold,
    }
    this.#bands = bands(images * height, width, bindable(run.device))
    this.#parents = run.empty([images, height, rowNodes], 'uint32')
    this.#found = run.empty([images, height * rowWords], 'uint32')
    this.#rootStarts = run.empty([images, height, rowWords], 'uint32')
    const packed = [images, height, rowWords] as const
    this.#bits = run.empty(packed, 'uint32')
    this.#strong = options.high === undefined ? undefined : run.empty(packed, 'uint32')
    this.#plant()
    const forest = { bits: this.#bits, parents: this.#parents }
    this.#launchWords('connect', forest)
    if (this.#strong) this.#launchWords('flatten_strong', { ...forest, strong: this.#strong })
    else this.#launchWords('flatten', { ...forest, found: this.#found, root_bits: this.#rootStarts })
  }

  /** Invocations of the entry points that take a strip one word wide and STRIP rows high. */
  get #pieces(): number {
    const { images, strips, row_words } = this.#params
    return images! * strips! * row_words!
  }

  #launch(entry: string, bindings: Bindings, threads: number): void {
    this.run.launch({ kernel: kernels, entry, bindings, params: this.#params, threads })
  }

  /** Words that an invocation takes. */
  get #each(): number {
    return this.run.device.adapter.cpu ? WORDS_ON_CPU : 1
  }

  /** An entry point that takes words, or rows of the tables: so many, or those of `params`. */
  #launchWords(
    entry: string,
    bindings: Bindings,
    params = this.#params,
    count = params.end! - params.first!,
  ): void {
    const each = this.#each
    this.run.launch({
      kernel: kernels,
      entry,
      bindings,
      params,
      overrides: { RUN: each },
      threads: Math.ceil(count / each),
    })
  }

  /** One launch a band of a full-size tensor, `whole`, bound under `name`, that takes its words. */
  #launchBands(entry: string, name: string, whole: Tensor, bindings: Bindings): void {
    const perRow = this.#params.row_words!
    for (const { firstRow, endRow, skipped, count } of this.#bands) {
      const [first, end] = [firstRow * perRow, endRow * perRow]
      const part = count < whole.size ? whole.storage.slice(4 * skipped, 4 * count) : whole.storage.retain()
      this.#launchWords(entry, { ...bindings, [name]: part }, { ...this.#params, first, end, skipped })
      part.release('its launch was recorded')
    }
  }

  /** Four pixels at once where rows consist of fours. */
  get #wide(): boolean {
    return this.#params.width! % 4 === 0
  }

  /** One bit a pixel: x > threshold, and x > high where that is asked for. Then `plant`, on CPU drivers in one launch if it can be. */
  #plant(): void {
    const entry = this.#strong ? 'thresholds' : 'threshold'
    const packing = { packing: this.#bits, ...(this.#strong && { strong_packing: this.#strong }) }
    const parents = this.#parents
    if (this.run.device.adapter.cpu && this.#wide && this.#bands.length === 1) {
      this.#launch(`${entry}_and_plant`, { wide_x: this.x, ...packing, parents }, this.#pieces)
      return
    }
    if (this.#wide) this.#launchBands(`${entry}_wide`, 'wide_x', this.x, packing)
    else this.#launchBands(entry, 'x', this.x, packing)
    this.#launch('plant', { bits: this.#bits, parents }, this.#pieces)
  }

  /** Numbers the components of each image in raster order of their first pixels; returns how many there are. */
  number(): Tensor {
    const count = this.run.empty([this.#params.images!], 'int32')
    exclusiveScan(this.run, this.#found, count)
    const root_starts = this.#rootStarts
    this.#launchWords('number', { root_starts, parents: this.#parents, before: this.#found })
    return count
  }

  /** int32 labels, after `tables`. */
  labels(): Tensor {
    const labels = this.run.empty(this.x.shape, 'int32')
    const forest = { bits: this.#bits, roots: this.#parents }
    const wide = { bits: this.#bits, wide_roots: this.#parents }
    if (this.#wide) this.#launchBands('write_labels_wide', 'wide_labels', labels, wide)
    else this.#launchBands('write_labels', 'labels', labels, forest)
    return labels
  }

  /** Areas, boxes and centroids of the first `slots` components of each image, after `number`. */
  tables(count: Tensor): [areas: Tensor, boxes: Tensor, centroids: Tensor] {
    const { run } = this
    const { images, slots } = this.#params as Record<string, number>
    const sums = run.zeros([images!, slots!, 9], 'uint32')
    const areas = run.empty([images!, slots!], 'int32')
    const boxes = run.empty([images!, slots!, 4])
    const centroids = run.empty([images!, slots!, 2])
    this.#launch('measure', { bits: this.#bits, parents: this.#parents, sums }, this.#pieces)
    this.#launchWords('tabulate', { sums, count, areas, boxes, centroids }, this.#params, images! * slots!)
    return [areas, boxes, centroids]
  }

  /** Marks the component under each image's point. */
  markPoints(points: Tensor): void {
    this.#launch('mark_points', { points, bits: this.#bits, parents: this.#parents }, this.#params.images!)
  }

  /** Marks the component of each image with the most pixels; of equal ones the first in raster order. */
  markLargest(): void {
    const sizes = this.run.zeros(this.#parents.shape, 'uint32')
    const best = this.run.zeros([this.#params.images!, 2], 'uint32')
    const root_starts = this.#rootStarts
    this.#launchWords('weigh', { bits: this.#bits, roots: this.#parents, sizes, best })
    this.#launchWords('find_first_largest', { root_starts, sizes, best })
    this.#launch('mark_largest', { parents: this.#parents, best }, this.#params.images!)
  }

  /** 1 in the marked components, else 0. */
  marked(): Tensor {
    const marks = this.run.empty(this.x.shape)
    const forest = { bits: this.#bits, roots: this.#parents }
    if (this.#wide) this.#launchBands('write_marked_wide', 'wide_marks', marks, forest)
    else this.#launchBands('write_marked', 'marks', marks, forest)
    return marks
  }
}

/**
 * Replaces each row of `values` (segments, length) by its exclusive prefix sums, and writes the sums of the
 * rows to `totals`. The number of launches follows from the length.
 */
export function exclusiveScan(run: Run, values: Tensor, totals: Tensor): void {
  const [segments, fine] = values.shape as [number, number]
  if (fine <= maxAlone(run.device)) {
    run.launch({
      kernel: scans,
      entry: 'scan_segments',
      bindings: { values, totals },
      params: { segments, fine, coarse: 1 },
      threads: segments,
    })
    return
  }
  const coarse = Math.ceil(fine / RADIX)
  const sums = run.empty([segments, coarse], 'uint32')
  const level = { kernel: scans, params: { segments, fine, coarse }, threads: segments * coarse }
  run.launch({ ...level, entry: 'sum_groups', bindings: { values, sums } })
  exclusiveScan(run, sums, totals)
  run.launch({ ...level, entry: 'scan_groups', bindings: { values, offsets: sums } })
}
