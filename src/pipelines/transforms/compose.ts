import { slice } from '../../autograd/ops/slice.ts'
import { formatShape, type Tensor } from '../../autograd/tensor.ts'
import { ShapeError } from '../../gpu/errors.ts'
import type { Transform } from './transform.ts'

/**
 * One transform after another: `first` on the image, `second` on what it gave; inverted in reverse. Parameters are
 * those of `first`, then those of `second`, whose pixels are those of the image that `first` made.
 *
 * @throws ShapeError in use, when the parameters are not as many
 */
export function composeTransforms(first: Transform, second: Transform): Transform {
  const parts = (parameters: Tensor): [Tensor, Tensor] => {
    const n = parameters.shape[0]!
    const at = first.parameterCount
    if (parameters.rank !== 2 || parameters.shape[1] !== at + second.parameterCount)
      throw new ShapeError(
        `${first.name}+${second.name}`,
        `parameters must be (N, ${at + second.parameterCount}), ${at} of ${first.name} and ${second.parameterCount} of ` +
          `${second.name}, got ${formatShape(parameters.shape)}; join them by joinParameters`,
      )
    return [
      slice(parameters, { starts: [0, 0], ends: [n, at] }),
      slice(parameters, { starts: [0, at], ends: [n, at + second.parameterCount] }),
    ]
  }
  return {
    name: `${first.name}+${second.name}`,
    parameterCount: first.parameterCount + second.parameterCount,
    outputSize: (size) => second.outputSize(first.outputSize(size)),
    apply(x, parameters, options) {
      const [a, b] = parts(parameters)
      return second.apply(first.apply(x, a, options), b, options)
    },
    invert(y, parameters, size) {
      const [a, b] = parts(parameters)
      return first.invert(second.invert(y, b, first.outputSize(size)), a, size)
    },
  }
}
