/** One invocation a weight: any shape, and the reference for the others. */
import { reduce, split } from './split.ts'
import {
  type ConvAdapter,
  type ConvEpilogue,
  type ConvShape,
  type ConvVariant,
  geometry,
  invocations,
  WORKGROUP,
} from './variant.ts'

export function directWeightGrad(
  shape: ConvShape,
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant {
  const weights = (shape.cout * shape.cin * shape.kh * shape.kw) / shape.groups
  const runs = split(shape.n * shape.outH, weights, adapter.cpu ? 8192 : 65536)
  return {
    name: 'direct',
    scratch: { partial: runs.splits * weights },
    dispatches: [
      {
        file: 'conv2d_weight_grad_direct',
        entry: 'conv2d_weight_grad_direct',
        bindings: { x: 'x', dy: 'dy', partial: 'scratch:partial' },
        params: { ...geometry(shape), ...runs },
        overrides: { WG: WORKGROUP },
        workgroups: invocations(runs.splits * weights),
      },
      reduce('scratch:partial', 'dw', weights, runs.splits, epilogue),
    ],
  }
}
