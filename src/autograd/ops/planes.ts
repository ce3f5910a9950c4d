import { ShapeError } from '../../gpu/errors.ts'
import { formatShape, type Tensor } from '../tensor.ts'
import { imageShape } from './window.ts'

/** Sizes of a batch of one-channel images with pixels. */
export function checkPlanes(op: string, x: Tensor): { n: number; h: number; w: number } {
  const [n, c, h, w] = imageShape(op, 'x', x)
  if (c === 1 && h > 0 && w > 0) return { n, h, w }
  throw new ShapeError(
    op,
    `x must be (N, 1, H, W) with pixels, got ${formatShape(x.shape)}; reshape channels into the batch to treat each on its own`,
  )
}

/** Launch size of one workgroup an element: in rows that WebGPU takes. */
export function workgroupRows(count: number): readonly [number, number] {
  const rows = Math.max(1, Math.ceil(count / 65_535))
  return [Math.ceil(count / rows), rows]
}
