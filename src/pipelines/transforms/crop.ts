import { affineWarp } from '../../autograd/ops/affine-warp.ts'
import { cropResize } from '../../autograd/ops/crop-resize.ts'
import { div } from '../../autograd/ops/div.ts'
import { mul } from '../../autograd/ops/mul.ts'
import { pasteBoxes } from '../../autograd/ops/paste-boxes.ts'
import { sub } from '../../autograd/ops/sub.ts'
import type { Tensor } from '../../autograd/tensor.ts'
import { column, matrixOf } from './affine.ts'
import type { ImageSize, Transform } from './transform.ts'

/**
 * Crop and resize: parameters (N, 4) as (left, top, width, height) in pixels. The object fills the crop.
 *
 * @param options.soft the way back has a gradient in the boxes, too: it does not end at the box, but fades to zero over
 *   one pixel of the crop about its edge
 */
export function cropTransform({
  size,
  soft = false,
}: {
  readonly size: number | readonly [number, number]
  readonly soft?: boolean
}): Transform {
  const [height, width] = typeof size === 'number' ? [size, size] : size
  return {
    name: 'crop',
    parameterCount: 4,
    outputSize: () => ({ height, width }),
    apply: (x, boxes, { mode = 'bilinear' } = {}) => cropResize(x, boxes, { size, mode }),
    invert: (y, boxes, original) =>
      soft ? pasteSoftly(y, boxes, original) : pasteBoxes(y, boxes, { ...original }),
  }
}

/** Pixel u of the image lies at (u + ½ − left)·W'/width − ½ of the crop: an affine map, with zeros outside. */
function pasteSoftly(crops: Tensor, boxes: Tensor, { height, width }: ImageSize): Tensor {
  const along = (axis: 0 | 1): [scale: Tensor, shift: Tensor] => {
    const scale = div(crops.shape[3 - axis]!, column(boxes, 2 + axis))
    return [scale, sub(mul(sub(0.5, column(boxes, axis)), scale), 0.5)]
  }
  const [[sx, tx], [sy, ty]] = [along(0), along(1)]
  const none = mul(sx, 0)
  return affineWarp(crops, matrixOf(sx, none, tx, none, sy, ty), { size: [height, width] })
}
