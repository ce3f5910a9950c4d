import { DataError } from '../gpu/errors.ts'
import { writeFileAtomic } from './atomic.ts'
import { loadSharp } from './sharp.ts'

/** What `encodePng` and `writePng` take. */
export interface PngSource {
  /**
   * Samples in (C, H, W) order. `Uint16Array` is written with 16 bits, anything else with 8: rounded and
   * clipped to 0…255.
   */
  data: Float32Array | Uint8Array | Uint8ClampedArray | Uint16Array
  /** [channels, height, width]; channels 1 (grey) or 3 (red, green, blue). */
  shape: readonly [number, number, number]
}

/**
 * Encodes an image as PNG.
 *
 * @param source samples and shape
 * @returns the file's bytes
 * @throws DataError when shape and data do not fit, or a sample is not finite
 */
export async function encodePng(source: PngSource): Promise<Uint8Array> {
  const { data, shape } = source
  const [channels, height, width] = shape
  const plane = height * width
  if ((channels !== 1 && channels !== 3) || plane < 1 || data.length !== channels * plane) {
    throw new DataError(
      `encodePng: ${data.length} samples with shape (${shape.join(', ')}); wants 1 or 3 channels and as many samples`,
    )
  }
  const wide = data instanceof Uint16Array
  const samples = wide ? new Uint16Array(data.length) : new Uint8ClampedArray(data.length)
  for (let c = 0; c < channels; c++) {
    for (let i = 0; i < plane; i++) {
      const value = data[c * plane + i]!
      if (!Number.isFinite(value)) throw new DataError(`encodePng: sample ${c * plane + i} is ${value}`)
      samples[i * channels + c] = value
    }
  }
  const sharp = await loadSharp()
  const space = channels === 1 ? (wide ? 'grey16' : 'b-w') : wide ? 'rgb16' : 'srgb'
  return sharp(samples, { raw: { width, height, channels } })
    .toColourspace(space)
    .png({ compressionLevel: 9 })
    .toBuffer()
}

/**
 * Writes an image as PNG, whole or not at all.
 *
 * @param path file to write
 * @param source samples and shape, see `PngSource`
 * @throws DataError as `encodePng` and `writeFileAtomic` do
 */
export async function writePng(path: string, source: PngSource): Promise<void> {
  await writeFileAtomic(path, await encodePng(source))
}

/**
 * Writes a mask or probability map as a black and white PNG (0 and 255), whole or not at all.
 *
 * @param path file to write
 * @param mask (H, W) values, 0…1
 * @param options height and width in px; values over `threshold` (0.5) become white
 * @throws DataError when the size does not fit, a value is NaN, or the file cannot be written
 */
export async function writeMask(
  path: string,
  mask: ArrayLike<number>,
  options: { height: number; width: number; threshold?: number },
): Promise<void> {
  const { height, width, threshold = 0.5 } = options
  if (mask.length !== height * width) {
    throw new DataError(`writeMask: ${path}: ${mask.length} values for ${height}×${width} px`)
  }
  const data = new Uint8Array(mask.length)
  for (let i = 0; i < data.length; i++) {
    if (Number.isNaN(mask[i])) throw new DataError(`writeMask: ${path}: value ${i} is NaN`)
    data[i] = mask[i]! > threshold ? 255 : 0
  }
  await writePng(path, { data, shape: [1, height, width] })
}
