/** One decoded image, before any normalisation. */
export interface Image {
  /** Samples in (C, H, W) order: 0…255 for 8-bit files, 0…65535 for 16-bit ones, unscaled. */
  data: Float32Array
  /** [channels, height, width]; 1 channel is grey, 3 are red, green, blue. */
  shape: [number, number, number]
  /** The largest value that the file's sample type can hold: 255, 65535, or 1 for floating point. */
  max: number
  /** Distance between pixel centres, mm, where the file tells it (DICOM). */
  spacing?: readonly [y: number, x: number]
}

/** Rec. 601 luma weights, as OpenCV and Pillow use them. */
const LUMA = [0.299, 0.587, 0.114] as const

/**
 * Gives `image` the wanted number of channels.
 *
 * @param data (C, H, W) samples with C = 1 or 3
 * @param from C of `data`
 * @param to 1 or 3: grey is repeated into three planes; colour becomes Rec. 601 luma
 * @returns `data` itself when nothing is to do, else a new (to, H, W) array
 */
export function convertChannels(data: Float32Array, from: number, to: number): Float32Array {
  if (from === to) return data
  const plane = data.length / from
  const out = new Float32Array(plane * to)
  if (from === 1) {
    for (let c = 0; c < to; c++) out.set(data, c * plane)
    return out
  }
  for (let i = 0; i < plane; i++) {
    out[i] = LUMA[0] * data[i]! + LUMA[1] * data[plane + i]! + LUMA[2] * data[2 * plane + i]!
  }
  return out
}

/**
 * Turns a mask image into zeros and ones.
 *
 * A pixel belongs to the mask when its grey value is over half of what the file's type can hold (over 127
 * of 255). A lossless file in which no pixel gets that far, but some are not zero (masks stored as 0 and 1,
 * label maps), counts every value above zero instead.
 *
 * @param image decoded mask, 1 or 3 channels
 * @param options.lossy true for JPEG, whose noise around zero must not count as mask
 * @returns (1, H, W) array of 0 and 1
 */
export function binarizeMask(image: Image, options: { lossy?: boolean } = {}): Float32Array {
  const grey = convertChannels(image.data, image.shape[0], 1)
  const half = image.max / 2
  let reached = options.lossy === true
  for (let i = 0; i < grey.length && !reached; i++) reached = grey[i]! > half
  const threshold = reached ? half : 0
  const mask = new Float32Array(grey.length)
  for (let i = 0; i < grey.length; i++) mask[i] = grey[i]! > threshold ? 1 : 0
  return mask
}
