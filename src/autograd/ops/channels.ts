import { ShapeError } from '../../gpu/errors.ts'
import { addInto } from '../accumulate.ts'
import { cut, surround } from '../move.ts'
import { defineUnaryResult } from '../op.ts'
import { checkOptions } from '../options.ts'
import { formatShape, type Shape, type Tensor } from '../tensor.ts'
import { imageShape } from './window.ts'

export interface ChannelsOptions {
  /** The first of them. */
  readonly first: number
  readonly count: number
}

/** Kernels move vec4s: channels of such planes can be found where they lie. */
const inPlace = ([, , h, w]: Shape): boolean => (h! * w!) % 4 === 0

const apply = defineUnaryResult<ChannelsOptions>({
  name: 'channels',
  half: { inputs: 'all' },
  forward(run, [x], { first, count }) {
    const [n, , h, w] = x!.shape as [number, number, number, number]
    if (inPlace(x!.shape) && x!.size > 0) return run.channels(x!, first, count)
    return cut(run, x!, [0, first, 0, 0], [n, count, h, w])
  },
  backward(run, { inputs: [x], grads: [dy], attrs: { first, count }, partial }) {
    const known = inPlace(x!.shape) ? partial(0) : undefined
    if (!known) return [surround(run, dy!, [0, first, 0, 0], x!.shape, 0)]
    addInto(run.channels(known, first, count), dy!)
    return [undefined]
  },
})

/**
 * `count` channels of x (N, C, H, W) from `first`, as (N, count, H, W). Where H·W is a multiple of 4 they are not
 * copied but lie in x, whose memory lives as long; nor is the gradient, which is added to that of x where another op
 * has left one. Any dtype. Throws a ShapeError for channels that x has not.
 */
export function channels(x: Tensor, options: ChannelsOptions): Tensor {
  checkOptions('channels', options, ['first', 'count'], [])
  const [, c] = imageShape('channels', 'x', x)
  const { first, count } = options
  const whole = Number.isInteger(first) && Number.isInteger(count)
  if (!whole || first < 0 || count < 1 || first + count > c) {
    throw new ShapeError('channels', `x ${formatShape(x.shape)} has no ${count} channels from ${first} on`)
  }
  return apply([x], options)
}
