/** Sums that several runs share, without atomics: each writes its part, a last dispatch adds them in order. */
import {
  biasBinding,
  type ConvBuffer,
  type ConvDispatch,
  type ConvEpilogue,
  type ConvVariant,
  epilogueParams,
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
): ConvDispatch {
  const image = { hasBias: 0, relu: 0, cout: 0, plane: 0, offset: 0, gap: 0 }
  return {
    file: 'conv2d_reduce',
    entry: 'conv2d_reduce',
    bindings: { partial: from, result: to },
    params: { count, splits, accumulate: accumulate ? 1 : 0, ...image },
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
    params: { count, splits, ...image, ...epilogueParams(epilogue) },
    overrides: { WG: WORKGROUP },
    workgroups: invocations(count),
  }
}

/** The dispatches of a split sum; a single run goes straight to its place. */
export function splitSum(
  name: string,
  dispatch: ConvDispatch,
  weights: number,
  splits: number,
  epilogue: ConvEpilogue,
  to: 'dw' | 'db' = 'dw',
): ConvVariant {
  const partial: ConvBuffer = splits === 1 ? to : 'scratch:partial'
  const first = {
    ...dispatch,
    bindings: { ...dispatch.bindings, partial },
    params: { ...dispatch.params, splits, accumulate: splits === 1 && epilogue.accumulate ? 1 : 0 },
  }
  if (splits === 1) return { name, scratch: {}, dispatches: [first] }
  return {
    name,
    scratch: { partial: splits * weights },
    dispatches: [first, reduce('scratch:partial', to, weights, splits, epilogue)],
  }
}
