import { ShapeError } from '../../gpu/errors.ts'
import { cut, surround } from '../move.ts'
import { defineUnaryResult } from '../op.ts'
import { checkOptions } from '../options.ts'
import { requireFloat } from '../shape.ts'
import { formatShape, type Shape, type Tensor } from '../tensor.ts'

export interface PadOptions {
  /** Elements before and after, one pair an axis. */
  readonly pads: readonly (readonly [number, number])[]
  /** What is put there. Default 0. */
  readonly value?: number
}

/** Shape of the padded array. Throws a ShapeError if the pads do not fit. */
export function checkPad(shape: Shape, { pads }: PadOptions): Shape {
  if (pads.length !== shape.length) {
    throw new ShapeError(
      'pad',
      `x ${formatShape(shape)} has ${shape.length} axes, got ${pads.length} pads; give one [before, after] an axis`,
    )
  }
  for (const pair of pads) {
    if (pair.length === 2 && pair.every((n) => Number.isInteger(n) && n >= 0)) continue
    throw new ShapeError('pad', `[${pair.join(', ')}] is no pad; give two whole numbers of at least 0`)
  }
  return shape.map((d, k) => d + pads[k]![0] + pads[k]![1])
}

const apply = defineUnaryResult<PadOptions>({
  name: 'pad',
  half: { inputs: 'all' },
  forward(run, [x], attrs) {
    requireFloat('pad', { x: x! })
    const shape = checkPad(x!.shape, attrs)
    const before = attrs.pads.map(([b]) => b)
    return surround(run, x!, before, shape, attrs.value ?? 0)
  },
  backward(run, { inputs: [x], grads: [dy], attrs: { pads } }) {
    const before = pads.map(([b]) => b)
    return [cut(run, dy!, before, x!.shape)]
  },
})

/** x with `value` around it: axis k grows by pads[k][0] before and pads[k][1] after. */
export function pad(x: Tensor, options: PadOptions): Tensor {
  checkOptions('pad', options, ['pads'], ['value'])
  return apply([x], options)
}
