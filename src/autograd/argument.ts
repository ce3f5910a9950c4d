import source from '../../kernels/argmax.wgsl'
import { ShapeError } from '../gpu/errors.ts'
import { kernel } from '../gpu/kernel.ts'
import { defineUnaryResult, type Run } from './op.ts'
import { checkOptions } from './options.ts'
import { normalizeAxis, reducedShape, requireFloat } from './shape.ts'
import { elements, formatShape, type Shape, type Tensor } from './tensor.ts'

const argument = kernel('argmax', source)

/** Options of argmax and argmin. */
export interface ArgumentOptions {
  /** Axis along which is searched. Without it: over all elements, as if x were flat. */
  readonly axis?: number
  /** Keeps the axis with size 1. */
  readonly keepDims?: boolean
}

/** x as (outer, axis, inner), and the shape of the result. */
export function checkArgument(
  op: string,
  shape: Shape,
  { axis, keepDims = false }: ArgumentOptions,
): { outer: number; along: number; inner: number; result: Shape } {
  const flat = axis === undefined
  const k = flat ? -1 : normalizeAxis(op, axis, shape.length)
  const along = flat ? elements(shape) : shape[k]!
  if (along === 0) throw new ShapeError(op, `x ${formatShape(shape)} has no elements to choose from`)
  return {
    outer: flat ? 1 : elements(shape.slice(0, k)),
    along,
    inner: flat ? 1 : elements(shape.slice(k + 1)),
    result: reducedShape(shape, flat ? shape.map((_, i) => i) : [k], keepDims),
  }
}

function launch(run: Run, smallest: boolean, x: Tensor, options: ArgumentOptions): Tensor {
  const { outer, along, inner, result } = checkArgument(run.op, x.shape, options)
  const y = run.empty(result, 'int32')
  const overrides = { SMALLEST: smallest ? 1 : 0 }
  // A workgroup a candidate, but on CPU drivers, where barriers cost much, only for few rows.
  if (inner !== 1 || along < 64 || (outer >= 64 && run.device.adapter.cpu)) {
    run.launch({
      kernel: argument,
      entry: 'columns',
      bindings: { x, y },
      overrides,
      params: { outer, axis: along, inner, splits: 1, run: along },
      threads: outer * inner,
    })
    return y
  }
  const splits = Math.max(
    1,
    Math.min(
      run.device.adapter.cpu ? 16 : 256,
      Math.ceil(along / 4096),
      Math.ceil(1024 / Math.max(1, outer)),
    ),
  )
  const params = { outer, axis: along, inner, splits, run: Math.ceil(along / splits) }
  const groups = outer * splits
  const rows = Math.max(1, Math.ceil(groups / 65_535))
  const keys = run.empty([groups], 'uint32')
  const candidates = splits === 1 ? y : run.empty([groups], 'int32')
  run.launch({
    kernel: argument,
    entry: 'rows',
    bindings: { x, keys, y: candidates },
    overrides,
    params,
    workgroups: [Math.ceil(groups / rows), rows],
  })
  if (splits > 1) {
    run.launch({
      kernel: argument,
      entry: 'finish',
      bindings: { candidate_keys: keys, candidates, y },
      params,
      threads: outer,
    })
  }
  return y
}

/** argmax or argmin. */
export function defineArgument(name: 'argmax' | 'argmin'): (x: Tensor, options: ArgumentOptions) => Tensor {
  const apply = defineUnaryResult<ArgumentOptions>({
    name,
    forward(run, [x], options) {
      requireFloat(name, { x: x! })
      return launch(run, name === 'argmin', x!, options)
    },
    nonDifferentiable: 'an index is a whole number',
  })
  return (x, options) => {
    checkOptions(name, options, [], ['axis', 'keepDims'])
    return apply([x], options)
  }
}
