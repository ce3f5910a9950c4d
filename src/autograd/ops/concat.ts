import { FoveaError, ShapeError } from '../../gpu/errors.ts'
import { boxOf, copyBox, copyTensor, cut } from '../move.ts'
import { defineUnaryResult } from '../op.ts'
import { checkOptions } from '../options.ts'
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

/**
 * The memory in which parts lie that were written into slots of one concatenation, if every other part may be copied
 * there.
 */
function sharedRoom(parts: readonly Tensor[], axis: number) {
  const room = axis === 1 ? parts.find((p) => p.channels?.slot)?.channels?.slot?.room : undefined
  if (!room || room.slots.length !== parts.length) return undefined
  const fits = parts.every((p, k) => {
    const slot = room.slots[k]!
    if (p.channels?.slot === slot) return true
    // A launch may not read the buffer that it writes.
    return p.span.storage.root !== room.storage?.root && slot.fits(p.shape, p.dtype)
  })
  return fits ? room : undefined
}

const apply = defineUnaryResult<{ axis: number }>({
  name: 'concat',
  half: { inputs: 'all' },
  forward(run, parts, attrs) {
    const { axis, shape } = checkConcat(
      parts.map((p) => p.shape),
      attrs.axis,
    )
    const { dtype } = parts[0]!
    if (parts.some((p) => p.dtype !== dtype)) {
      throw new FoveaError(`concat: tensors of ${[...new Set(parts.map((p) => p.dtype))].join(' and ')}`)
    }
    const room = sharedRoom(parts, axis)
    if (room) {
      parts.forEach((part, k) => {
        const slot = room.slots[k]!
        if (part.channels?.slot !== slot) copyTensor(run, part, run.emptyIn(slot, part.shape, dtype))
      })
      return run.whole(room.storage!, shape, dtype)
    }
    const y = run.empty(shape, dtype)
    const strides = stridesOf(shape)
    let at = 0
    for (const part of parts) {
      copyBox(run, part.shape, boxOf(part), { ...boxOf(y), offset: at * strides[axis]! })
      at += part.shape[axis]!
    }
    return y
  },
  backward(run, { inputs, grads: [dy], needs, attrs }) {
    const axis = normalizeAxis('concat', attrs.axis, dy!.rank)
    // Along channels the gradients are channels of dy, in place.
    const inPlace = axis === 1 && dy!.rank === 4 && (dy!.shape[2]! * dy!.shape[3]!) % 4 === 0
    let at = 0
    return inputs.map((part, i) => {
      const first = at
      at += part.shape[axis]!
      if (!needs[i]) return undefined
      if (inPlace && part.size > 0) return run.channels(dy!, first, part.shape[1]!)
      const starts = part.shape.map((_, k) => (k === axis ? first : 0))
      return cut(run, dy!, starts, part.shape)
    })
  },
})

/**
 * Tensors joined along `axis` (default 0); other sizes must agree. Any dtype, the same for all. What was written into
 * `concatSlots` is not copied; nor is the gradient, along channels of (N, C, H, W) with H·W a multiple of 4.
 */
export function concat(tensors: readonly Tensor[], options: { axis?: number } = {}): Tensor {
  checkOptions('concat', options, [], ['axis'])
  return apply(tensors, { axis: options.axis ?? 0 })
}

/** Tensors of one shape, joined along a new axis before `axis` (default 0); −1 puts it last. */
export function stack(tensors: readonly Tensor[], options: { axis?: number } = {}): Tensor {
  checkOptions('stack', options, [], ['axis'])
  const { axis = 0 } = options
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
