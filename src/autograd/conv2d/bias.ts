import { split, splitSum } from './split.ts'
import {
  type ConvAdapter,
  type ConvEpilogue,
  type ConvShape,
  type ConvVariant,
  flag,
  sourceParams,
  spread,
  WORKGROUP,
} from './variant.ts'

export function biasGrad(s: ConvShape, { cpu }: ConvAdapter, epilogue: ConvEpilogue): ConvVariant {
  const vec = (s.outH * s.outW) % 4 === 0
  const width = vec ? 4 : 1
  const pixels = (s.outH * s.outW) / width
  // Few values of a channel are one workgroup's: there is nothing to reduce.
  const few = s.n * s.outH * s.outW <= (cpu ? 2 ** 14 : 2 ** 12)
  const { splits, rowsPerSplit } = split(pixels, s.cout, few ? 1 : cpu ? 16 : 256)
  return splitSum(
    'direct',
    {
      file: 'conv2d_bias_grad',
      entry: 'conv2d_bias_grad',
      bindings: { dy: 'dy', dy4: 'dy' },
      params: { n: s.n, cout: s.cout, pixels, perSplit: rowsPerSplit, ...sourceParams(epilogue, width) },
      overrides: { WG: cpu ? 8 : WORKGROUP, VEC: flag(vec) },
      workgroups: spread(splits * s.cout),
    },
    s.cout,
    splits,
    epilogue,
    { to: 'db' },
  )
}
