/**
 * Convolutions and products by subgroup matrices, Dawn's experimental `chromium_experimental_subgroup_matrix`. A page
 * loads this file, and the kernels, where a device was opened with `subgroupMatrices` and its adapter offers them.
 */
import conv2d from '../../../kernels/matrix_conv2d.wgsl'
import weightGrad from '../../../kernels/matrix_conv2d_weight_grad.wgsl'
import product from '../../../kernels/matrix_matmul.wgsl'
import { AdapterError } from '../../gpu/errors.ts'
import { type Correlation, forwardCorrelation, inputGradCorrelation } from '../conv2d/correlation.ts'
import { split, splitSum } from '../conv2d/split.ts'
import {
  biasBinding,
  type ConvEpilogue,
  type ConvShape,
  type ConvVariant,
  epilogueParams,
  gemmFit,
  geometry,
  type MatrixPlans,
  spread,
} from '../conv2d/variant.ts'
import { addConvKernels } from './conv2d_kernels.ts'

/** A kind of subgroup matrices: (M × K) · (K × N) at once, as `GPUAdapterInfo.subgroupMatrixConfigs` lists them. */
export interface MatrixConfig {
  readonly componentType: string
  readonly resultComponentType: string
  readonly M: number
  readonly N: number
  readonly K: number
}

/** The limits that decide how many subgroups share a tile. */
export interface MatrixLimits {
  readonly subgroupMaxSize: number
  readonly maxInvocations: number
  readonly maxWorkgroupStorage: number
}

const FEATURE = 'chromium-experimental-subgroup-matrix'

/** A subgroup computes squares of so many rows and columns. */
const SIDE = 32

/** The overrides of kernels/parts/subgroup_matrix.wgsl. */
interface MatrixTile {
  readonly M: number
  readonly N: number
  readonly K: number
  readonly DEPTH: number
  readonly GROUP_ROWS: number
  readonly GROUP_COLS: number
  readonly LANES: number
}

/** The kind to compute with tensors of a type: for halves f16 before f32, always summed in f32; whose sizes divide 32. */
export function suitableConfig(
  configs: Iterable<MatrixConfig>,
  dtype: 'float16' | 'float32',
): MatrixConfig | undefined {
  const fits = [...configs].filter(
    ({ resultComponentType, M, N, K }) =>
      resultComponentType === 'f32' && [M, N, K].every((size) => size >= 8 && SIDE % size === 0),
  )
  const of = (type: string) => fits.find((c) => c.componentType === type)
  return dtype === 'float16' ? (of('f16') ?? of('f32')) : of('f32')
}

/** The tile for a product of so many rows: as many squares, up to four, as subgroups fit into a workgroup. */
export function matrixTile(
  { componentType, M, N, K }: MatrixConfig,
  rows: number,
  { subgroupMaxSize, maxInvocations, maxWorkgroupStorage }: MatrixLimits,
): MatrixTile | undefined {
  const DEPTH = Math.max(16, K)
  for (const groups of [4, 2, 1]) {
    const GROUP_ROWS = Math.min(rows > SIDE ? 2 : 1, groups)
    const GROUP_COLS = groups / GROUP_ROWS
    const LANES = groups * subgroupMaxSize
    const parts = SIDE * GROUP_ROWS * (DEPTH + 8) + DEPTH * (SIDE * GROUP_COLS + 8)
    const tables = 16 * (SIDE * GROUP_COLS + DEPTH)
    const bytes = parts * (componentType === 'f16' ? 2 : 4) + 4 * groups * M * N + tables
    if (LANES <= maxInvocations && bytes <= maxWorkgroupStorage)
      return { M, N, K, DEPTH, GROUP_ROWS, GROUP_COLS, LANES }
  }
  return undefined
}

/** A kernel's text for a kind of matrices. */
export const matrixText = (text: string, { componentType: type, M, N, K }: MatrixConfig): string =>
  Object.entries({
    part: type,
    left_matrix: `subgroup_matrix_left<${type}, ${K}, ${M}>`,
    right_matrix: `subgroup_matrix_right<${type}, ${N}, ${K}>`,
    result_matrix: `subgroup_matrix_result<f32, ${N}, ${M}>`,
    right_matrices: `array<right_matrix, ${SIDE / N}>`,
    result_matrices: `array<result_matrix, ${(SIDE / M) * (SIDE / N)}>`,
  }).reduce(
    (changed, [name, meaning]) =>
      changed.replace(new RegExp(`^alias ${name} = .*$`, 'm'), `alias ${name} = ${meaning};`),
    text,
  )

/** With fewer channels most of a tile would be empty. */
const suits = (s: ConvShape): boolean => gemmFit(s) && Math.min(s.cin, s.cout) / s.groups >= 8

