/** What a plan is made of: the numbers of a convolution, of an adapter, and the dispatches of a variant. */

export interface ConvShape {
  n: number
  cin: number
  h: number
  w: number
  cout: number
  kh: number
  kw: number
  strideH: number
  strideW: number
  padH: number
  padW: number
  dilationH: number
  dilationW: number
  groups: number
  outH: number
  outW: number
}

export interface ConvAdapter {
  /** A software adapter: workgroup memory and barriers are slow, so register tiles come first. */
  cpu: boolean
  subgroups: boolean
  /** Of the driver: its subgroups have eight lanes or more. */
  lanes: boolean
  maxInvocations: number
  maxWorkgroupStorage: number
  /** The activations are float16: then a kernel's form says which arrays beside them are float32. */
  half?: boolean
  /** Plans by subgroup matrices, where the device was opened with them and has them for the tensors' type. */
  matrices?: MatrixPlans | undefined
  /** Plans by kernels that are not always loaded: those for CPU drivers, and those for a tuner. */
  cpuPlans?: CpuPlans
  tuned?: TunedPlans
}

/** A convolution and its two transposes. */
export type ConvPart = 'forward' | 'inputGrad' | 'weightGrad'

/** Plans that are loaded with their kernels; which is the default, if one is. */
export interface LoadedPlans {
  variants(
    part: ConvPart,
    s: ConvShape,
    adapter: ConvAdapter,
    epilogue: ConvEpilogue,
  ): (ConvVariant | undefined)[]
  best(part: ConvPart, s: ConvShape, adapter: ConvAdapter): string | undefined
}

/** Those that GPUs take only where a tuner has measured them: also other tiles of the matrix products than `tile`. */
export interface TunedPlans extends LoadedPlans {
  tiles(part: ConvPart, s: ConvShape, tile: GemmTile, rows: number, adapter: ConvAdapter): GemmTile[]
}

/**
 * A tile of the product: 8·ROWS × 4·SPAN (of the gradient of the weight 8·ROWS × 4·COLS), threads ROWS × COLS, slices of
 * DEPTH k in one buffer or two. A thread fetches one, two or four times TAPS of a slice's vec4s.
 */
export interface GemmTile {
  readonly name: string
  readonly ROWS: number
  readonly COLS: number
  readonly SPAN: number
  readonly DEPTH: number
  readonly BUFFERS: number
}

/** Those by the kernels for CPU drivers. */
export interface CpuPlans extends LoadedPlans {
  readonly gradients: ConvGradients
}

/** Both gradients together, if there is such a form of the variants of these names: of inputGrad and weightGrad. */
export type ConvGradients = (
  s: ConvShape,
  adapter: ConvAdapter,
  names: readonly [string, string],
  epilogues: { readonly inputGrad: ConvEpilogue; readonly weightGrad: ConvEpilogue },
) => ConvVariant | undefined

/** Plans by subgroup matrices; undefined for what does not suit them. */
export interface MatrixPlans {
  forward(s: ConvShape, epilogue: ConvEpilogue): ConvVariant | undefined
  inputGrad(s: ConvShape, epilogue: ConvEpilogue): ConvVariant | undefined
  weightGrad(s: ConvShape, epilogue: ConvEpilogue): ConvVariant | undefined
  /** The kernel for a product of matrices with so many rows, and the tile that a workgroup computes. */
  product(m: number): {
    readonly file: string
    readonly entry: string
    readonly overrides: Record<string, number>
    readonly rows: number
    readonly columns: number
  }
}

export interface ConvEpilogue {
  bias?: boolean
  relu?: boolean
  accumulate?: boolean
  /**
   * weightGrad also writes db: dy, or x of a transposed convolution, summed up for each channel. A variant that binds no
   * db does not.
   */
  sums?: 'dy' | 'x' | undefined
  /** Of y or dx that are channels of a larger array: image n lies offset + n·gap elements further than in a dense one. */
  offset?: number
  gap?: number
  /** The same of x or dy where it is what a part reads (of weightGrad: x). */
  sourceOffset?: number
  sourceGap?: number
}

export type ConvBuffer = 'x' | 'weight' | 'bias' | 'y' | 'dy' | 'dx' | 'dw' | 'db' | `scratch:${string}`

export interface ConvDispatch {
  /** `kernels/<file>.wgsl` */
  file: string
  entry: string
  bindings: Record<string, ConvBuffer>
  params: Record<string, number>
  overrides: Record<string, number>
  workgroups: [number, number, number]
}

export interface ConvVariant {
  name: string
  /** Floats that each scratch buffer needs; `scratch:partial` is the buffer `partial` here. */
  scratch: Record<string, number>
  dispatches: ConvDispatch[]
}

/** A kernel's plan for a part of a convolution, if it computes that. */
export type ConvForm = (s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue) => ConvVariant | undefined

/** Whether a convolution suits products in tiles of a workgroup: groups of few channels would leave most of one empty. */
export const gemmFit = (s: ConvShape) => s.groups === 1 || (s.cin / s.groups >= 8 && s.cout / s.groups >= 8)

export const WORKGROUP = 64

/** A condition as kernels take it. */
export const flag = (on: boolean | undefined) => (on ? 1 : 0)

/** Invocations of a workgroup: fewer where that many workgroups would not keep a few cores busy. */
export const tileWorkgroup = (count: number) => (count >= 2048 ? 64 : count >= 512 ? 16 : 8)

/** Whether the lane kernels run: they share values among the first eight lanes of a subgroup. */
export function lanes(adapter: ConvAdapter): boolean {
  return adapter.cpu && adapter.subgroups && adapter.lanes
}

/** Workgroups for `count` of them: spread over y where x alone may not hold them. */
export function spread(count: number): [number, number, number] {
  if (count <= 65535) return [Math.max(count, 1), 1, 1]
  const y = Math.ceil(count / 65535)
  return [Math.ceil(count / y), y, 1]
}

export const invocations = (count: number) => spread(Math.ceil(count / WORKGROUP))

export function geometry(shape: ConvShape): Record<string, number> {
  return { ...shape }
}

/** Where y or dx lies. */
export const placeParams = ({ offset = 0, gap = 0 }: ConvEpilogue) => ({ offset, gap })

/** Where x or dy lies, for kernels that read it there, in runs of `width` elements. */
export const sourceParams = ({ sourceOffset = 0, sourceGap = 0 }: ConvEpilogue, width = 1) => ({
  sourceOffset: sourceOffset / width,
  sourceGap: sourceGap / width,
})

export function epilogueParams(epilogue: ConvEpilogue): Record<string, number> {
  const { bias, relu, accumulate } = epilogue
  const flags = { hasBias: flag(bias), relu: flag(relu), accumulate: flag(accumulate) }
  return { ...flags, ...placeParams(epilogue) }
}

/** Where there is no bias, the weight stands in its binding and is not read. */
export const biasBinding = ({ bias }: ConvEpilogue): ConvBuffer => (bias ? 'bias' : 'weight')
