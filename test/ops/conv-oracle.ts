import type { ConvShape } from '../../src/autograd/conv2d/variant.ts'
import { nearestHalves, randomValues } from '../oracle.ts'

/** Sums in float64, and those of the terms' sizes. */
export interface Sum {
  readonly value: Float64Array
  readonly size: Float64Array
}

/** Seeded values; `half`: of images those that float16 holds. The bias is long enough for either side's channels. */
export function convValues(s: ConvShape, half: boolean) {
  const image = (shape: readonly number[], seed: number) => {
    const values = randomValues(shape, seed)
    return half ? nearestHalves(values) : values
  }
  return {
    x: image([s.n, s.cin, s.h, s.w], 1),
    weight: randomValues([s.cout, s.cin / s.groups, s.kh, s.kw], 2),
    dy: image([s.n, s.cout, s.outH, s.outW], 3),
    bias: randomValues([Math.max(s.cin, s.cout)], 4),
  }
}

/** A convolution and its gradients in float64. */
export function sums(s: ConvShape, { x, weight, dy }: Record<'x' | 'weight' | 'dy', Float32Array>) {
  const empty = (size: number): Sum => ({ value: new Float64Array(size), size: new Float64Array(size) })
  const [forward, inputGrad, weightGrad] = [empty(dy.length), empty(x.length), empty(weight.length)]
  const add = ({ value, size }: Sum, i: number, term: number) => {
    value[i]! += term
    size[i]! += Math.abs(term)
  }
  const [inG, outG] = [s.cin / s.groups, s.cout / s.groups]
  for (let image = 0; image < s.n; image++)
    for (let o = 0; o < s.cout; o++)
      for (let i = 0; i < inG; i++)
        for (let ky = 0; ky < s.kh; ky++)
          for (let kx = 0; kx < s.kw; kx++)
            for (let oy = 0; oy < s.outH; oy++)
              for (let ox = 0; ox < s.outW; ox++) {
                const iy = oy * s.strideH - s.padH + ky * s.dilationH
                const ix = ox * s.strideW - s.padW + kx * s.dilationW
                if (iy < 0 || iy >= s.h || ix < 0 || ix >= s.w) continue
                const channel = Math.floor(o / outG) * inG + i
                const xi = ((image * s.cin + channel) * s.h + iy) * s.w + ix
                const wi = ((o * inG + i) * s.kh + ky) * s.kw + kx
                const yi = ((image * s.cout + o) * s.outH + oy) * s.outW + ox
                add(forward, yi, x[xi]! * weight[wi]!)
                add(inputGrad, xi, dy[yi]! * weight[wi]!)
                add(weightGrad, wi, dy[yi]! * x[xi]!)
              }
  return { forward, inputGrad, weightGrad }
}
