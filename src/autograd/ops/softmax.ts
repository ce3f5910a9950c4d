import source from '../../../kernels/softmax.wgsl'
import { summing } from '../../gpu/summing.ts'
import { defineUnaryResult, type Run } from '../op.ts'
import { checkOptions } from '../options.ts'
import { normalizeAxis, requireFloat } from '../shape.ts'
import { elements, type Tensor } from '../tensor.ts'

const softmaxes = summing('softmax', source)

function launch(run: Run, x: Tensor, axis: number, dy?: Tensor): Tensor {
  const y = run.empty(x.shape)
  const outer = elements(x.shape.slice(0, axis))
  const along = x.shape[axis]!
  const inner = elements(x.shape.slice(axis + 1))
  if (y.size === 0) return y
  // A workgroup a row, but on CPU drivers, where barriers cost much, only for few rows.
  const rows = inner === 1 && along >= 64 && (outer < 64 || !run.device.adapter.cpu)
  const wide = !rows && inner % 4 === 0
  const name = rows ? 'rows' : wide ? 'columns_wide' : 'columns'
  const arrays: Record<string, Tensor> = dy ? { x, dy, y } : { x, y }
  const folded = Math.ceil(outer / 65_535)
  run.launch({
    kernel: softmaxes(run.device.adapter),
    entry: `${name}${dy ? '_grad' : ''}`,
    bindings: wide ? Object.fromEntries(Object.entries(arrays).map(([k, t]) => [`${k}4`, t])) : arrays,
    params: { outer, axis: along, inner },
    ...(rows ? { overrides: { WG: run.device.adapter.cpu ? 8 : 128 } } : {}),
    ...(rows
      ? { workgroups: [Math.ceil(outer / folded), folded] as const }
      : { threads: (outer * inner) / (wide ? 4 : 1) }),
  })
  return y
}

const apply = defineUnaryResult<{ axis: number }>({
  name: 'softmax',
  forward(run, [x], { axis }) {
    requireFloat('softmax', { x: x! })
    return launch(run, x!, normalizeAxis('softmax', axis, x!.rank))
  },
  backward(run, { outputs: [y], grads: [dy], attrs: { axis } }) {
    return [launch(run, y!, normalizeAxis('softmax', axis, y!.rank), dy!)]
  },
})

/** eˣ / Σ eˣ along `axis`, computed from x − max x: without overflow for any finite x. */
export function softmax(x: Tensor, options: { axis: number }): Tensor {
  checkOptions('softmax', options, ['axis'], [])
  return apply([x], options)
}
