import { readFileSync } from 'node:fs'
import { copyFile, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  assertSameGrid,
  orientVolume,
  resampleVolume,
  toStoredOrder,
  type Volume,
} from '../../src/data/volume.ts'
import { parseSafetensors } from '../../src/nn/safetensors.ts'
import { readImage } from '../../src/node/image.ts'
import { writeVolume } from '../../src/node/volume/nifti-write.ts'
import { readVolume } from '../../src/node/volume/read.ts'
import { dicomRecord } from './files.ts'
import { tempFolder } from './temp.ts'

interface Case {
  file: string
  kind: 'volume' | 'image'
  shape: number[]
  affine?: number[][]
}

const reference = new URL('../reference/', import.meta.url)
const cases = JSON.parse(readFileSync(new URL('volumes.json', reference), 'utf8')) as Case[]
const arrays = parseSafetensors(readFileSync(new URL('volumes.safetensors', reference))).tensors
const path = (file: string) => join(reference.pathname, 'volumes', file)
const expected = (file: string) => arrays.get(file)!.data as Float32Array

describe('files read as nibabel, pydicom and GDCM read them', () => {
  test.each(cases.filter((c) => c.kind === 'volume'))('$file', async ({ file, shape, affine }) => {
    const volume = await readVolume(path(file))
    expect(volume.shape).toEqual(shape)
    expect(Array.from(volume.data)).toEqual(Array.from(expected(file)))
    volume.affine.flat().forEach((v, i) => {
      // The header holds float32, and nibabel orthogonalises a rotation where we take it as it is.
      expect(Math.abs(v - affine!.flat()[i]!)).toBeLessThan(2e-5 * Math.max(1, Math.abs(v)))
    })
  })

  test.each(cases.filter((c) => c.kind === 'image'))('$file', async ({ file, shape }) => {
    const image = await readImage(path(file))
    expect(image.shape).toEqual(shape)
    expect(Array.from(image.data)).toEqual(Array.from(expected(file)))
  })
})

/** Axes of the body in any order and direction, stretched and turned a little. */
const grid = fc
  .record({
    order: fc.constantFrom([0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]),
    signs: fc.tuple(fc.boolean(), fc.boolean(), fc.boolean()),
    sizes: fc.tuple(
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 5 }),
    ),
    spacing: fc.array(fc.double({ min: 0.3, max: 6, noNaN: true }), { minLength: 3, maxLength: 3 }),
    turn: fc.double({ min: -0.5, max: 0.5, noNaN: true }),
  })
  .map(({ order: chosen, signs, sizes, spacing, turn }) => {
    const order: readonly number[] = chosen
    const affine = [0, 1, 2].map((row) => {
      const line = [0, 0, 0, 10 * row]
      line[order.indexOf(row)] = (signs[row] ? -1 : 1) * spacing[order.indexOf(row)]!
      return line
    })
    const [a, b] = [affine[0]!, affine[1]!]
    const rotated = [
      a.map((v, i) => Math.cos(turn) * v - Math.sin(turn) * b[i]!),
      a.map((v, i) => Math.sin(turn) * v + Math.cos(turn) * b[i]!),
      affine[2]!,
      [0, 0, 0, 1],
    ]
    return { affine: rotated, sizes: sizes as [number, number, number] }
  })

const numbered = (n: number) => Float32Array.from({ length: n }, (_, i) => i)

describe('the axis order', () => {
  test('each voxel keeps its place in the body', () => {
    fc.assert(
      fc.property(grid, ({ affine, sizes }) => {
        const volume = orientVolume(numbered(sizes[0] * sizes[1] * sizes[2]), sizes, affine, 'v')
        const [d, h, w] = volume.shape
        for (let z = 0; z < d; z++)
          for (let y = 0; y < h; y++)
            for (let x = 0; x < w; x++) {
              const n = volume.data[(z * h + y) * w + x]!
              const from = [
                n % sizes[0],
                Math.floor(n / sizes[0]) % sizes[1],
                Math.floor(n / sizes[0] / sizes[1]),
              ]
              for (let r = 0; r < 3; r++) {
                const a = affine[r]!
                const b = volume.affine[r]!
                const was = a[0]! * from[0]! + a[1]! * from[1]! + a[2]! * from[2]! + a[3]!
                const is = b[0]! * x + b[1]! * y + b[2]! * z + b[3]!
                expect(Math.abs(was - is)).toBeLessThan(1e-9)
              }
            }
        expect(volume.affine[0]![0]).toBeLessThan(0)
        expect(volume.affine[1]![1]).toBeLessThan(0)
        expect(volume.affine[2]![2]).toBeGreaterThan(0)
      }),
    )
  })

  test('goes back to the file’s own', () => {
    fc.assert(
      fc.property(grid, ({ affine, sizes }) => {
        const values = numbered(sizes[0] * sizes[1] * sizes[2])
        const volume = orientVolume(values, sizes, affine, 'v')
        expect(toStoredOrder(volume.data, volume.stored!)).toEqual(values)
      }),
    )
  })

  test('a singular affine is refused', () => {
    expect(() =>
      orientVolume(
        numbered(1),
        [1, 1, 1],
        [
          [1, 0, 0, 0],
          [0, 0, 0, 0],
          [0, 0, 1, 0],
          [0, 0, 0, 1],
        ],
        'scan.nii',
      ),
    ).toThrow(/scan\.nii: its affine does not span space/)
  })
})

