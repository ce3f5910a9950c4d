import { flag } from './variant.ts'

/** One launch of kernels/matmul_lanes.wgsl: y = A B for a batch of matrices, or their sum over `images`. */
export interface Product {
  readonly m: number
  readonly n: number
  readonly k: number
  readonly transposeA?: boolean
  readonly transposeB?: boolean
  /** Products, and the sizes of the batch axes with the strides of A and B along them, in matrices. */
  readonly batch: number
  readonly axes: Readonly<Record<string, number>>
  /** Pairs of matrices that are summed, and their distances in elements. */
  readonly images?: number
  readonly stepA?: number
  readonly stepB?: number
  /** Parts of the sum over k and images, each written to its own y: about as many. */
  readonly splits?: number
  /** Rows are channels times 2×2 places, columns the pixels of rows so wide: y is written as the image of the tiles. */
  readonly tiledWidth?: number
  /** The same of B: it is read from an image of 2×2 windows, so many a row. */
  readonly windowsWidth?: number
  /** The n columns are those of so many images, of B's rows and y's; B's images have rows of `line` elements, zeros last. */
  readonly spans?: number
  readonly line?: number
  /** Where y is part of a larger array: the matrices of image i lie offset + i·gap elements further than in a dense one. */
  readonly offset?: number
  readonly gap?: number
  /** The same of B's images. */
  readonly sourceOffset?: number
  readonly sourceGap?: number
  /** Matrices of an image: rows of bias go on through them. */
  readonly groups?: number
  readonly bias?: boolean
  readonly relu?: boolean
  readonly accumulate?: boolean
  /** Of this product of the batch rows of A are summed up over k, with windows of B each channel's columns. */
  readonly summed?: number | undefined
  readonly addSums?: boolean | undefined
}

export interface ProductLaunch {
  readonly splits: number
  readonly entry: string
  /** What y is bound as. */
  readonly result: 'y' | 'y4'
  readonly params: Record<string, number>
  readonly overrides: Record<string, number>
  readonly workgroups: [number, number, number]
}

/** The batch axes of one axis, A and B moving along it by so many matrices. */
export const oneAxis = (n0: number, a0: number, b0: number) => ({
  ...{ n0, n1: 1, n2: 1, n3: 1 },
  ...{ a0, a1: 0, a2: 0, a3: 0 },
  ...{ b0, b1: 0, b2: 0, b3: 0 },
})

/** Rows of a tile: 32 where there are so many, and tiles for two cores. */
const rowsOf = ({ m, n, batch, splits = 1 }: Product) =>
  m > 16 && Math.ceil(m / 32) * Math.ceil(n / 32) * batch * splits >= 2 ? 32 : 16

export function lanesProduct(p: Product): ProductLaunch {
  const { m, n, k, images = 1, spans = 1, sourceOffset = 0, sourceGap = 0 } = p
  const plane = n / spans
  const across = p.transposeB ? n : (p.line ?? plane)
  const line = p.line ?? (p.transposeB ? k : plane)
  const rows = rowsOf(p)
  const chunk = Math.min(4 * Math.ceil(k / 4), 4 * Math.max(8, Math.ceil((k * images) / (p.splits ?? 1) / 4)))
  const chunks = Math.ceil(k / chunk)
  const total = images * chunks
  const perSplit = Math.ceil(total / (p.splits ?? 1))
  const splits = Math.ceil(total / perSplit)
  const { offset = 0, gap = 0 } = p
  const wide = [plane, offset, gap].every((v) => v % 4 === 0)
  const [beside, below] = [Math.ceil((across * spans) / 32), Math.ceil(m / rows)]
  // B is read anew for each row of tiles: side by side they find it in a cache. (Of gradients of weights it was no faster.)
  const down = !p.transposeB && m < n
  return {
    splits,
    entry: wide ? 'matmul_lanes_wide' : 'matmul_lanes',
    result: wide ? 'y4' : 'y',
    params: {
      ...{ m, n, k, ...p.axes },
      ...{ stepA: p.stepA ?? 0, stepB: (p.stepB ?? 0) + sourceGap, chunks, chunk, total, perSplit, splits },
      width: p.tiledWidth ?? p.windowsWidth ?? 1,
      ...{ line, plane, across, spans },
      relu: flag(p.relu),
      ...{ offset, gap },
      ...{ sourceOffset, sourceGap, groups: p.groups ?? 1 },
      ...{ summed: p.summed ?? 0, addSums: flag(p.addSums) },
    },
    overrides: {
      TRANSPOSE_A: flag(p.transposeA),
      TRANSPOSE_B: flag(p.transposeB),
      WIDE_A: flag((p.transposeA ? m : k) % 4 === 0),
      WIDE_B: flag(line % 4 === 0),
      BIAS: flag(p.bias),
      ACCUMULATE: flag(p.accumulate),
      TILED: flag(p.tiledWidth !== undefined),
      WINDOWS: flag(p.windowsWidth !== undefined),
      TALL: flag(rows === 32),
      DOWN: flag(down),
    },
    workgroups: down ? [below, beside, p.batch * splits] : [beside, below, p.batch * splits],
  }
}

/** Rows and columns of y that a workgroup of `tiles` in kernels/matmul.wgsl computes. */
const TILE = 64

/** The same product by `tiles`: whole vec4s in all of it or in none, lest there be a pipeline for each case. */
export function tilesProduct(
  p: Pick<Product, 'm' | 'n' | 'k' | 'batch' | 'axes' | 'transposeA' | 'transposeB'>,
): Omit<ProductLaunch, 'splits'> {
  const { m, n, k, batch, axes, transposeA, transposeB } = p
  const whole = n % 4 === 0 && k % 16 === 0 && (!transposeA || m % 4 === 0)
  return {
    entry: whole ? 'tiles_wide' : 'tiles',
    result: whole ? 'y4' : 'y',
    params: { m, n, k, ...axes },
    overrides: {
      ...{ TRANSPOSE_A: flag(transposeA), TRANSPOSE_B: flag(transposeB) },
      ...{ WIDE_A: flag(whole), WIDE_B: flag(whole), EVEN_K: flag(whole) },
    },
    workgroups: [Math.ceil(n / TILE), Math.ceil(m / TILE), batch],
  }
}