/** Registers the kernels for a kind of matrices and gives what plans with them; undefined where no tile fits. */
export function matrixPlans(config: MatrixConfig, limits: MatrixLimits): MatrixPlans | undefined {
  if (!matrixTile(config, SIDE, limits)) return undefined
  const kind = `${config.componentType}_${config.M}x${config.N}x${config.K}`
  const texts = { matrix_conv2d: conv2d, matrix_conv2d_weight_grad: weightGrad, matrix_matmul: product }
  addConvKernels(
    Object.fromEntries(
      Object.entries(texts).map(([name, text]) => [`${name}_${kind}`, matrixText(text, config)]),
    ),
  )

  const correlate = (s: ConvShape, c: Correlation, epilogue: ConvEpilogue): ConvVariant | undefined => {
    const tile = matrixTile(config, c.outG, limits)
    if (!tile || !suits(s)) return undefined
    const rows = Math.ceil(c.outG / (tile.GROUP_ROWS * SIDE))
    const columns = Math.ceil((s.n * c.grid) / (tile.GROUP_COLS * SIDE))
    return {
      name: 'matrix',
      scratch: {},
      dispatches: [
        {
          file: `matrix_conv2d_${kind}`,
          entry: 'matrix_conv2d',
          bindings: { x: c.from, weight: 'weight', bias: biasBinding(epilogue), y: c.to },
          params: { ...c.params, ...epilogueParams(epilogue) },
          overrides: { TRANSPOSE: c.transpose ? 1 : 0, ...tile },
          workgroups: spread(rows * columns * c.phases * s.groups),
        },
      ],
    }
  }

  return {
    forward: (s, epilogue) => correlate(s, forwardCorrelation(s), epilogue),
    inputGrad: (s, epilogue) => correlate(s, inputGradCorrelation(s), epilogue),
    weightGrad(s, epilogue) {
      const outG = s.cout / s.groups
      const depth = (s.cin / s.groups) * s.kh * s.kw
      const tile = matrixTile(config, outG, limits)
      if (!tile || !suits(s)) return undefined
      const tiles =
        s.groups * Math.ceil(outG / (tile.GROUP_ROWS * SIDE)) * Math.ceil(depth / (tile.GROUP_COLS * SIDE))
      const runs = split(Math.ceil((s.n * s.outH * s.outW) / tile.DEPTH), tiles, 256)
      return splitSum(
        'matrix',
        {
          file: `matrix_conv2d_weight_grad_${kind}`,
          entry: 'matrix_conv2d_weight_grad',
          bindings: { x: 'x', dy: 'dy' },
          params: { ...geometry(s), pixelsPerSplit: runs.rowsPerSplit * tile.DEPTH },
          overrides: { ...tile },
          workgroups: spread(tiles * runs.splits),
        },
        s.cout * depth,
        runs.splits,
        epilogue,
      )
    },
    product(m) {
      const tile = matrixTile(config, m, limits)!
      return {
        file: `matrix_matmul_${kind}`,
        entry: 'matrix_matmul',
        overrides: { ...tile },
        rows: tile.GROUP_ROWS * SIDE,
        columns: tile.GROUP_COLS * SIDE,
      }
    },
  }
}

/** What a device needs to be opened with, and what it plans with then, by the type of its tensors. */
export interface FoundMatrices {
  readonly feature: string
  readonly plans: { readonly float32?: MatrixPlans; readonly float16?: MatrixPlans }
}

/**
 * The subgroup matrices of an adapter that are summed in float32; undefined where it offers none, or, if they are
 * `required`, an AdapterError.
 */
export function findMatrices(
  adapter: GPUAdapter,
  name: string,
  required: boolean,
): FoundMatrices | undefined {
  const info = adapter.info as GPUAdapterInfo & { readonly subgroupMatrixConfigs?: Iterable<MatrixConfig> }
  const has = (feature: string) => adapter.features.has(feature as GPUFeatureName)
  const limits = {
    subgroupMaxSize: info.subgroupMaxSize,
    maxInvocations: adapter.limits.maxComputeInvocationsPerWorkgroup,
    maxWorkgroupStorage: adapter.limits.maxComputeWorkgroupStorageSize,
  }
  const configs = has(FEATURE) && has('subgroups') ? [...(info.subgroupMatrixConfigs ?? [])] : []
  const plansFor = (dtype: 'float16' | 'float32') => {
    const config = suitableConfig(configs, dtype)
    return config && matrixPlans(config, limits)
  }
  const float32 = plansFor('float32')
  const float16 = has('shader-f16') ? plansFor('float16') : undefined
  if (float32 || float16)
    return { feature: FEATURE, plans: { ...(float32 ? { float32 } : {}), ...(float16 ? { float16 } : {}) } }
  if (!required) return undefined
  throw new AdapterError(
    `openDevice: subgroupMatrices is 'required', but ${name} offers no ${FEATURE} with f16 or f32 matrices that are ` +
      'summed in f32 and whose sizes divide 32; pass true to use them where they are, or leave it out',
  )
}
