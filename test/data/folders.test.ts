import { mkdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { DataError } from '../../src/gpu/errors.ts'
import { openDataset } from '../../src/node/folders.ts'
import { findImages } from '../../src/node/layouts.ts'
import { encodePng, writePng } from '../../src/node/png.ts'
import { tempFolder } from './temp.ts'

type Size = readonly [height: number, width: number]

/** Writes grey images whose every pixel is `value`; names with `_instances` get 16 bits. */
async function folderOf(
  files: Record<string, { size?: Size; value?: number; channels?: 1 | 3 }>,
): Promise<string> {
  const folder = await tempFolder()
  for (const [name, { size = [4, 6] as Size, value = 255, channels = 1 }] of Object.entries(files)) {
    const path = join(folder, name)
    await mkdir(dirname(path), { recursive: true })
    const Samples = name.includes('_instances') ? Uint16Array : Uint8Array
    const data = new Samples(channels * size[0] * size[1]).fill(value)
    await writeFile(path, await encodePng({ data, shape: [channels, ...size] }))
  }
  return folder
}

describe('layouts', () => {
  test.each([
    ['flat', { 'b.png': {}, 'b_mask.png': {}, 'a_image.png': {}, 'a_segmentation.png': {} }, ['a', 'b']],
    [
      'folders',
      { 'images/a.png': {}, 'masks/a.png': {}, 'images/b.png': {}, 'masks/b_mask.png': {} },
      ['a', 'b'],
    ],
    ['instances', { 'a_image.png': {}, 'a_instances.png': { value: 300 } }, ['a']],
    [
      'patients',
      { 'P/10_image.png': {}, 'P/10_mask.png': {}, 'P/9.png': {}, 'P/9_mask.png': {} },
      ['P/9', 'P/10'],
    ],
  ] as const)('%s is recognised, other files are ignored', async (layout, files, ids) => {
    const folder = await folderOf(files)
    await writeFile(join(folder, 'SOURCE.md'), 'x')
    await writeFile(join(folder, '.hidden_mask.png'), 'x')
    const dataset = await openDataset(folder)
    expect(dataset.layout).toBe(layout)
    expect(dataset.samples.map((s) => s.id)).toEqual(ids)
    expect((await openDataset(folder, { layout })).samples.length).toBe(ids.length)
  })

  test('patients are groups, and slices have a depth in numeric order', async () => {
    const files = Object.fromEntries(
      ['1', '2', '10', '11'].flatMap((n) => [
        [`P/${n}.png`, {}],
        [`P/${n}_mask.png`, {}],
      ]),
    )
    const folder = await folderOf({ ...files, 'Q/1.png': {}, 'Q/1_mask.png': {} })
    const { samples, channels } = await openDataset(folder, { depthChannel: true })
    expect(samples.map((s) => [s.id, s.group, s.depth])).toEqual([
      ['P/1', 'P', 0],
      ['P/2', 'P', 0.25],
      ['P/10', 'P', 0.5],
      ['P/11', 'P', 0.75],
      ['Q/1', 'Q', 0],
    ])
    const data = await samples[3]!.load()
    expect([channels, data.channels]).toEqual([2, 2])
    expect([...data.image.slice(22, 27)].map((v) => +v.toFixed(6))).toEqual([0.9, 0.9, 0.75, 0.75, 0.75])
    const flat = await folderOf({ 'a.png': {}, 'a_mask.png': {} })
    await expect(openDataset(flat, { depthChannel: true })).rejects.toThrow(/depthChannel.*layout is flat/)
  })

  test('channels: 1 when all are grey, 3 when one is not, or as asked', async () => {
    const grey = { 'a.png': {}, 'a_mask.png': { channels: 3 } } as const
    const mixed = await folderOf({ ...grey, 'b.png': { channels: 3, value: 100 }, 'b_mask.png': {} })
    expect((await (await openDataset(await folderOf(grey))).samples[0]!.load()).channels).toBe(1)
    const { samples } = await openDataset(mixed, { normalize: 'none' })
    expect((await samples[0]!.load()).image).toEqual(new Float32Array(72).fill(255))
    const asGrey = await openDataset(mixed, { channels: 1, normalize: 'none' })
    const [value] = (await asGrey.samples[1]!.load()).image
    expect(value).toBeCloseTo(100, 4)
  })

  test('a size resizes image and truth; instances stay whole numbers', async () => {
    const folder = await folderOf({ 'a_image.png': { value: 51 }, 'a_instances.png': { value: 300 } })
    const { samples, size } = await openDataset(folder, { size: [2, 3] })
    const data = await samples[0]!.load()
    expect(size).toEqual([2, 3])
    expect([data.height, data.width]).toEqual([2, 3])
    expect([...data.image].map((v) => +v.toFixed(6))).toEqual(new Array(6).fill(-0.3))
    expect([...data.mask]).toEqual(new Array(6).fill(1))
    expect([...data.instances!]).toEqual(new Array(6).fill(300))
    expect(samples[0]!.originalSize).toEqual([4, 6])
    expect((await (await openDataset(folder, { size: 8 })).samples[0]!.load()).image.length).toBe(64)
    await expect(openDataset(folder, { size: 0 })).rejects.toThrow(/whole pixels/)
  })

  test('decoded samples are kept; with no cache they are decoded anew', async () => {
    const folder = await folderOf({ 'a.png': {}, 'a_mask.png': {} })
    const kept = (await openDataset(folder)).samples[0]!
    const fresh = (await openDataset(folder, { cacheBytes: 0 })).samples[0]!
    const [one, two] = await Promise.all([kept.load(), kept.load()])
    expect(two).toBe(one)
    const first = await fresh.load()
    await rm(join(folder, 'a.png'))
    expect(await kept.load()).toBe(one)
    expect(first.image).toEqual(one.image)
    await expect(fresh.load()).rejects.toThrow(/a\.png: cannot be read/)
  })
})

describe('what is refused', () => {
  const refused = async (files: Parameters<typeof folderOf>[0], ...patterns: RegExp[]) => {
    const folder = await folderOf(files)
    const error: unknown = await openDataset(folder).catch((e: unknown) => e)
    expect(error).toBeInstanceOf(DataError)
    for (const pattern of patterns) expect((error as Error).message).toMatch(pattern)
  }

  test('a folder with no pairs says what was expected', async () => {
    await refused({}, /no pairs.*0 image files/, /X\.jpg with X_mask\.png/)
    await refused({ 'a.png': {}, 'b.png': {} }, /no pairs.*2 image files/)
    await refused({ 'images/a.png': {}, 'masks/b.png': {} }, /no pairs.*2 subfolders/)
    await expect(openDataset('/no/such/folder')).rejects.toThrow(/\/no\/such\/folder: not a folder/)
    const folder = await folderOf({ 'a.png': {}, 'a_mask.png': {} })
    await expect(openDataset(folder, { layout: 'patients' })).rejects.toThrow(/no pairs.*in layout patients/)
  })

  test('a missing mask or image is named', async () => {
    await refused({ 'a.png': {}, 'a_mask.png': {}, 'b.png': {} }, /1 images have no mask: .*b\.png/)
    await refused({ 'a.png': {}, 'a_mask.png': {}, 'c_mask.png': {} }, /1 masks have no image: .*c_mask\.png/)
    await refused({ 'P/1.png': {}, 'P/1_mask.png': {}, 'P/2.png': {} }, /2\.png/)
  })

  test('a mask of another size names both files and sizes', async () => {
    const files = { 'a.png': {}, 'a_mask.png': { size: [5, 6] as Size } }
    await refused(files, /a_mask\.png is 6×5 px/, /a\.png is 6×4 px/, /remake the mask/)
  })

  test('fat of images in colour', async () => {
    const folder = await tempFolder()
    await writePng(join(folder, 'a.png'), { data: new Uint8Array(12), shape: [3, 2, 2] })
    await writePng(join(folder, 'a_mask.png'), { data: new Uint8Array(4), shape: [1, 2, 2] })
    await expect(openDataset(folder, { range: 'fat' })).rejects.toThrow(
      /fat is told by the grey of CT slices/,
    )
  })

  test('two files for one role', async () => {
    await refused({ 'a.png': {}, 'a_image.png': {}, 'a_mask.png': {} }, /both the image of a/)
  })

  test('damage in the header is found at once, in the pixels at load', async () => {
    const folder = await folderOf({ 'a.png': {}, 'a_mask.png': {} })
    await writeFile(join(folder, 'b.png'), '')
    await writeFile(join(folder, 'b_mask.png'), '')
    await expect(openDataset(folder)).rejects.toThrow(/b\.png: the file is empty/)
    const noise = Uint8Array.from({ length: 4096 }, (_, i) => (i * 7919) % 251)
    const whole = await encodePng({ data: noise, shape: [1, 64, 64] })
    await writeFile(join(folder, 'b.png'), whole.subarray(0, whole.length / 2))
    await writeFile(join(folder, 'b_mask.png'), whole)
    const { samples } = await openDataset(folder)
    await expect(samples[1]!.load()).rejects.toThrow(/b\.png: the PNG cannot be decoded/)
  })
})

test('findImages leaves masks out', async () => {
  const folder = await folderOf({ 'b.png': {}, 'a_image.png': {}, 'a_mask.png': {}, 'a_instances.png': {} })
  expect(await findImages(folder)).toEqual([join(folder, 'a_image.png'), join(folder, 'b.png')])
  expect(await findImages(join(folder, 'b.png'))).toEqual([join(folder, 'b.png')])
  await expect(findImages(await tempFolder())).rejects.toThrow(/no images/)
})

test('the sample that ships with fovea is whole', async () => {
  const shipped = fileURLToPath(new URL('../../data', import.meta.url))
  const lesion = await openDataset(join(shipped, 'lesion'), { size: 32 })
  const nuclei = await openDataset(join(shipped, 'nuclei'), { size: 32 })
  expect([lesion.samples.length, lesion.layout, lesion.channels]).toEqual([160, 'flat', 3])
  expect([nuclei.samples.length, nuclei.layout, nuclei.channels]).toEqual([59, 'instances', 3])
  for (const sample of [...lesion.samples, ...nuclei.samples]) {
    const { image, mask } = await sample.load()
    expect(
      image.every((v) => v >= -0.5 && v <= 0.5),
      sample.id,
    ).toBe(true)
    expect(mask.some((v) => v === 1) && mask.some((v) => v === 0), sample.id).toBe(true)
  }
})
