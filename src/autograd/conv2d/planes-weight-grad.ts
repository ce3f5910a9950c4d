/** Gradients of weights a plane at a time: depthwise convolutions and groups of few channels, any stride. */
import { split, splitSum } from './split.ts'
import {
  type ConvAdapter,
  type ConvEpilogue,
  type ConvShape,
  type ConvVariant,
  flag,
  geometry,
  spread,
  WORKGROUP,
} from './variant.ts'

/** Any stride and dilation, windows up to seven wide. */
export function planesWeightGrad(
  s: ConvShape,
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant | undefined {
  if (s.kw > 7) return undefined
  const windows = s.cout * (s.cin / s.groups)
  const { splits, rowsPerSplit: perSplit } = split(s.n * s.outH, windows * s.kh, adapter.cpu ? 512 : 16384)
  const held = s.dilationW === 1 && s.strideW <= 2 ? s.strideW : 0
  // Loads begin at multiples of four, if what is held then reaches as far as the window.
  const shift = (4 - (s.padW % 4)) % 4
  const wide = held > 0 && s.w % 4 === 0 && (held === 2 || s.kw + shift <= 9)
  const WG = adapter.cpu ? 8 : WORKGROUP
  return splitSum(
    'planes',
    {
      file: 'conv2d_weight_grad_planes',
      entry: 'conv2d_weight_grad_planes',
      bindings: { x: 'x', x4: 'x', dy: 'dy', dy4: 'dy' },
      params: { ...geometry(s), perSplit },
      overrides: {
        KW: s.kw,
        HELD: held,
        SHIFT: wide ? shift : 0,
        WIDE: flag(wide),
        WIDE_DY: flag(s.outW % 4 === 0),
        WG,
      },
      workgroups: spread(Math.ceil((windows * s.kh * splits) / WG)),
    },
    windows * s.kh * s.kw,
    splits,
    epilogue,
  )
}
