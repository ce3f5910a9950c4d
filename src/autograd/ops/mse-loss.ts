import { defineLoss, type LossOptions } from '../loss.ts'
import type { Tensor } from '../tensor.ts'

// (x − y)² is even: its gradient in y is the one in x with both exchanged.
const apply = defineLoss('mseLoss', 0, { targetNumber: 0, exchange: true })

/** Mean (or sum) of (x − y)² over all elements of two tensors of one shape. A scalar. */
export const mseLoss = (x: Tensor, y: Tensor, options: LossOptions = {}): Tensor => apply(x, y, options)
