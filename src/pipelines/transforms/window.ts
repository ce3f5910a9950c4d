import { clamp } from '../../autograd/ops/clamp.ts'
import { div } from '../../autograd/ops/div.ts'
import { reshape } from '../../autograd/ops/reshape.ts'
import { slice } from '../../autograd/ops/slice.ts'
import { sub } from '../../autograd/ops/sub.ts'
import type { Tensor } from '../../autograd/tensor.ts'
import type { Transform } from './transform.ts'

/**
 * Intensity window: parameters (N, 2) as (low, high) in the image's units; `low` and below become 0, `high` and above
 * 1, linear between, in every channel. Masks pass as they are, there and back. Where low = high the result is a step.
 *
 * @param options.least smallest width of a window, in the image's units (1e-6)
 */
export function windowTransform({ least = 1e-6 }: { readonly least?: number } = {}): Transform {
  const edge = (parameters: Tensor, k: number): Tensor => {
    const n = parameters.shape[0]!
    return reshape(slice(parameters, { starts: [0, k], ends: [n, k + 1] }), { shape: [n, 1, 1, 1] })
  }
  return {
    name: 'window',
    parameterCount: 2,
    outputSize: (size) => size,
    apply(x, parameters, { mode = 'bilinear' } = {}) {
      // A mask is told by its mode: intensities of masks are no intensities.
      if (mode === 'nearest') return x
      const low = edge(parameters, 0)
      const width = clamp(sub(edge(parameters, 1), low), { min: least })
      return clamp(div(sub(x, low), width), { min: 0, max: 1 })
    },
    invert: (y) => y,
  }
}
