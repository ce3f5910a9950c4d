import source from '../../../kernels/clip.wgsl'
import { BYTES_PER_ELEMENT, type Tensor } from '../../autograd/tensor.ts'
import { FoveaError } from '../../gpu/errors.ts'
import { summing } from '../../gpu/summing.ts'
import { groupParameters } from './groups.ts'

const clip = summing('clip', source)
/** Workgroups a block in `sum_squares`; GROUPS in the kernel. */
const GROUPS = 64

/**
 * Scales all gradients so that their common 2-norm is at most `maxNorm` (PyTorch's `clip_grad_norm_`).
 * Stays on the GPU. Returns the norm before clipping, a tensor (1).
 */
export function clipGradNorm(params: readonly Tensor[], maxNorm: number): Tensor {
  if (!(maxNorm > 0)) throw new FoveaError(`clipGradNorm: maxNorm must be above 0, got ${maxNorm}`)
  const { device, groups } = groupParameters('clipGradNorm', params)
  const op = 'clipGradNorm'
  const partials = device.allocate(groups.length * GROUPS * BYTES_PER_ELEMENT, op)
  const result = device.allocate(2 * BYTES_PER_ELEMENT, op)
  const bindings = (grad: typeof partials) => ({ grad, partials, norm_and_scale: result })
  groups.forEach((g, i) => {
    const params = { count: g.length, slot: i * GROUPS, limit: maxNorm }
    device.launch(op, {
      kernel: clip(device.adapter),
      entry: 'sum_squares',
      bindings: bindings(g.grads()),
      params,
      workgroups: [GROUPS],
    })
  })
  const params1 = { count: 0, slot: groups.length * GROUPS, limit: maxNorm }
  device.launch(op, {
    kernel: clip(device.adapter),
    entry: 'norm',
    bindings: bindings(partials),
    params: params1,
    workgroups: [1],
  })
  for (const g of groups) {
    const params = { count: g.length, slot: 0, limit: maxNorm }
    device.launch(op, {
      kernel: clip(device.adapter),
      entry: 'scale',
      bindings: bindings(g.grads()),
      params,
      threads: g.length,
    })
  }
  partials.release('a temporary of clipGradNorm')
  const norm = device.wrap([1], 'float32', result, false)
  device.enterScope(norm)
  return norm
}

/** Clamps each gradient element to ±`limit` (PyTorch's `clip_grad_value_`). */
export function clipGradValue(params: readonly Tensor[], limit: number): void {
  if (!(limit > 0)) throw new FoveaError(`clipGradValue: the limit must be above 0, got ${limit}`)
  const { device, groups } = groupParameters('clipGradValue', params)
  for (const g of groups) {
    device.launch('clipGradValue', {
      kernel: clip(device.adapter),
      entry: 'clamp_value',
      bindings: { grad: g.grads() },
      params: { count: g.length, slot: 0, limit },
      threads: g.length,
    })
  }
}
