/**
 * Both gradients of a head, 1×1 to one or two channels, in one launch and perhaps a reduction, where they were four: dy is read
 * once for eight channels of x, and what is left of the bias' gradient is an addition.
 */
import { isPointwise } from './correlation.ts'
import { splitSum } from './split.ts'
import { type ConvGradients, flag, lanes } from './variant.ts'

/** Turns of 32 pixels that a run has at least: with its 256 multiply-adds and 16 loads and stores a turn takes lavapipe 0.3 µs. */
const LEAST_TURNS = 512

/** In place of the variants of these names, which the plan takes there. */
export const headGradients: ConvGradients = (s, adapter, [ofX, ofWeight], { inputGrad, weightGrad }) => {
  const { n, cin, cout } = s
  const pixels = s.h * s.w
  const { offset = 0, gap = 0 } = inputGrad
  if (
    ofX !== 'lanes' ||
    ofWeight !== 'planes' ||
    !isPointwise(s) ||
    cout > 2 ||
    cin % 8 !== 0 ||
    (pixels | offset | gap) % 4 !== 0 ||
    !lanes(adapter) ||
    adapter.half
  )
    return undefined
  const blocks = cin / 8
  const quads = pixels / 4
  const turns = Math.ceil((n * quads) / 8)
  // Eight subgroups at least, if they have enough to do.
  const runs = Math.max(1, Math.min(Math.ceil(8 / blocks), Math.floor(turns / LEAST_TURNS)))
  const perSplit = 8 * Math.ceil(turns / runs)
  const splits = Math.ceil((n * quads) / perSplit)
  const name = 'conv2d_head_gradients_lanes'
  return splitSum(
    'head',
    {
      file: name,
      entry: name,
      bindings: { x4: 'x', dy4: 'dy', weight: 'weight', dx4: 'dx' },
      params: { n, cin, quads, perSplit, offset: offset / 4, gap: gap / 4 },
      overrides: { TWO: flag(cout === 2), ADD: flag(inputGrad.accumulate) },
      workgroups: [blocks * splits, 1, 1],
    },
    cout * cin,
    splits,
    weightGrad,
    { sums: weightGrad.sums === 'dy' ? cout : 0 },
  )
}
