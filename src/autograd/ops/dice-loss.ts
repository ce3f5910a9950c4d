import source from '../../../kernels/dice_loss.wgsl'
import { summing } from '../../gpu/summing.ts'
import { lossGroups } from '../loss.ts'
import { defineUnaryResult, type Run } from '../op.ts'
import { checkOptions, checkRates } from '../options.ts'
import { requireFloat, requireSameShape } from '../shape.ts'
import type { Tensor } from '../tensor.ts'

const dice = summing('dice_loss', source)

function gradient(run: Run, other: Tensor, ratio: Tensor, dy: Tensor, smooth: number): Tensor {
  const dp = run.empty(other.shape)
  run.launch({
    kernel: dice(run.device.adapter),
    entry: 'grad',
    bindings: { t: other, ratio_in: ratio, dy, dp },
    params: { count: other.size, groups: 0, lambda: smooth },
    threads: Math.ceil(other.size / 4),
  })
  return dp
}

const apply = defineUnaryResult<{ smooth: number }>({
  name: 'diceLoss',
  forward(run, [p, y], { smooth }) {
    requireFloat('diceLoss', { p: p!, y: y! })
    requireSameShape('diceLoss', 'p', p!.shape, 'y', y!.shape)
    const groups = lossGroups(run.device, p!.size)
    const params = { count: p!.size, groups, lambda: smooth }
    const sums = run.empty([groups, 2])
    const ratio = run.save(run.empty([2]))
    const loss = run.empty([])
    run.launch({
      kernel: dice(run.device.adapter),
      entry: 'partials',
      bindings: { p: p!, t: y!, sums },
      params,
      workgroups: [groups],
    })
    run.launch({
      kernel: dice(run.device.adapter),
      entry: 'finish',
      bindings: { partial_sums: sums, ratio, loss },
      params,
      workgroups: [1],
    })
    return loss
  },
  backward(run, { inputs: [p, y], saved: [ratio], grads: [dy], needs, attrs: { smooth } }) {
    return [
      needs[0] ? gradient(run, y!, ratio!, dy!, smooth) : undefined,
      needs[1] ? gradient(run, p!, ratio!, dy!, smooth) : undefined,
    ]
  },
})

/**
 * Soft Dice loss of probabilities p against a mask y of the same shape, over the whole batch:
 * 1 − (2 Σ p·y + λ) / (Σ p + Σ y + λ), λ = `smooth`. A scalar.
 */
export function diceLoss(p: Tensor, y: Tensor, options: { smooth?: number } = {}): Tensor {
  checkOptions('diceLoss', options, [], ['smooth'])
  const { smooth = 1 } = options
  checkRates('diceLoss', { smooth })
  return apply([p, y], { smooth })
}
