/** 3×3, stride 1, as one correlation for both directions. */
import type { ConvBuffer, ConvShape } from './variant.ts'

function is3x3(s: ConvShape): boolean {
  const { kh, kw, strideH, strideW, dilationH, dilationW, groups, padH, padW } = s
  return (
    kh * kw === 9 &&
    kh === 3 &&
    strideH * strideW * dilationH * dilationW * groups === 1 &&
    padH <= 2 &&
    padW <= 2
  )
}

/** A 3×3 convolution of `from` to `to`; the weights of (co, ci) start at co·weightOut + ci·weightIn. */
export interface Conv3x3 {
  from: ConvBuffer
  to: ConvBuffer
  /** Read the windows turned by 180°. */
  turn: boolean
  params: Record<
    'n' | 'cin' | 'h' | 'w' | 'cout' | 'outH' | 'outW' | 'padH' | 'padW' | 'weightOut' | 'weightIn',
    number
  >
}

export function forward3x3(s: ConvShape): Conv3x3 | undefined {
  if (!is3x3(s)) return undefined
  const { n, cin, h, w, cout, outH, outW, padH, padW } = s
  const params = { n, cin, h, w, cout, outH, outW, padH, padW, weightOut: cin * 9, weightIn: 9 }
  return { from: 'x', to: 'y', turn: false, params }
}

/** dx = conv(dy, weight turned by 180° with its channels exchanged), padding 2 − p. */
export function inputGrad3x3(s: ConvShape): Conv3x3 | undefined {
  if (!is3x3(s)) return undefined
  const source = { n: s.n, cin: s.cout, h: s.outH, w: s.outW, cout: s.cin, outH: s.h, outW: s.w }
  const params = { ...source, padH: 2 - s.padH, padW: 2 - s.padW, weightOut: 9, weightIn: s.cin * 9 }
  return { from: 'dy', to: 'dx', turn: true, params }
}
