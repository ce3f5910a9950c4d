import type { Image } from '../data/image.ts'

interface BmpHeader {
  pixelOffset: number
  width: number
  height: number
  bitsPerPixel: number
  compression: number
  /** Where bmp-ts begins to read pixels: right after header, masks and palette. */
  paletteEnd: number
}

/**
 * Reads the size of a BMP from its header.
 *
 * @param bytes at least the first 54 bytes
 * @returns height and width in px
 * @throws Error when the header is incomplete or is OS/2's old 12-byte one
 */
export function bmpSize(bytes: Uint8Array): { height: number; width: number } {
  const { height, width } = parseHeader(bytes)
  return { height: Math.abs(height), width }
}

/**
 * Decodes a BMP of 1, 4, 8, 16, 24 or 32 bits a pixel (RLE and bit fields, too) with the library bmp-ts.
 * A fourth channel is dropped. 1 channel when the file has a palette and all its pixels are grey, else 3.
 *
 * @param bytes the whole file
 * @returns samples 0…255
 * @throws Error when the file is truncated or not a BMP that the library knows
 */
export async function decodeBmp(bytes: Uint8Array): Promise<Image> {
  const { decode } = await import('bmp-ts')
  const header = parseHeader(bytes)
  const height = Math.abs(header.height)
  const { width } = header
  if (width < 1 || height < 1 || width * height > 2 ** 28) throw new Error(`size ${width}×${height}`)
  if (header.compression === 0 || header.compression === 3) {
    const stride = Math.ceil((width * header.bitsPerPixel) / 32) * 4
    if (header.pixelOffset + stride * height > bytes.length) throw new Error('pixel data ends early')
  }
  const decoded = decode(arrange(bytes, header))
  // bmp-ts gives (alpha, blue, green, red) a pixel, in rows of its own width (see `arrange`).
  const colour = new Float32Array(3 * height * width)
  const plane = height * width
  let grey = header.bitsPerPixel <= 8
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const source = (y * decoded.width + x) * 4
      const target = y * width + x
      const red = decoded.data[source + 3]!
      const green = decoded.data[source + 2]!
      const blue = decoded.data[source + 1]!
      colour[target] = red
      colour[plane + target] = green
      colour[2 * plane + target] = blue
      grey &&= red === green && green === blue
    }
  }
  const data = grey ? colour.slice(0, plane) : colour
  return { data, shape: [grey ? 1 : 3, height, width], max: 255 }
}

/**
 * Two things bmp-ts 1.0.9 gets wrong are mended before it sees the file: it ignores the header's pixel
 * offset (a gap after the palette is cut out), and it stops after the first row of a 4-bit image of odd
 * width (the width is made even: the row's bytes are the same, and the caller drops the last column).
 */
function arrange(bytes: Uint8Array, header: BmpHeader): Buffer {
  const { paletteEnd, pixelOffset } = header
  const gap = pixelOffset > paletteEnd && paletteEnd > 0
  const out = gap
    ? Buffer.concat([bytes.subarray(0, paletteEnd), bytes.subarray(pixelOffset)])
    : Buffer.from(bytes)
  if (header.bitsPerPixel === 4 && header.compression === 0 && header.width % 2 === 1) {
    out.writeUInt32LE(header.width + 1, 18)
  }
  return out
}

function parseHeader(bytes: Uint8Array): BmpHeader {
  if (bytes.length < 54) throw new Error('the header is incomplete')
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const headerSize = view.getUint32(14, true)
  if (headerSize < 40) throw new Error(`header of ${headerSize} bytes (OS/2) is not supported`)
  const bitsPerPixel = view.getUint16(28, true)
  const compression = view.getUint32(30, true)
  const colours = view.getUint32(46, true)
  const masks = headerSize > 40 ? 0 : compression === 3 ? 12 : compression === 6 ? 16 : 0
  const palette = bitsPerPixel <= 8 || colours > 0 ? colours || 2 ** bitsPerPixel : 0
  return {
    pixelOffset: view.getUint32(10, true),
    width: view.getUint32(18, true),
    height: view.getInt32(22, true),
    bitsPerPixel,
    compression,
    paletteEnd: 14 + headerSize + masks + palette * 4,
  }
}
