import source from '../../../kernels/paste_boxes.wgsl'
import { ShapeError } from '../../gpu/errors.ts'
import { kernel } from '../../gpu/kernel.ts'
import { defineUnaryResult, type Run } from '../op.ts'
import { checkOptions } from '../options.ts'
import { formatShape, type Shape, type Tensor } from '../tensor.ts'
import { checkBoxes } from './crop-resize.ts'
import { spansOf } from './spans.ts'
import { checkChoice, checkIndex, checkMode, type SampleMode } from './warp.ts'
import { densePartial, fourColumns, imageShape, pixelThreads, ROWS_ON_CPU, storedInFours } from './window.ts'

const kernels = kernel('paste_boxes', source)

export interface PasteBoxesOptions {
  /** Size of the images in px. */
  readonly height: number
  readonly width: number
  /** int32 (M): the image that each box lies on; a box of a number that is no image is left out. */
  readonly batchIndex?: Tensor
  /** Number of images. Default: one a box; with a batchIndex it has to be said. */
  readonly images?: number
  /** Where boxes overlap: the greatest value (default), or 1 where any exceeds ½ and else 0 (no gradient). */
  readonly reduce?: 'max' | 'or'
  /** How crops are resized. Default 'bilinear'. */
  readonly mode?: SampleMode
}

interface Attrs {
  readonly images: number
  readonly height: number
  readonly width: number
  readonly nearest: boolean
}

/** One box an image: none hides another. */
const isAlone = (crops: Tensor, index: Tensor | undefined, a: Attrs): boolean =>
  !index && crops.shape[0] === a.images

type LaunchOptions = ReturnType<typeof launchOptions>

function launchOptions(crops: Tensor, index: Tensor | undefined, a: Attrs) {
  const [m, c, h, w] = crops.shape as [number, number, number, number]
  return {
    kernel: kernels,
    overrides: {
      NEAREST: a.nearest ? 1 : 0,
      INDEXED: index ? 1 : 0,
      ALONE: isAlone(crops, index, a) ? 1 : 0,
    },
    params: {
      boxes: m,
      channels: c,
      crop_h: h,
      crop_w: w,
      images: a.images,
      height: a.height,
      width: a.width,
    },
  }
}

/** Up to so many boxes every pixel looks at each. */
const FEW = 16

/** Which boxes lie on each tile of 32×32 pixels: a bit a box. Undefined where there are few. */
function binsOf(run: Run, boxes: Tensor, index: Tensor | undefined, a: Attrs, options: LaunchOptions) {
  const m = boxes.shape[0]!
  if (m <= FEW || (!index && a.images > 1)) return undefined
  const tiles = a.images * Math.ceil(a.height / 32) * Math.ceil(a.width / 32)
  const marks = run.empty([tiles * Math.ceil(m / 32)], 'uint32')
  const bindings = { boxes, index: index ?? boxes, marks }
  run.launch({ ...options, entry: 'bin', bindings, threads: marks.size })
  return marks
}

/** The images, and with `winners` the box of each pixel. */
function paste(run: Run, [crops, boxes, index]: readonly Tensor[], a: Attrs, winners?: Tensor): Tensor {
  const options = launchOptions(crops!, index, a)
  const bins = binsOf(run, boxes!, index, a, options)
  const y = run.empty(pasted(crops!, a))
  const { cpu } = run.device.adapter
  const wide = cpu && winners && a.width % 4 === 0
  const rows = wide ? ROWS_ON_CPU : 1
  run.launch({
    ...options,
    overrides: { ...options.overrides, BINNED: bins ? 1 : 0, ROWS: rows },
    entry: wide ? 'paste_wide' : winners ? 'paste' : 'paste_any',
    bindings: {
      crops: crops!,
      boxes: boxes!,
      index: index ?? boxes!,
      spans: index ? spansOf(run, index, a.images) : boxes!,
      bins: bins ?? boxes!,
      ...(wide ? { y4: y, winners4: winners } : { y, ...(winners && { winners }) }),
    },
    threads: pixelThreads(
      cpu,
      Math.ceil(a.height / rows),
      wide ? a.width / 4 : a.width,
      a.images * crops!.shape[1]!,
    ),
  })
  return y
}

