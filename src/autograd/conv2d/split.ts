/** Sums that several runs share, without atomics: each writes its part, a last dispatch adds them in order. */
import {
  biasBinding,
  type ConvBuffer,
  type ConvDispatch,
  type ConvEpilogue,
  type ConvVariant,
  epilogueParams,
  flag,
  invocations,
  WORKGROUP,
} from './variant.ts'

/** Runs of rows for a sum over `rows`, so that about `wanted` invocations share `outputs` sums. */
export function split(
  rows: number,
  outputs: number,
  wanted: number,
): { splits: number; rowsPerSplit: number } {
  const aim = Math.min(rows, Math.max(1, Math.ceil(wanted / outputs)))
  const rowsPerSplit = Math.ceil(rows / aim)
  return { splits: Math.ceil(rows / rowsPerSplit), rowsPerSplit }
}

export function reduce(
  from: ConvBuffer,
  to: ConvBuffer,
  count: number,
  splits: number,
  { accumulate }: ConvEpilogue,
  sums = 0,
): ConvDispatch {
  const both = sums > 0
  const file = both ? 'conv2d_reduce_both' : 'conv2d_reduce'
  return {
    file,
    entry: file,
    bindings: {
      ...{ partial: from, result: to },
      ...(both ? { partial_dbias: 'scratch:sums', dbias: 'db' } : {}),
    },
    params: { count, splits, ...epilogueParams({ accumulate }), cout: 0, plane: 0, sums },
    overrides: { WG: WORKGROUP },
    workgroups: invocations(count),
  }
}

/** The same for `count` elements of y or dx, channels of so many pixels each, and what is done to them at the end. */
export function reduceImage(
  from: ConvBuffer,
  to: ConvBuffer,
  count: number,
  splits: number,
  image: { cout: number; plane: number },
  epilogue: ConvEpilogue,
): ConvDispatch {
  return {
    file: 'conv2d_reduce',
    entry: 'conv2d_reduce_image',
    bindings: { partial: from, bias: biasBinding(epilogue), y: to },
    params: { count, splits, ...image, ...epilogueParams(epilogue), sums: 0 },
    overrides: { WG: WORKGROUP },
    workgroups: invocations(count),
  }
}

/** Where a kernel writes the gradient of a bias beside its own result. */
export function withSums(dispatch: ConvDispatch, splits: number): ConvDispatch {
  const { entry, bindings, overrides } = dispatch
  return {
    ...dispatch,
    entry: `${entry}_sums`,
    bindings: { ...bindings, dbias: splits === 1 ? 'db' : 'scratch:sums' },
    overrides: { ...overrides, SUMS: 1 },
  }
}

/**
 * The dispatches of a split sum; a single run goes straight to its place. The same entry point with `_sums` behind its
 * name writes `sums` values beside it, the gradient of a bias.
 */
export function splitSum(
  name: string,
  dispatch: ConvDispatch,
  weights: number,
  splits: number,
  epilogue: ConvEpilogue,
  { to = 'dw', sums = 0 }: { to?: 'dw' | 'db'; sums?: number } = {},
): ConvVariant {
  const partial: ConvBuffer = splits === 1 ? to : 'scratch:partial'
  const first = {
    ...(sums > 0 ? withSums(dispatch, splits) : dispatch),
    params: { ...dispatch.params, splits },
  }
  first.bindings = { ...first.bindings, partial }
  first.overrides = { ...first.overrides, ACCUMULATE: flag(splits === 1 && epilogue.accumulate) }
  if (splits === 1) return { name, scratch: {}, dispatches: [first] }
  return {
    name,
    scratch: { partial: splits * weights, ...(sums > 0 ? { sums: splits * sums } : {}) },
    dispatches: [first, reduce('scratch:partial', to, weights, splits, epilogue, sums)],
  }
}
