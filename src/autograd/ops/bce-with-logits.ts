import { defineLoss, type LossOptions } from '../loss.ts'
import type { Tensor } from '../tensor.ts'

const apply = defineLoss('bceWithLogits', 1, { targetNumber: 2, exchange: false })

/**
 * Binary cross-entropy of logits x against y in [0, 1], of one shape: the mean (or sum) over all elements of
 * max(x, 0) − x·y + log(1 + e^−|x|). For any x without overflow. A scalar.
 */
export const bceWithLogits = (x: Tensor, y: Tensor, options: LossOptions = {}): Tensor => apply(x, y, options)
