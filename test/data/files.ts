/** Files written by hand, byte by byte, so that the readers are not tested with their own writer. */

/** An uncompressed BMP. `rows` are top to bottom, palette indices or [red, green, blue]. */
export function bmp(
  rows: (number | [number, number, number])[][],
  options: {
    bits: 1 | 4 | 8 | 24 | 32
    palette?: [number, number, number][]
    topDown?: boolean
    gap?: number
  },
): Uint8Array {
  const { bits, palette = [], topDown = false, gap = 0 } = options
  const height = rows.length
  const width = rows[0]!.length
  const stride = Math.ceil((width * bits) / 32) * 4
  const offset = 54 + palette.length * 4 + gap
  const bytes = new Uint8Array(offset + stride * height)
  const view = new DataView(bytes.buffer)
  bytes.set([0x42, 0x4d])
  view.setUint32(2, bytes.length, true)
  view.setUint32(10, offset, true)
  view.setUint32(14, 40, true)
  view.setUint32(18, width, true)
  view.setInt32(22, topDown ? -height : height, true)
  view.setUint16(26, 1, true)
  view.setUint16(28, bits, true)
  view.setUint32(46, palette.length, true)
  palette.forEach(([r, g, b], i) => {
    bytes.set([b, g, r, 0], 54 + i * 4)
  })
  rows.forEach((row, y) => {
    const start = offset + stride * (topDown ? y : height - 1 - y)
    row.forEach((pixel, x) => {
      if (typeof pixel === 'number') {
        const bit = x * bits
        bytes[start + (bit >> 3)]! |= pixel << (8 - bits - (bit & 7))
      } else {
        bytes.set([pixel[2], pixel[1], pixel[0]], start + (x * bits) / 8)
      }
    })
  })
  return bytes
}

/** An uncompressed grey TIFF, little endian, of one page or more; 16 bits, or 32-bit floats. */
export function tiff(
  pages: number,
  height: number,
  width: number,
  samples: Uint16Array | Float32Array,
): Uint8Array {
  const size = samples.byteLength
  const directory = 2 + 10 * 12 + 4
  const bytes = new Uint8Array(8 + pages * directory + size)
  const view = new DataView(bytes.buffer)
  const pixels = 8 + pages * directory
  bytes.set([0x49, 0x49, 42, 0])
  view.setUint32(4, 8, true)
  for (let page = 0; page < pages; page++) {
    const start = 8 + page * directory
    const tags = [
      [256, width],
      [257, height],
      [258, samples.BYTES_PER_ELEMENT * 8],
      [259, 1],
      [262, 1],
      [273, pixels],
      [277, 1],
      [278, height],
      [279, size],
      [339, samples instanceof Float32Array ? 3 : 1],
    ] as const
    view.setUint16(start, tags.length, true)
    tags.forEach(([tag, value], i) => {
      const at = start + 2 + i * 12
      view.setUint16(at, tag, true)
      view.setUint16(at + 2, 4, true)
      view.setUint32(at + 4, 1, true)
      view.setUint32(at + 8, value, true)
    })
    view.setUint32(start + directory - 4, page + 1 < pages ? start + directory : 0, true)
  }
  bytes.set(new Uint8Array(samples.buffer, samples.byteOffset, size), pixels)
  return bytes
}

/** A DICOM file that holds no image, such as a structured report (SR): explicit, little endian, one item of content. */
export function dicomRecord(modality: string, series = '1.2.3'): Uint8Array {
  const even = (text: string) => text + ' '.repeat(text.length % 2)
  const tag = (group: number, element: number, vr: string, value: string | Buffer): Buffer => {
    const bytes = typeof value === 'string' ? Buffer.from(even(value), 'latin1') : value
    const long = ['OB', 'SQ'].includes(vr)
    const head = Buffer.alloc(long ? 12 : 8)
    head.writeUInt16LE(group, 0)
    head.writeUInt16LE(element, 2)
    head.write(vr, 4, 'latin1')
    if (long) head.writeUInt32LE(bytes.length, 8)
    else head.writeUInt16LE(bytes.length, 6)
    return Buffer.concat([head, bytes])
  }
  const meta = tag(0x0002, 0x0010, 'UI', '1.2.840.10008.1.2.1\0')
  const length = Buffer.alloc(4)
  length.writeUInt32LE(meta.length)
  const item = tag(0x0040, 0xa040, 'CS', 'TEXT')
  const itemHead = Buffer.from([0xfe, 0xff, 0x00, 0xe0, 0, 0, 0, 0])
  itemHead.writeUInt32LE(item.length, 4)
  return Buffer.concat([
    ...[Buffer.alloc(128), Buffer.from('DICM'), tag(0x0002, 0x0000, 'UL', length), meta],
    tag(0x0008, 0x0060, 'CS', modality),
    tag(0x0020, 0x000e, 'UI', `${series}${'\0'.repeat(series.length % 2)}`),
    tag(0x0040, 0xa730, 'SQ', Buffer.concat([itemHead, item])),
  ])
}
