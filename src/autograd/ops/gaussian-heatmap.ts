import source from '../../../kernels/gaussian_heatmap.wgsl'
import { ShapeError } from '../../gpu/errors.ts'
import { kernel } from '../../gpu/kernel.ts'
import { defineUnaryResult } from '../op.ts'
import { checkOptions } from '../options.ts'
import { checkTensor, formatShape, type Tensor } from '../tensor.ts'
import { workgroupRows } from './planes.ts'
import { fourColumns, type Pair, pair } from './window.ts'

const kernels = kernel('gaussian_heatmap', source)

export interface GaussianHeatmapOptions {
  /** Size of the heatmap. */
  readonly size: Pair
  /** Standard deviation in px. */
  readonly sigma: number
}

interface Attrs {
  readonly h: number
  readonly w: number
  /** 1 / 2σ². */
  readonly k: number
}

const apply = defineUnaryResult<Attrs>({
  name: 'gaussianHeatmap',
  forward(run, [centers], { h, w, k }) {
    const n = centers!.shape[0]!
    const y = run.empty([n, 1, h, w])
    const wide = w % 4 === 0
    run.launch({
      ...fourColumns(run, 1, h, wide ? w / 2 : w, n),
      kernel: kernels,
      entry: wide ? 'gaussian_heatmap_wide' : 'gaussian_heatmap',
      bindings: { centers: centers!, ...(wide ? { y4: y } : { y }) },
      params: { images: n, height: h, width: w, k, across: 1 },
    })
    return y
  },
  backward(run, { inputs: [centers], outputs: [heat], grads: [dy], attrs: { h, w, k } }) {
    const n = centers!.shape[0]!
    const dcenters = run.empty(centers!.shape)
    const bindings = { centers: centers!, y: dcenters }
    // Lanes beside each other, each of eight columns; the others of a workgroup take other rows.
    const across = 2 ** Math.floor(Math.log2(Math.min(64, Math.max(1, w / 8))))
    run.launch({
      kernel: kernels,
      ...(w % 4 === 0
        ? { entry: 'gaussian_heatmap_grad_wide', bindings: { ...bindings, dy4: dy! } }
        : { entry: 'gaussian_heatmap_grad', bindings: { ...bindings, heat: heat!, dy: dy! } }),
      params: { images: n, height: h, width: w, k, across },
      workgroups: workgroupRows(n),
    })
    return [dcenters]
  },
})

/**
 * A Gaussian of height 1 at each centre:
 *
 *     y[n, 0, v, u] = exp(−((u − cx)² + (v − cy)²) / 2σ²)
 *
 * centers is (N, 2) as (x, y) in pixels, inside the heatmap or not; the result (N, 1, h, w). Gradient in centers.
 */
export function gaussianHeatmap(centers: Tensor, options: GaussianHeatmapOptions): Tensor {
  const op = 'gaussianHeatmap'
  checkOptions(op, options, ['size', 'sigma'], [])
  const { size, sigma } = options
  checkTensor(op, 'centers', centers)
  if (centers.dtype !== 'float32' || centers.rank !== 2 || centers.shape[1] !== 2) {
    throw new ShapeError(
      op,
      `centers must be float32 (N, 2), an (x, y) in pixels each, got ${centers.dtype} ${formatShape(centers.shape)}`,
    )
  }
  if (!(Number.isFinite(sigma) && sigma > 0)) {
    throw new ShapeError(op, `sigma is a length in pixels above 0, got ${sigma}`)
  }
  const [h, w] = pair(op, 'size', size, 1)
  return apply([centers], { h, w, k: 1 / (2 * sigma * sigma) })
}
