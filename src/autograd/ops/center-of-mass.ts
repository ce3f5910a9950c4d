import source from '../../../kernels/center_of_mass.wgsl'
import { summing } from '../../gpu/summing.ts'
import { defineUnaryResult } from '../op.ts'
import type { Tensor } from '../tensor.ts'
import { checkPlanes, workgroupRows } from './planes.ts'
import { densePartial, fourColumns } from './window.ts'

const kernels = summing('center_of_mass', source)

/** Pixels that one workgroup sums. */
const RUN = 4096

const apply = defineUnaryResult<object>({
  name: 'centerOfMass',
  forward(run, [x]) {
    const { n, h, w } = checkPlanes('centerOfMass', x!)
    const { cpu } = run.device.adapter
    const wide = cpu && w % 4 === 0
    const runs = cpu ? h : Math.ceil((h * w) / RUN)
    const params = { images: n, height: h, width: w, runs, run: RUN, add: 0 }
    const moments = run.empty([n, runs, 3])
    const y = run.empty([n, 2])
    const mass = run.save(run.empty([n]))
    run.launch({
      kernel: kernels(run.device.adapter),
      entry: wide ? 'sum_rows_wide' : cpu ? 'sum_rows' : 'sum_moments',
      bindings: { ...(wide ? { x4: x! } : { x: x! }), moments },
      params,
      ...(cpu ? { threads: n * h } : { workgroups: workgroupRows(n * runs) }),
    })
    run.launch({
      kernel: kernels(run.device.adapter),
      entry: 'find_center',
      bindings: { moments_in: moments, y, mass },
      params,
      threads: n,
    })
    return y
  },
  backward(run, { inputs: [x], outputs: [center], saved: [mass], grads: [dy], partial }) {
    const [n, , h, w] = x!.shape as [number, number, number, number]
    const known = densePartial(partial(0))
    const dx = known ?? run.empty(x!.shape)
    const wide = w % 4 === 0
    run.launch({
      ...fourColumns(run, 1, h, w, n),
      kernel: kernels(run.device.adapter),
      entry: wide ? 'spread_wide' : 'spread',
      bindings: { moments_in: mass!, center: center!, dy: dy!, ...(wide ? { y4: dx } : { y: dx }) },
      params: { images: n, height: h, width: w, runs: 1, run: RUN, add: known ? 1 : 0 },
    })
    return [known ? undefined : dx]
  },
})

/**
 * Centre of mass of each image, in pixels with the fraction kept:
 *
 *     y[n] = (Σ x·u, Σ x·v) / Σ x
 *
 * x is (N, 1, H, W), the result (N, 2) as (x, y). An image whose sum is 0 has its own centre,
 * ((W − 1)/2, (H − 1)/2), and no gradient. The gradient in x is ((u − y₀)·dy₀ + (v − y₁)·dy₁) / Σ x.
 * Throws a ShapeError unless x has one channel.
 */
export const centerOfMass = (x: Tensor): Tensor => apply([x], {})
