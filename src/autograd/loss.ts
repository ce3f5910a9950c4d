import source from '../../kernels/loss.wgsl'
import { ShapeError } from '../gpu/errors.ts'
import { summing } from '../gpu/summing.ts'
import type { Device } from './device.ts'
import { defineUnaryResult } from './op.ts'
import { checkOptions, shown } from './options.ts'
import { requireFloat, requireSameShape } from './shape.ts'
import type { Tensor } from './tensor.ts'

const losses = /* @__PURE__ */ summing('loss', source)

/** Options of losses. */
export interface LossOptions {
  /** Mean over all elements (default), or their sum. */
  readonly reduction?: 'mean' | 'sum'
}

/** Workgroups that sum: 4,096 elements or more each; few on CPU drivers, where a barrier costs much. */
export const lossGroups = (device: Device, count: number): number =>
  Math.min(device.adapter.cpu ? 16 : 512, Math.max(1, Math.ceil(count / 4096)))

/**
 * A loss that is a sum over elements; `number` and `numberOfTarget` say which formula of kernels/loss.wgsl
 * the loss and its gradient in the target are. The latter with x and target exchanged if `exchange`.
 */
export function defineLoss(
  name: string,
  number: number,
  { targetNumber, exchange }: { targetNumber: number; exchange: boolean },
): (x: Tensor, target: Tensor, options: LossOptions) => Tensor {
  const scaleOf = (count: number, { reduction = 'mean' }: LossOptions) =>
    reduction === 'mean' ? 1 / count : 1
  const apply = defineUnaryResult<LossOptions>({
    name,
    forward(run, [x, t], options) {
      requireFloat(name, { x: x!, y: t! })
      requireSameShape(name, 'x', x!.shape, 'y', t!.shape)
      const groups = lossGroups(run.device, x!.size)
      const params = { count: x!.size, groups, scale: scaleOf(x!.size, options) }
      const overrides = { LOSS: number }
      const partial = run.empty([groups])
      const y = run.empty([])
      run.launch({
        kernel: losses(run.device.adapter),
        entry: 'partials',
        bindings: { x: x!, t: t!, sums: partial },
        overrides,
        params,
        workgroups: [groups],
      })
      run.launch({
        kernel: losses(run.device.adapter),
        entry: 'finish',
        bindings: { partial_sums: partial, sums: y },
        overrides,
        params,
        workgroups: [1],
      })
      return y
    },
    backward(run, { inputs: [x, t], grads: [dy], needs, attrs }) {
      const gradient = (formula: number, a: Tensor, b: Tensor): Tensor => {
        const dx = run.empty(a.shape)
        run.launch({
          kernel: losses(run.device.adapter),
          entry: 'grad',
          bindings: { x: a, t: b, dy: dy!, dx },
          overrides: { LOSS: formula },
          params: { count: a.size, groups: 0, scale: scaleOf(a.size, attrs) },
          threads: Math.ceil(a.size / 4),
        })
        return dx
      }
      const dx = needs[0] ? gradient(number, x!, t!) : undefined
      if (!needs[1]) return [dx, undefined]
      return [dx, exchange ? gradient(targetNumber, t!, x!) : gradient(targetNumber, x!, t!)]
    },
  })
  return (x, target, options) => {
    checkOptions(name, options, [], ['reduction'])
    const { reduction = 'mean' } = options
    if (reduction !== 'mean' && reduction !== 'sum')
      throw new ShapeError(name, `reduction is 'mean' or 'sum', got ${shown(reduction)}`)
    return apply([x, target], { reduction })
  }
}