describe('writing', () => {
  test.each(['oblique.nii', 'sagittal.nii', 'int16.nii.gz', 'qform.nii'])(
    'a mask over %s lies on its grid',
    async (file) => {
      const folder = await tempFolder()
      const image = await readVolume(path(file))
      const mask = { ...image, data: image.data.map((v) => (v > 0 ? 1 : 0)) }
      const out = join(folder, 'mask.nii.gz')
      await writeVolume(out, mask)
      const raw = gunzipSync(await readFile(out))
      expect([1, 2, 3].map((i) => raw.readInt16LE(40 + 2 * i))).toEqual([...image.stored!.shape])
      expect(raw.readInt16LE(70)).toBe(2)
      const again = await readVolume(out)
      expect(again.data).toEqual(mask.data)
      assertSameGrid(image, again)
    },
  )

  test('a volume without a file goes out in its own order', async () => {
    const folder = await tempFolder()
    const { stored: _, ...free } = await readVolume(path('sagittal.nii'))
    await writeVolume(join(folder, 'v.nii'), free, { type: 'float32' })
    const again = await readVolume(join(folder, 'v.nii'))
    expect(again.data).toEqual(free.data)
    assertSameGrid(free, again)
  })

  test('what does not fit is refused and leaves nothing', async () => {
    const folder = await tempFolder()
    const image = await readVolume(path('int16.nii.gz'))
    await expect(writeVolume(join(folder, 'a.nii'), image, { type: 'uint8' })).rejects.toThrow(
      /does not fit uint8/,
    )
    await expect(writeVolume(join(folder, 'a.mha'), image)).rejects.toThrow(/\.nii or \.nii\.gz/)
    await expect(writeVolume(join(folder, 'a.nii'), { ...image, data: new Float32Array(3) })).rejects.toThrow(
      /3 values do not fill 4×5×6/,
    )
    expect(await readdir(folder)).toEqual([])
  })
})

describe('resampling', () => {
  const ramp = (): Volume => {
    const data = Float32Array.from(
      { length: 8 * 6 * 4 },
      (_, i) => (i % 4) + 10 * (Math.floor(i / 4) % 6) + 100 * Math.floor(i / 24),
    )
    const affine = [
      [-2, 0, 0, 0],
      [0, -2, 0, 0],
      [0, 0, 2, 0],
      [0, 0, 0, 1],
    ]
    return { data, shape: [8, 6, 4], spacing: [2, 2, 2], affine }
  }

  test('a linear ramp stays the ramp in mm, inside', () => {
    const fine = resampleVolume(ramp(), [1, 0.5, 1])
    expect(fine.shape).toEqual([16, 24, 8])
    const [, h, w] = fine.shape
    for (const [z, y, x] of [
      [3, 9, 4],
      [8, 12, 2],
      [10, 5, 5],
    ] as const) {
      const index = [x, y, z].map((v, i) => (v + 0.5) * [0.5, 0.25, 0.5][i]! - 0.5)
      expect(fine.data[(z * h + y) * w + x]).toBeCloseTo(index[0]! + 10 * index[1]! + 100 * index[2]!, 3)
      // The affine puts the voxel where the ramp says.
      expect(fine.affine[0]![0]! * x + fine.affine[0]![3]!).toBeCloseTo(-2 * index[0]!, 6)
    }
  })

  test('the same spacing changes nothing; nearest makes no new label', () => {
    const volume = ramp()
    expect(resampleVolume(volume, 2).data).toEqual(volume.data)
    const labels = new Set(resampleVolume(volume, 3, { mode: 'nearest' }).data)
    for (const label of labels) expect(volume.data).toContain(label)
  })

  test('a spacing that is none is refused', () => {
    expect(() => resampleVolume(ramp(), 0)).toThrow(/spacing must be over 0 mm/)
  })
})

