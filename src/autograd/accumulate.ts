import source from '../../kernels/accumulate.wgsl'
import { ShapeError } from '../gpu/errors.ts'
import { kernel } from '../gpu/kernel.ts'
import { Run } from './op.ts'
import { elements, formatShape, type Shape, type Tensor } from './tensor.ts'

const accumulate = kernel('accumulate', source)

/** Most axes that strided kernels unravel. */
export const MAX_RANK = 6

const unused = { s0: 1, s1: 1, s2: 1, s3: 1, s4: 1, s5: 1, k0: 0, k1: 0, k2: 0, k3: 0, k4: 0, k5: 0 }

/** `y += x`, in place. Same shapes. */
export function addInto(y: Tensor, x: Tensor): void {
  y.device.launch('backward: accumulate', {
    kernel: accumulate,
    entry: 'add_into',
    bindings: { x: x.storage, y: y.storage },
    params: { count: y.size, reduced: 0, ...unused },
    threads: y.size,
  })
}

/** Sums `x` over the axes along which `shape` would be broadcast to it. */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  if (x.rank > MAX_RANK) {
    throw new ShapeError('sumTo', `at most ${MAX_RANK} axes, got ${formatShape(x.shape)}`)
  }
  const y = new Run(x.device, 'sumTo').empty(shape)
  const params: Record<string, number> = {
    count: y.size,
    reduced: x.size === 0 ? 0 : x.size / Math.max(1, elements(shape)),
  }
  const lead = x.rank - shape.length
  for (let a = 0; a < MAX_RANK; a++) {
    const axis = x.rank - 1 - a
    const size = axis >= 0 ? x.shape[axis]! : 1
    params[`s${a}`] = size
    params[`k${a}`] = axis >= lead && shape[axis - lead] === size ? 1 : 0
  }
  const rows = Math.ceil(y.size / 65_535)
  x.device.launch('backward: unbroadcast', {
    kernel: accumulate,
    entry: 'sum_to',
    bindings: { x: x.storage, y: y.storage },
    params,
    workgroups: [rows <= 1 ? y.size : Math.ceil(y.size / rows), Math.max(1, rows)],
  })
  return y
}
