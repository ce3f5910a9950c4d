/**
 * 3×3, stride 1, by Winograd's F(4×4): transform, a matrix product over channels for each of 36 places, transform
 * back. A quarter of the multiplications; rounding errors some times those of the direct sum
 * (docs/kernels-convolution.md), so that it is no default where the direct kernels are as fast.
 */
import { lanes } from './lanes.ts'
import { lanesProduct, oneAxis } from './product.ts'
import { tileWorkgroup } from './tile.ts'
import {
  biasBinding,
  type ConvAdapter,
  type ConvBuffer,
  type ConvDispatch,
  type ConvEpilogue,
  type ConvVariant,
  spread,
  WORKGROUP,
} from './variant.ts'
import type { Conv3x3 } from './window3x3.ts'

/** Places of a transformed tile. */
const PLACES = 36

/** The products of the transformed tiles: U (cout, cin) · V (cin, tiles), 36 times. */
function products(cout: number, cin: number, tiles: number, adapter: ConvAdapter): ConvDispatch {
  const bindings: Record<string, ConvBuffer> = {
    ...{ a: 'scratch:u', wide_a: 'scratch:u', b: 'scratch:v', wide_b: 'scratch:v' },
    y: 'scratch:m',
  }
  const axes = oneAxis(PLACES, 1, 1)
  const size = { m: cout, n: tiles, k: cin }
  if (lanes(adapter)) {
    const { params, overrides, workgroups } = lanesProduct({ ...size, batch: PLACES, axes })
    const file = 'matmul_lanes'
    return { file, entry: file, bindings: { ...bindings, bias: 'scratch:u' }, params, overrides, workgroups }
  }
  return {
    file: 'matmul',
    entry: 'tiles',
    bindings,
    params: { ...size, ...axes },
    overrides: { TRANSPOSE_A: 0, TRANSPOSE_B: 0 },
    workgroups: [Math.ceil(tiles / 64), Math.ceil(cout / 64), PLACES],
  }
}

export function winograd(
  c: Conv3x3 | undefined,
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant | undefined {
  // Few channels: the transforms cost more than the products save.
  if (!c || Math.min(c.params.cin, c.params.cout) < 16) return undefined
  if (adapter.cpu && !lanes(adapter)) return undefined
  const { n, cin, cout, outH, outW } = c.params
  const [tilesH, tilesW] = [Math.ceil(outH / 4), Math.ceil(outW / 4)]
  const tiles = n * tilesH * tilesW
  const flag = (on: boolean | undefined) => (on ? 1 : 0)
  const transform = (
    what: 'input' | 'weight' | 'output',
    count: number,
    bindings: Record<string, ConvBuffer>,
    overrides: Record<string, number>,
  ): ConvDispatch => {
    const WG = adapter.cpu ? tileWorkgroup(count) : WORKGROUP
    return {
      file: 'conv2d_winograd',
      entry: `conv2d_winograd_transform_${what}`,
      bindings,
      params: { ...c.params, tilesH, tilesW, relu: flag(epilogue.relu) },
      overrides: { ...overrides, WG },
      workgroups: spread(Math.ceil(count / WG)),
    }
  }
  const vec = c.params.padW === 1 && c.params.w % 4 === 0
  return {
    name: 'winograd',
    scratch: { u: PLACES * cout * cin, v: PLACES * cin * tiles, m: PLACES * cout * tiles },
    dispatches: [
      transform('weight', cout * cin, { weight: 'weight', transformed: 'scratch:u' }, { TURN: flag(c.turn) }),
      transform(
        'input',
        cin * tiles,
        { x: c.from, x4: c.from, transformed: 'scratch:v' },
        { VEC: flag(vec) },
      ),
      products(cout, cin, tiles, adapter),
      transform(
        'output',
        cout * tiles,
        { products: 'scratch:m', bias: biasBinding(epilogue), y: c.to },
        { BIAS: flag(epilogue.bias), ACCUMULATE: flag(epilogue.accumulate) },
      ),
    ],
  }
}
