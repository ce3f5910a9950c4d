import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import sharp from 'sharp'
import { describe, expect, test } from 'vitest'
import { DataError } from '../../src/gpu/errors.ts'
import { writeFileAtomic } from '../../src/node/atomic.ts'
import { readImage, readImageSize, readMask } from '../../src/node/image.ts'
import { encodePng, writeMask, writePng } from '../../src/node/png.ts'
import { bmp, tiff } from './files.ts'
import { tempFolder } from './temp.ts'

const RGB = { width: 3, height: 2, channels: 3 } as const
const COLOURS = Uint8Array.from([255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30, 40, 50, 60, 70, 80, 90])
const PLANES = [255, 0, 0, 10, 40, 70, 0, 255, 0, 20, 50, 80, 0, 0, 255, 30, 60, 90]

describe('what is read', () => {
  test('PNG and TIFF: colour as three planes', async () => {
    for (const format of ['png', 'tiff'] as const) {
      const image = await readImage(
        await sharp(COLOURS, { raw: RGB }).toFormat(format, { compression: 'none' }).toBuffer(),
      )
      expect(image.shape).toEqual([3, 2, 3])
      expect([...image.data]).toEqual(PLANES)
      expect(image.max).toBe(255)
    }
  })

  test('JPEG: three channels for colour, one for grey', async () => {
    const base = sharp(new Uint8Array(64 * 48 * 3).fill(128), { raw: { width: 64, height: 48, channels: 3 } })
    expect((await readImage(await base.clone().jpeg().toBuffer())).shape).toEqual([3, 48, 64])
    const grey = await readImage(await base.clone().toColourspace('b-w').jpeg().toBuffer())
    expect(grey.shape).toEqual([1, 48, 64])
    expect(Math.abs(grey.data[100]! - 128)).toBeLessThanOrEqual(1)
  })

  test('alpha is dropped, not blended', async () => {
    const rgba = Uint8Array.from([200, 100, 50, 0, 1, 2, 3, 255])
    const png = await sharp(rgba, { raw: { width: 2, height: 1, channels: 4 } })
      .png()
      .toBuffer()
    const image = await readImage(png)
    expect(image.shape).toEqual([3, 1, 2])
    expect([...image.data]).toEqual([200, 1, 100, 2, 50, 3])
    const la = Uint8Array.from([200, 0, 7, 255])
    const grey = await readImage(
      await sharp(la, { raw: { width: 2, height: 1, channels: 2 } })
        .toColourspace('b-w')
        .png()
        .toBuffer(),
    )
    expect(grey.shape).toEqual([1, 1, 2])
    expect([...grey.data]).toEqual([200, 7])
  })

  test('a palette is expanded: to colour, or to grey when all its pixels are grey', async () => {
    const colour = await sharp(COLOURS, { raw: RGB }).png({ palette: true, dither: 0 }).toBuffer()
    expect((await sharp(colour).metadata()).isPalette).toBe(true)
    expect((await readImage(colour)).shape[0]).toBe(3)
    const mask = Uint8Array.from([0, 0, 0, 255, 255, 255])
    const grey = await sharp(mask, { raw: { width: 2, height: 1, channels: 3 } })
      .png({ palette: true, dither: 0 })
      .toBuffer()
    expect([...(await readImage(grey)).data]).toEqual([0, 255])
  })

  test('the EXIF orientation is applied, to the size in the header, too', async () => {
    const turned = await sharp(COLOURS, { raw: RGB }).png().withMetadata({ orientation: 6 }).toBuffer()
    const image = await readImage(turned)
    expect(image.shape).toEqual([3, 3, 2])
    // Orientation 6: shown after a quarter turn clockwise, so the first column comes on top, from below.
    expect([...image.data.subarray(0, 6)]).toEqual([10, 255, 40, 0, 70, 0])
    const path = join(await tempFolder(), 'turned.png')
    await writeFile(path, turned)
    expect(await readImageSize(path)).toEqual({ height: 3, width: 2, channels: 3 })
  })

  test('16 bits are exact: PNG grey and colour, TIFF', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint16Array({ minLength: 6, maxLength: 6 }),
        fc.constantFrom([1, 2, 3] as const, [3, 1, 2] as const),
        async (data, shape) => {
          const image = await readImage(await encodePng({ data, shape }))
          expect([image.shape, image.max]).toEqual([[...shape], 65535])
          expect([...image.data]).toEqual([...data])
        },
      ),
      { numRuns: 30 },
    )
    const samples = Uint16Array.from([0, 1, 255, 256, 40_000, 65_535])
    const image = await readImage(tiff(1, 2, 3, samples))
    expect([...image.data]).toEqual([...samples])
  })

  test.each([
    ['24 bits', 24, false, 0],
    ['24 bits, top down', 24, true, 0],
    ['32 bits', 32, false, 0],
    ['24 bits with a gap before the pixels', 24, false, 10],
  ] as const)('BMP of %s', async (_, bits, topDown, gap) => {
    const rows = [
      [
        [255, 0, 0],
        [0, 255, 0],
        [0, 0, 255],
      ],
      [
        [10, 20, 30],
        [40, 50, 60],
        [70, 80, 90],
      ],
    ] as [number, number, number][][]
    const image = await readImage(bmp(rows, { bits, topDown, gap }))
    expect(image.shape).toEqual([3, 2, 3])
    expect([...image.data]).toEqual(PLANES)
  })

  test.each([1, 4, 8] as const)('BMP of %i bits with a palette, odd width', async (bits) => {
    const rows = [
      [0, 1, 1, 0, 1],
      [1, 0, 0, 0, 1],
      [0, 0, 1, 1, 0],
    ]
    const grey = await readImage(
      bmp(rows, {
        bits,
        palette: [
          [0, 0, 0],
          [255, 255, 255],
        ],
        gap: 4,
      }),
    )
    expect(grey.shape).toEqual([1, 3, 5])
    expect([...grey.data]).toEqual(rows.flat().map((v) => v * 255))
    const colour = await readImage(
      bmp(rows, {
        bits,
        palette: [
          [1, 2, 3],
          [9, 8, 7],
        ],
      }),
    )
    expect(colour.shape).toEqual([3, 3, 5])
    expect([...colour.data.subarray(0, 5)]).toEqual([1, 9, 9, 1, 9])
  })

  test('readImageSize agrees with readImage', async () => {
    const folder = await tempFolder()
    const files: Record<string, Uint8Array> = {
      'a.png': await sharp(COLOURS, { raw: RGB }).png().toBuffer(),
      'b.bmp': bmp([[0, 1, 0]], {
        bits: 8,
        palette: [
          [0, 0, 0],
          [1, 1, 1],
        ],
        topDown: true,
      }),
      'c.tif': tiff(1, 2, 3, new Uint16Array(6)),
      'd.jpg': await sharp(COLOURS, { raw: RGB }).jpeg().toBuffer(),
    }
    for (const [name, bytes] of Object.entries(files)) {
      await writeFile(join(folder, name), bytes)
      const { height, width } = await readImageSize(join(folder, name))
      expect([height, width]).toEqual((await readImage(bytes)).shape.slice(1))
    }
  })
})

