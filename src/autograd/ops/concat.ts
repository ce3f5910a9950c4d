import { FoveaError, ShapeError } from '../../gpu/errors.ts'
import { copyBox, cut } from '../move.ts'
import { defineUnaryResult } from '../op.ts'
import { normalizeAxis, requireSameShape, stridesOf } from '../shape.ts'
import { formatShape, type Shape, type Tensor } from '../tensor.ts'
import { unsqueeze } from './reshape.ts'

/** The axis counted from the front and the joined shape. Throws a ShapeError if the parts do not fit. */
export function checkConcat(shapes: readonly Shape[], axis: number): { axis: number; shape: Shape } {
  const [first] = shapes
  if (!first) throw new ShapeError('concat', 'needs at least one tensor')
  const along = normalizeAxis('concat', axis, first.length)
  for (const s of shapes) {
    if (s.length === first.length && s.every((d, k) => k === along || d === first[k])) continue
    throw new ShapeError(
      'concat',
      `${formatShape(s)} does not fit ${formatShape(first)}: sizes may differ along axis ${axis} only`,
    )
  }
  const total = shapes.reduce((sum, s) => sum + s[along]!, 0)
  return { axis: along, shape: first.map((d, k) => (k === along ? total : d)) }
}

const apply = defineUnaryResult<{ axis: number }>({
  name: 'concat',
  forward(run, parts, attrs) {
    const { axis, shape } = checkConcat(
      parts.map((p) => p.shape),
      attrs.axis,
    )
    const { dtype } = parts[0]!
    if (parts.some((p) => p.dtype !== dtype)) {
      throw new FoveaError(`concat: tensors of ${[...new Set(parts.map((p) => p.dtype))].join(' and ')}`)
    }
    const y = run.empty(shape, dtype)
    const strides = stridesOf(shape)
    let at = 0
    for (const part of parts) {
      const from = { tensor: part, offset: 0, strides: stridesOf(part.shape) }
      copyBox(run, part.shape, from, { tensor: y, offset: at * strides[axis]!, strides })
      at += part.shape[axis]!
    }
    return y
  },
  backward(run, { inputs, grads: [dy], needs, attrs }) {
    const axis = normalizeAxis('concat', attrs.axis, dy!.rank)
    let at = 0
    return inputs.map((part, i) => {
      const starts = part.shape.map((_, k) => (k === axis ? at : 0))
      at += part.shape[axis]!
      return needs[i] ? cut(run, dy!, starts, part.shape) : undefined
    })
  },
})

/** Tensors joined along `axis` (default 0); other sizes must agree. Any dtype, the same for all. */
export const concat = (tensors: readonly Tensor[], { axis = 0 }: { axis?: number } = {}): Tensor =>
  apply(tensors, { axis })

/** Tensors of one shape, joined along a new axis before `axis` (default 0); −1 puts it last. */
export function stack(tensors: readonly Tensor[], { axis = 0 }: { axis?: number } = {}): Tensor {
  const [first] = tensors
  if (!first) throw new ShapeError('stack', 'needs at least one tensor')
  const at = normalizeAxis('stack', axis, first.rank + 1)
  tensors.forEach((t, i) => {
    requireSameShape('stack', 'tensor 0', first.shape, `tensor ${i}`, t.shape)
  })
  return concat(
    tensors.map((t) => unsqueeze(t, { axis: at })),
    { axis: at },
  )
}
