/** 3×3, stride 1: a window's nine taps share what a register tile holds of x. */
import { lanes } from './lanes.ts'
import { split, splitSum } from './split.ts'
import { tileWorkgroup } from './tile.ts'
import {
  biasBinding,
  type ConvAdapter,
  type ConvBuffer,
  type ConvEpilogue,
  type ConvShape,
  type ConvVariant,
  epilogueParams,
  spread,
} from './variant.ts'

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

function variant3x3(
  kernel: 'lanes' | 'tile',
  c: Conv3x3,
  overrides: Record<string, number>,
  workgroups: number,
  epilogue: ConvEpilogue,
): ConvVariant {
  const name = `conv2d_3x3_${kernel}`
  return {
    name: `${kernel}3x3`,
    scratch: {},
    dispatches: [
      {
        file: name,
        entry: name,
        bindings: { x: c.from, x4: c.from, weight: 'weight', bias: biasBinding(epilogue), y: c.to },
        params: { ...c.params, ...epilogueParams(epilogue) },
        overrides: {
          VEC: c.params.padW === 1 && c.params.w % 4 === 0 ? 1 : 0,
          TURN: c.turn ? 1 : 0,
          ...overrides,
        },
        workgroups: spread(workgroups),
      },
    ],
  }
}

export function lanes3x3(
  c: Conv3x3 | undefined,
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant | undefined {
  if (!c || !lanes(adapter)) return undefined
  const { n, h, cout, outH, outW, padH } = c.params
  const pair = padH === 1 && outH === h && h <= 4
  const tiles = (pair ? Math.ceil(n / 2) : n * Math.ceil(outH / 8)) * Math.ceil(outW / 4)
  return variant3x3('lanes', c, { PAIR: pair ? 1 : 0 }, tiles * Math.ceil(cout / 8), epilogue)
}

export function tile3x3(c: Conv3x3 | undefined, epilogue: ConvEpilogue): ConvVariant | undefined {
  if (!c) return undefined
  const { n, cout, outH, outW } = c.params
  const count = n * Math.ceil(outH / 2) * Math.ceil(outW / 4) * Math.ceil(cout / 8)
  const WG = tileWorkgroup(count)
  return variant3x3('tile', c, { WG }, Math.ceil(count / WG), epilogue)
}

export function lanes3x3WeightGrad(
  s: ConvShape,
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant | undefined {
  if (!lanes(adapter) || !is3x3(s)) return undefined
  const { n, cin, h, w, cout, outH, outW, padH, padW } = s
  const tiles = Math.ceil(cin / 8) * Math.ceil(cout / 4)
  const { splits, rowsPerSplit: columnsPerSplit } = split(n * Math.ceil(outW / 4), tiles, 48)
  return splitSum(
    'lanes3x3',
    {
      file: 'conv2d_3x3_weight_grad_lanes',
      entry: 'conv2d_3x3_weight_grad_lanes',
      bindings: { x: 'x', x4: 'x', dy: 'dy', dy4: 'dy' },
      params: { n, cin, h, w, cout, outH, outW, padH, padW, columnsPerSplit },
      overrides: { VEC: padW === 1 && w % 4 === 0 ? 1 : 0 },
      workgroups: spread(tiles * splits),
    },
    cout * cin * 9,
    splits,
    epilogue,
  )
}

export function tile3x3WeightGrad(s: ConvShape, epilogue: ConvEpilogue): ConvVariant | undefined {
  if (!is3x3(s)) return undefined
  const { n, cin, h, w, cout, outH, outW, padH, padW } = s
  const tiles = cin * Math.ceil(cout / 4)
  const { splits, rowsPerSplit } = split(n * outH, tiles, 256)
  return splitSum(
    'tile3x3',
    {
      file: 'conv2d_3x3_weight_grad_tile',
      entry: 'conv2d_3x3_weight_grad_tile',
      bindings: { x: 'x', x4: 'x', dy: 'dy', dy4: 'dy' },
      params: { n, cin, h, w, cout, outH, outW, padH, padW, rowsPerSplit },
      overrides: { VEC: padW === 1 && w % 4 === 0 ? 1 : 0, WG: 8 },
      workgroups: spread(Math.ceil((tiles * splits) / 8)),
    },
    cout * cin * 9,
    splits,
    epilogue,
  )
}