describe('bad files', () => {
  const damaged = async (file: string, change: (bytes: Buffer) => Buffer | Uint8Array) => {
    const to = join(await tempFolder(), file)
    await writeFile(to, change(await readFile(path(file))))
    return to
  }

  test('truncated NIfTI, DICOM and gzip', async () => {
    const cut = (bytes: Buffer) => bytes.subarray(0, bytes.length - 40)
    await expect(readVolume(await damaged('int32.nii', cut))).rejects.toThrow(
      /int32\.nii: truncated: .*the file has/,
    )
    await expect(readVolume(await damaged('int16.nii.gz', cut))).rejects.toThrow(
      /int16\.nii\.gz: the gzip stream/,
    )
    await expect(readImage(await damaged('s16-explicit.dcm', cut))).rejects.toThrow(
      /s16-explicit\.dcm: (truncated|the DICOM file cannot be parsed)/,
    )
  })

  test('a complex type, four axes, no volume at all', async () => {
    const short = (at: number, value: number) => (bytes: Buffer) => {
      bytes.writeInt16LE(value, at)
      return bytes
    }
    await expect(readVolume(await damaged('int32.nii', short(70, 32)))).rejects.toThrow(
      /type complex64 are not read/,
    )
    await expect(
      readVolume(
        await damaged('int32.nii', (b) => {
          b.writeInt16LE(4, 40)
          b.writeInt16LE(2, 48)
          return b
        }),
      ),
    ).rejects.toThrow(/4 axes \(6×5×4×2\)/)
    await expect(readVolume(await damaged('int32.nii', () => Buffer.from('hello')))).rejects.toThrow(
      /is no volume/,
    )
    await expect(readVolume('/nowhere/scan.nii')).rejects.toThrow(/scan\.nii: cannot be read/)
  })

  test('a DICOM file whose preamble is the start of a TIFF', async () => {
    const both = await damaged('s16-explicit.dcm', (bytes) => {
      bytes.write('II*\0', 0, 'latin1')
      return bytes
    })
    expect((await readImage(both)).shape).toEqual([1, 24, 20])
    expect((await readVolume(both)).shape).toEqual([1, 24, 20])
  })

  test('an unread transfer syntax is named', async () => {
    const jp2 = await damaged('s16-jpeg2000.dcm', (bytes) => {
      const at = bytes.indexOf('1.2.840.10008.1.2.4.90')
      bytes.write('1.2.840.10008.1.2.4.99', at, 'latin1')
      return bytes
    })
    await expect(readImage(jp2)).rejects.toThrow(/1\.2\.840\.10008\.1\.2\.4\.99/)
  })

  const series = async (change: (name: string, bytes: Buffer) => Buffer | undefined) => {
    const folder = await tempFolder()
    for (const name of await readdir(path('series'))) {
      const bytes = change(name, await readFile(join(path('series'), name)))
      if (bytes) await writeFile(join(folder, name), bytes)
    }
    return folder
  }

  /** The tag of the pixels, little endian. */
  const PIXELS = Buffer.from([0xe0, 0x7f, 0x10, 0x00])

  test('a series with a missing slice, a doubled slice, mixed sizes, two series', async () => {
    const { affine } = await readVolume(path('series'))
    expect(affine[2]![2]).toBeCloseTo(2.5)
    // IM4 is the third of five slices by position.
    await expect(readVolume(await series((n, b) => (n === 'IM4' ? undefined : b)))).rejects.toThrow(
      /mm apart, the others .* a slice is missing/,
    )
    const doubled = await series((_, b) => b)
    await copyFile(join(doubled, 'IM0'), join(doubled, 'IM9'))
    await expect(readVolume(doubled)).rejects.toThrow(/lie at the same place/)
    const rows = (b: Buffer) => {
      const at = b.indexOf(Buffer.from([0x28, 0, 0x10, 0, 0x55, 0x53, 2, 0]))
      b.writeUInt16LE(12, at + 8)
      return b
    }
    await expect(readVolume(await series((n, b) => (n === 'IM1' ? rows(b) : b)))).rejects.toThrow(
      /mixed sizes in one series: .*20×24.*20×12/,
    )
    const other = (b: Buffer) => {
      const at = b.indexOf('.77', 0, 'latin1')
      return at > 0 ? Buffer.from(b.toString('latin1').replace('498.77', '498.79'), 'latin1') : b
    }
    await expect(readVolume(await series((n, b) => (n === 'IM1' ? other(b) : b)))).rejects.toThrow(
      /2 series: .*choose one/,
    )
    await expect(readVolume(await tempFolder())).rejects.toThrow(/no DICOM files among 0 files/)
  })

  test('files of a series that hold no image are left out and told; an image that lost its pixels is refused', async () => {
    const folder = await series((_, b) => b)
    await writeFile(join(folder, 'A'), dicomRecord('SR'))
    const told: string[] = []
    const volume = await readVolume(folder, { onLeftOut: (sentence) => told.push(sentence) })
    expect(volume.data).toEqual((await readVolume(path('series'))).data)
    expect(told).toEqual([`left out: 1 DICOM file that holds no image (SR), first ${join(folder, 'A')}`])
    const alone = await tempFolder()
    await writeFile(join(alone, 'A'), dicomRecord('RTSTRUCT'))
    await expect(readVolume(alone)).rejects.toThrow(
      /no DICOM images among 1 files; .*\(left out: 1 .*RTSTRUCT/,
    )
    const cut = await series((n, b) => (n === 'IM1' ? b.subarray(0, b.indexOf(PIXELS)) : b))
    await expect(readVolume(cut)).rejects.toThrow(/IM1: /)
  })

  test('a mask on another grid', async () => {
    const image = await readVolume(path('oblique.nii'))
    const mask = await readVolume(path('scaled.nii'))
    expect(() => assertSameGrid(image, mask)).toThrow(
      /scaled\.nii lies on another grid than its image .*oblique\.nii \(.*; D×H×W\)/,
    )
  })

  test('several frames are no image', async () => {
    await expect(readImage(path('frames.dcm'))).rejects.toThrow(/5 frames.*readVolume/)
  })
})