const pasted = (crops: Tensor, a: Attrs): Shape => [a.images, crops.shape[1]!, a.height, a.width]

const max = defineUnaryResult<Attrs>({
  name: 'pasteBoxes',
  forward(run, inputs, a) {
    const [crops, , index] = inputs
    const shape = isAlone(crops!, index, a) ? [4] : pasted(crops!, a)
    return paste(run, inputs, a, run.save(run.empty(shape, 'int32')))
  },
  backward(run, { inputs: [crops, boxes, index], saved: [winner], grads: [dy], attrs: a, partial }) {
    const [m, c, h, w] = crops!.shape as [number, number, number, number]
    const known = densePartial(partial(0))
    const dcrops = known ?? run.empty(crops!.shape)
    const options = launchOptions(crops!, index, a)
    const strips = fourColumns(run, 4, h, w, m * c)
    const { WIDE, bindings } = storedInFours(run, dcrops, w)
    run.launch({
      ...options,
      overrides: {
        ...options.overrides,
        ...strips.overrides,
        ADDS: known ? 1 : 0,
        WIDE,
      },
      entry: 'paste_grad',
      bindings: { boxes: boxes!, index: index ?? boxes!, dy: dy!, winner: winner!, ...bindings },
      threads: strips.threads,
    })
    return [known ? undefined : dcrops, undefined, undefined]
  },
})

const or = defineUnaryResult<Attrs>({
  name: 'pasteBoxesOr',
  nonDifferentiable: "a logical or has no slope; paste with reduce: 'max'",
  forward: (run, inputs, a) => paste(run, inputs, a),
})

/**
 * Lays crops back onto images of full size, each stretched to its box; zero where no box lies. The inverse of
 * cropResize with the same boxes:
 *
 *     y[n, c, v, u] = max over boxes m of image n that hold the pixel's centre of
 *                     crops[m, c] at ((u + ½ − left)·W'/width − ½, (v + ½ − top)·H'/height − ½), clamped inside
 *
 * crops is (M, C, H', W'), boxes (M, 4) as (left, top, width, height) in pixels, the result (N, C, height, width).
 * Box m lies on image m, on the only image (`images: 1`), or on image batchIndex[m]. With reduce 'max' there is
 * a gradient in the crops, to the box that won (the first of equals); none in the boxes.
 * Throws a ShapeError if crops, boxes and batchIndex differ in number.
 */
export function pasteBoxes(crops: Tensor, boxes: Tensor, options: PasteBoxesOptions): Tensor {
  const op = 'pasteBoxes'
  checkOptions(op, options, ['height', 'width'], ['batchIndex', 'images', 'reduce', 'mode'])
  const { height, width, batchIndex, reduce = 'max', mode = 'bilinear' } = options
  const [m, , h, w] = imageShape(op, 'crops', crops)
  checkBoxes(op, boxes)
  if (h < 1 || w < 1) throw new ShapeError(op, `crops ${formatShape(crops.shape)} must have pixels`)
  if (boxes.shape[0] !== m) {
    throw new ShapeError(
      op,
      `boxes ${formatShape(boxes.shape)} and crops ${formatShape(crops.shape)} must be as many`,
    )
  }
  if (batchIndex) checkIndex(op, batchIndex, m, 'boxes')
  if (batchIndex && options.images === undefined) {
    throw new ShapeError(op, 'with a batchIndex, say how many images there are: pass images')
  }
  const images = options.images ?? m
  for (const [name, value, least] of [
    ['height', height, 1],
    ['width', width, 1],
    ['images', images, 0],
  ] as const) {
    if (!Number.isInteger(value) || value < least) {
      throw new ShapeError(op, `${name} is a whole number of at least ${least}, got ${value}`)
    }
  }
  if (!batchIndex && images !== m && images !== 1) {
    throw new ShapeError(
      op,
      `${m} boxes for ${images} images; give one box an image, or a batchIndex that says which image each lies on`,
    )
  }
  const inputs = batchIndex ? [crops, boxes, batchIndex] : [crops, boxes]
  const attrs = { images, height, width, nearest: checkMode(op, mode) === 'nearest' }
  return checkChoice(op, 'reduce', reduce, ['max', 'or']) === 'or' ? or(inputs, attrs) : max(inputs, attrs)
}