describe('masks', () => {
  const asMask = async (values: number[], format: 'png' | 'jpeg' = 'png') => {
    const path = join(await tempFolder(), `mask.${format}`)
    const raw = { width: values.length, height: 1, channels: 1 } as const
    await writeFile(
      path,
      await sharp(Uint8Array.from(values), { raw }).toColourspace('b-w').toFormat(format).toBuffer(),
    )
    return [...(await readMask(path)).mask]
  }
  test('over half of the range', async () => expect(await asMask([0, 127, 128, 255])).toEqual([0, 0, 1, 1]))
  test('0 and 1, and label maps', async () => expect(await asMask([0, 1, 2, 0])).toEqual([0, 1, 1, 0]))
  test('JPEG noise is not a mask', async () =>
    expect(await asMask([2, 1, 0, 3], 'jpeg')).toEqual([0, 0, 0, 0]))
})

describe('what is refused, and says which file', () => {
  test('truncated, empty, garbage, missing', async () => {
    const folder = await tempFolder()
    const noise = Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * 7919) % 251)
    const raw = { width: 64, height: 64, channels: 3 } as const
    const files: Record<string, Uint8Array> = {
      'cut.jpg': await sharp(noise, { raw }).jpeg().toBuffer(),
      'cut.png': await sharp(noise, { raw }).png().toBuffer(),
      'cut.tif': tiff(1, 64, 64, Uint16Array.from(noise.subarray(0, 4096))),
      'cut.bmp': bmp(
        Array.from({ length: 64 }, () => new Array(64).fill([1, 2, 3])),
        { bits: 24 },
      ),
    }
    for (const [name, bytes] of Object.entries(files)) {
      for (const share of [0.3, 0.6, 0.97]) {
        await writeFile(join(folder, name), bytes.subarray(0, Math.floor(bytes.length * share)))
        await expect(readImage(join(folder, name)), `${name} ${share}`).rejects.toThrow(DataError)
        await expect(readImage(join(folder, name))).rejects.toThrow(name)
      }
    }
    await writeFile(join(folder, 'empty.png'), '')
    await expect(readImage(join(folder, 'empty.png'))).rejects.toThrow(/empty\.png: the file is empty/)
    await writeFile(join(folder, 'garbage.png'), 'not an image at all')
    await expect(readImage(join(folder, 'garbage.png'))).rejects.toThrow(/garbage\.png: is no image/)
    await expect(readImage(join(folder, 'none.png'))).rejects.toThrow(/none\.png: cannot be read/)
  })

  test('random bytes after any signature never pass and never crash', async () => {
    const heads = [
      [0x42, 0x4d],
      [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a],
      [0xff, 0xd8, 0xff],
      [0x49, 0x49, 42, 0],
    ]
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...heads), fc.uint8Array({ maxLength: 200 }), async (head, rest) => {
        await expect(readImage(Uint8Array.from([...head, ...rest]))).rejects.toThrow(DataError)
      }),
      { numRuns: 100 },
    )
  })

  test('DICOM and other formats by their name', async () => {
    const dicom = new Uint8Array(200)
    dicom.set([0x44, 0x49, 0x43, 0x4d], 128)
    await expect(readImage(dicom)).rejects.toThrow(/the DICOM/)
    await expect(readImage(new TextEncoder().encode('GIF89a'))).rejects.toThrow(/is GIF.*convert/)
  })

  test('several pages, floating point', async () => {
    await expect(readImage(tiff(3, 2, 2, new Uint16Array(4)))).rejects.toThrow(/3 pages/)
    await expect(readImage(tiff(1, 2, 2, new Float32Array(4)))).rejects.toThrow(/float/)
  })
})

