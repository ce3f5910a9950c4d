/**
 * Both gradients of a layer by Winograd in four launches instead of six, and dy is read once. What both transform lies in
 * memory at once: for small layers, where launches count, and not beside activations in float16, which are there to save
 * memory.
 */
import { type ConvBuffer, type ConvGradients, flag, lanes, placeParams } from './variant.ts'
import { forward3x3, inputGrad3x3 } from './window3x3.ts'
import { F2, F4, products, tilesOf, transform, weightProducts } from './winograd.ts'

/** Floats of the largest array that is worth it. */
const LARGEST = 2 ** 20

/** Of the variants of these names, if both are by one form. */
export const winogradGradients: ConvGradients = (s, adapter, [ofX, ofWeight], { inputGrad, weightGrad }) => {
  const form = [F4, F2].find(({ name }) => name === ofX && name === ofWeight)
  const c = inputGrad3x3(s)
  if (!form || !c || !lanes(adapter) || adapter.half || s.padH * s.padW !== 1 || s.w % 4 !== 0)
    return undefined
  const { name, places, columns, SMALL } = form
  const { cin, cout } = s
  const { tilesH, tilesW, tiles } = tilesOf(s)
  const n = columns * tiles
  const behind = places * cin * n
  const [v, m] = [behind + places * cout * n, behind + places * cout * cin]
  if (Math.max(v, m) > LARGEST) return undefined
  const { weightOut, weightIn } = c.params
  const place = { relu: 0, ...placeParams(inputGrad), behind }
  const params = { ...forward3x3(s)!.params, weightOut, weightIn, tilesH, tilesW, ...place }
  const sources = { x: 'x', x4: 'x', dy: 'dy', dy4: 'dy', weight: 'weight' } as const
  const factors = {
    ...{ transformed: 'scratch:v', transformed4: 'scratch:v' },
    ...{ upstream: 'scratch:d', upstream4: 'scratch:d' },
    ...{ factor: 'scratch:u', factor4: 'scratch:u' },
  } satisfies Record<string, ConvBuffer>
  const results = {
    products: 'scratch:m',
    products4: 'scratch:m',
    bias: 'weight',
    y: 'dx',
    y4: 'dx',
    transformed: 'dw',
  } as const
  const last = { ACCUMULATE: flag(inputGrad.accumulate), ADD_WEIGHTS: flag(weightGrad.accumulate) }
  const ofDw = { ...weightProducts(form, s, weightGrad), offset: behind }
  return {
    name,
    scratch: { u: places * cout * cin, d: places * cout * n, v, m },
    dispatches: [
      transform(
        'backward',
        Math.max(cin, cout) * tiles,
        { ...sources, ...factors },
        params,
        { SMALL, VEC: 1, TURN: 1 },
        adapter,
        cout * cin,
      ),
      products(['scratch:u', 'scratch:v'], { m: cin, n, k: cout, places, sourceOffset: behind }, adapter),
      products(['scratch:d', 'scratch:v'], ofDw, adapter),
      transform('gradients', cin * tiles, results, params, { SMALL, ...last }, adapter, cout * cin),
    ],
  }
}
