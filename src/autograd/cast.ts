import source from '../../kernels/cast.wgsl'
import { ShapeError } from '../gpu/errors.ts'
import { kernel } from '../gpu/kernel.ts'
import { type DType, type FloatType, isFloat } from './dtype.ts'
import type { OpRule, Run } from './op.ts'
import type { Tensor } from './tensor.ts'

const casts = kernel('cast', source)

/** x in another float type; a view where it has that type already. For other rules, too. */
export function launchCast(run: Run, x: Tensor, dtype: DType): Tensor {
  if (x.dtype === dtype) return run.view(x, x.shape)
  const y = run.empty(x.shape, dtype)
  const count = Math.ceil(x.size / 4)
  run.launch({
    kernel: casts,
    entry: dtype === 'float16' ? 'to_half' : 'from_half',
    bindings: dtype === 'float16' ? { x, half_y: y } : { half_x: x, y },
    params: { count },
    threads: count,
  })
  return y
}

/** The gradient is cast back to the type of x. */
export const castRule: OpRule<{ readonly dtype: FloatType }> = {
  name: 'cast',
  half: { inputs: 'all' },
  forward(run, [x], { dtype }) {
    if (!isFloat(x!.dtype))
      throw new ShapeError('cast', `x is ${x!.dtype}; pass a tensor of float32 or float16`)
    if (!isFloat(dtype)) throw new ShapeError('cast', `dtype is 'float32' or 'float16', got '${dtype}'`)
    if (dtype === 'float16') run.device.assertHalf('cast')
    return launchCast(run, x!, dtype)
  },
  backward: (run, { inputs: [x], grads: [dy] }) => [launchCast(run, dy!, x!.dtype)],
}