describe('writing', () => {
  test('masks and images come back', async () => {
    const folder = await tempFolder()
    await writeMask(join(folder, 'm.png'), [0, 0.4, 0.6, 1], { height: 2, width: 2 })
    expect([...(await readImage(join(folder, 'm.png'))).data]).toEqual([0, 0, 255, 255])
    await writePng(join(folder, 'deep/er/c.png'), {
      data: Float32Array.from([1.4, 300, -4]),
      shape: [3, 1, 1],
    })
    expect([...(await readImage(join(folder, 'deep/er/c.png'))).data]).toEqual([1, 255, 0])
    expect((await readdir(folder)).sort()).toEqual(['deep', 'm.png'])
  })

  test('a size that does not fit, NaN', async () => {
    const path = join(await tempFolder(), 'x.png')
    await expect(writeMask(path, [0, 1, 1], { height: 2, width: 2 })).rejects.toThrow(/3 values for 2×2/)
    await expect(writeMask(path, [Number.NaN], { height: 1, width: 1 })).rejects.toThrow(/NaN/)
    await expect(encodePng({ data: new Uint8Array(5), shape: [1, 2, 2] })).rejects.toThrow(DataError)
  })

  test('atomic: a folder that cannot be made is told, also where Node itself would not return', async () => {
    const folder = await tempFolder()
    const inFile = join(folder, 'a-file')
    await writeFile(inFile, '')
    const refused = [
      join(inFile, 'below', 'x'),
      ...(process.platform === 'linux' ? ['/proc/none/below/x'] : []),
    ]
    for (const path of refused)
      await expect(writeFileAtomic(path, 'x')).rejects.toThrow(`cannot write ${path}`)
    await writeFileAtomic(join(folder, 'new', 'and', 'deep', 'x'), 'x')
    expect(await readFile(join(folder, 'new', 'and', 'deep', 'x'), 'utf8')).toBe('x')
  })

  test('atomic: a failure leaves the earlier file and no litter', async () => {
    const folder = await tempFolder()
    const path = join(folder, 'a.txt')
    await writeFileAtomic(path, 'one')
    await writeFileAtomic(path, 'two')
    expect(await readFile(path, 'utf8')).toBe('two')
    await writeFileAtomic(join(folder, 'dir/inside.txt'), 'x')
    await expect(writeFileAtomic(join(folder, 'dir'), 'over a folder')).rejects.toThrow(/cannot write.*dir/)
    await expect(writeFileAtomic(join(path, 'below-a-file'), 'x')).rejects.toThrow(DataError)
    expect((await readdir(folder)).sort()).toEqual(['a.txt', 'dir'])
  })
})
