import { resizeImage } from '../data/resize.ts'
import { DataError } from '../gpu/errors.ts'

/** The image under an overlay; a `SampleData` fits. */
export interface OverlayImage {
  /** (C, H, W); the first three channels are shown as colour, or the first as grey where C is under 3. */
  image: Float32Array
  channels: number
  height: number
  width: number
}

/** Options of `drawOverlay`. */
export interface OverlayOptions {
  /** Values shown as black and as white; default: the image's own smallest and largest. */
  range?: readonly [black: number, white: number]
  /** A mask holds the values over this; default 0.5. */
  threshold?: number
  /** Small images are enlarged by a whole factor until their longer side has this many px; default 384. */
  minSide?: number
}

/** Truth, prediction, and where their outlines coincide. Apart for the colour-blind, too. */
const GREEN = [40, 220, 90] as const
const MAGENTA = [255, 60, 220] as const
const WHITE = [255, 255, 255] as const
const LINE = 2

/**
 * Draws the outlines of truth (green) and prediction (magenta) over an image; where both run, the line is
 * white. A dark rim keeps them legible on any ground. Lines lie inside their mask, 2 px wide; where the image is
 * enlarged, they follow the masks interpolated between pixels.
 *
 * @param image the image, (C, H, W)
 * @param truth (H, W) values
 * @param prediction (H, W) values
 * @returns RGB samples 0…255 as (3, H·k, W·k), k the factor of enlargement
 * @throws DataError when sizes do not fit
 */
export function drawOverlay(
  image: OverlayImage,
  truth: Float32Array,
  prediction: Float32Array,
  options: OverlayOptions = {},
): { data: Float32Array; shape: [number, number, number] } {
  const { height, width, channels } = image
  const plane = height * width
  if (image.image.length !== channels * plane || truth.length !== plane || prediction.length !== plane) {
    throw new DataError(
      `drawOverlay: image (${channels}, ${height}, ${width}) has ${image.image.length} values, truth ` +
        `${truth.length}, prediction ${prediction.length}; masks need ${plane}`,
    )
  }
  const { threshold = 0.5, minSide = 384 } = options
  const factor = Math.max(1, Math.ceil(minSide / Math.max(height, width)))
  const size = [height * factor, width * factor] as const
  const data = paint(image, size, options.range)
  const outlineOf = (mask: Float32Array): Uint8Array =>
    outline(resizeImage(mask, [1, height, width], size), size, threshold)
  const green = outlineOf(truth)
  const magenta = outlineOf(prediction)
  const large = size[0] * size[1]
  for (const i of rim(green, magenta, size)) {
    for (let c = 0; c < 3; c++) data[c * large + i]! *= 0.35
  }
  for (let i = 0; i < large; i++) {
    if (!green[i] && !magenta[i]) continue
    const colour = green[i] ? (magenta[i] ? WHITE : GREEN) : MAGENTA
    for (let c = 0; c < 3; c++) data[c * large + i] = colour[c]!
  }
  return { data, shape: [3, ...size] }
}

/** The image as RGB 0…255 at the wanted size. */
function paint(
  image: OverlayImage,
  size: readonly [number, number],
  range?: readonly [number, number],
): Float32Array {
  const { height, width } = image
  const plane = height * width
  const shown = image.channels >= 3 ? 3 : 1
  const pixels = image.image.subarray(0, shown * plane)
  let [black, white] = range ?? [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  if (!range) {
    for (const value of pixels) {
      if (value < black) black = value
      if (value > white) white = value
    }
  }
  const scale = white > black ? 255 / (white - black) : 0
  const scaled = pixels.map((v) => Math.min(255, Math.max(0, (v - black) * scale)))
  const large = resizeImage(scaled, [shown, height, width], size)
  const area = size[0] * size[1]
  const data = new Float32Array(3 * area)
  for (let c = 0; c < 3; c++) data.set(large.subarray((c % shown) * area, ((c % shown) + 1) * area), c * area)
  return data
}

/** Pixels of the mask that lie within `LINE` px of its edge (or of the image's), as 1. */
function outline(mask: Float32Array, [h, w]: readonly [number, number], threshold: number): Uint8Array {
  let inner = Uint8Array.from(mask, (v) => (v > threshold ? 1 : 0))
  const edge = inner.slice()
  for (let step = 0; step < LINE; step++) {
    const eroded = new Uint8Array(inner.length)
    for (let y = 1; y < h - 1; y++) {
      for (let x = 1; x < w - 1; x++) {
        const i = y * w + x
        eroded[i] = inner[i]! & inner[i - 1]! & inner[i + 1]! & inner[i - w]! & inner[i + w]!
      }
    }
    inner = eroded
  }
  for (let i = 0; i < edge.length; i++) if (inner[i]) edge[i] = 0
  return edge
}

/** Pixels beside a line, but not of one. */
function rim(a: Uint8Array, b: Uint8Array, [h, w]: readonly [number, number]): number[] {
  const line = (i: number): boolean => (a[i]! | b[i]!) === 1
  const found: number[] = []
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const i = y * w + x
      if (line(i)) continue
      const beside =
        (x > 0 && line(i - 1)) ||
        (x < w - 1 && line(i + 1)) ||
        (y > 0 && line(i - w)) ||
        (y < h - 1 && line(i + w))
      if (beside) found.push(i)
    }
  }
  return found
}
