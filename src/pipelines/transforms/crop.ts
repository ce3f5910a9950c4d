import { cropResize } from '../../autograd/ops/crop-resize.ts'
import { pasteBoxes } from '../../autograd/ops/paste-boxes.ts'
import type { Transform } from './transform.ts'

/** Crop and resize: parameters (N, 4) as (left, top, width, height) in pixels. The object fills the crop. */
export function cropTransform({ size }: { readonly size: number | readonly [number, number] }): Transform {
  const [height, width] = typeof size === 'number' ? [size, size] : size
  return {
    name: 'crop',
    parameterCount: 4,
    outputSize: () => ({ height, width }),
    apply: (x, boxes, { mode = 'bilinear' } = {}) => cropResize(x, boxes, { size, mode }),
    invert: (y, boxes, original) => pasteBoxes(y, boxes, { ...original }),
  }
}
