import { reduce, split } from './split.ts'
import {
  type ConvAdapter,
  type ConvEpilogue,
  type ConvShape,
  type ConvVariant,
  spread,
  WORKGROUP,
} from './variant.ts'

export function biasGrad(s: ConvShape, adapter: ConvAdapter, epilogue: ConvEpilogue): ConvVariant {
  const vec = (s.outH * s.outW) % 4 === 0
  const pixels = (s.outH * s.outW) / (vec ? 4 : 1)
  const runs = split(pixels, s.cout, adapter.cpu ? 512 : 16384)
  return {
    name: 'direct',
    scratch: { partial: runs.splits * s.cout },
    dispatches: [
      {
        file: 'conv2d_bias_grad',
        entry: 'conv2d_bias_grad',
        bindings: { dy: 'dy', dy4: 'dy', partial: 'scratch:partial' },
        params: { n: s.n, cout: s.cout, pixels, splits: runs.splits, perSplit: runs.rowsPerSplit },
        overrides: { WG: adapter.cpu ? 8 : WORKGROUP, VEC: vec ? 1 : 0 },
        workgroups: spread(Math.ceil((runs.splits * s.cout) / (adapter.cpu ? 8 : WORKGROUP))),
      },
      reduce('scratch:partial', 'db', s.cout, runs.splits, epilogue),
    ],
  }
}
