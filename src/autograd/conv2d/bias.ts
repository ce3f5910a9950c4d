import { reduce, split } from './split.ts'
import {
  type ConvAdapter,
  type ConvEpilogue,
  type ConvShape,
  type ConvVariant,
  sourceParams,
  spread,
  WORKGROUP,
} from './variant.ts'

/** Values of a channel that one workgroup sums, so that there is nothing to reduce. */
const ONE_RUN = { cpu: 2 ** 14, gpu: 2 ** 12 }
/** Workgroups, where there are more values. */
const WANTED = { cpu: 16, gpu: 256 }

export function biasGrad(s: ConvShape, { cpu }: ConvAdapter, epilogue: ConvEpilogue): ConvVariant {
  const on = cpu ? 'cpu' : 'gpu'
  const vec = (s.outH * s.outW) % 4 === 0
  const width = vec ? 4 : 1
  const pixels = (s.outH * s.outW) / width
  const wanted = s.n * s.outH * s.outW <= ONE_RUN[on] ? 1 : WANTED[on]
  const { splits, rowsPerSplit } = split(pixels, s.cout, wanted)
  const accumulate = splits === 1 && epilogue.accumulate ? 1 : 0
  const sums = splits === 1 ? 'db' : 'scratch:partial'
  return {
    name: 'direct',
    scratch: splits === 1 ? {} : { partial: splits * s.cout },
    dispatches: [
      {
        file: 'conv2d_bias_grad',
        entry: 'conv2d_bias_grad',
        bindings: { dy: 'dy', dy4: 'dy', partial: sums },
        params: {
          ...{ n: s.n, cout: s.cout, pixels, splits, perSplit: rowsPerSplit, accumulate },
          ...sourceParams(epilogue, width),
        },
        overrides: { WG: cpu ? 8 : WORKGROUP, JOIN: cpu ? 0 : 1, VEC: vec ? 1 : 0 },
        workgroups: spread(splits * s.cout),
      },
      ...(splits === 1 ? [] : [reduce('scratch:partial', 'db', s.cout, splits, epilogue)]),
    ],
  }
}
