import { mkdir, readFile, truncate, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, test, vi } from 'vitest'
import type { Dataset } from '../../src/data/dataset.ts'
import type { Volume } from '../../src/data/volume.ts'
import { openDataset } from '../../src/node/folders.ts'
import { checkFolder } from '../../src/node/known/check.ts'
import { encodePng } from '../../src/node/png.ts'
import { writeVolume } from '../../src/node/volume/nifti-write.ts'
import { readVolume } from '../../src/node/volume/read.ts'
import { fovea } from '../cli/command.ts'
import { bmp, dicomRecord } from './files.ts'
import { tempFolder } from './temp.ts'

const grey = (value: number, size = 8) =>
  encodePng({ data: new Uint8Array(size * size).fill(value), shape: [1, size, size] })

/** A folder of grey pictures, 8×8 px, white; `text` for files that are none. */
async function tree(files: readonly string[], text: readonly string[] = []): Promise<string> {
  const root = join(await tempFolder(), 'set')
  for (const file of files) {
    await mkdir(dirname(join(root, file)), { recursive: true })
    await writeFile(join(root, file), await grey(255))
  }
  for (const file of text) await writeFile(join(root, file), 'x')
  return root
}

describe('image sets as they are distributed', () => {
  test.each([
    [
      'cvc-clinicdb',
      ['Original/1.tif', 'Original/2.tif', 'Ground Truth/1.tif', 'Ground Truth/2.tif'],
      ['1', '2'],
    ],
    [
      'isic',
      [
        'ISIC2018_Task1-2_Training_Input/ISIC_01.jpg',
        'ISIC2018_Task1_Training_GroundTruth/ISIC_01_segmentation.png',
        'ISIC2018_Task1-2_Validation_Input/ISIC_02.jpg',
        'ISIC2018_Task1_Validation_GroundTruth/ISIC_02_segmentation.png',
        'ISIC2018_Task2_Training_GroundTruth/ISIC_01_attribute_globules.png',
      ],
      ['ISIC_01', 'ISIC_02'],
    ],
    [
      'isic',
      [
        'ISIC-2017_Training_Data/ISIC_01.jpg',
        'ISIC-2017_Training_Data/ISIC_01_superpixels.png',
        'ISIC-2017_Training_Part1_GroundTruth/ISIC_01_segmentation.png',
      ],
      ['ISIC_01'],
    ],
    ['kvasir-seg', ['Kvasir-SEG/images/c1.jpg', 'Kvasir-SEG/masks/c1.jpg'], ['c1']],
    [
      'waterloo',
      [
        'melanoma/dermIS/1_orig.jpg',
        'melanoma/dermIS/1_contour.png',
        'notmelanoma/dermquest/1_orig.jpg',
        'notmelanoma/dermquest/1_contour.png',
      ],
      ['dermis/melanoma/1', 'dermquest/notmelanoma/1'],
    ],
    [
      'cardiac-fat',
      ['input/P1/001.png', 'input/P1/002.png', 'label/P1/001.png', 'label/P1/002.png'],
      ['P1/001', 'P1/002'],
    ],
  ] as const)('%s', async (layout, files, ids) => {
    const folder = await tree(files)
    const dataset = await openDataset(folder)
    expect(dataset.layout).toBe(layout)
    expect(dataset.samples.map((s) => s.id)).toEqual(ids)
    const { mask } = await dataset.samples[0]!.load()
    expect(mask.every((v) => v === 1)).toBe(true)
    const check = await checkFolder(folder)
    expect(check.layout).toBe(layout)
    expect(check.images).toBe(ids.length)
    expect(check.sizes).toEqual([{ width: 8, height: 8, count: ids.length }])
    expect(check.problems).toEqual([])
    expect(check.missing).toBe(check.full!.count - (check.full!.of === 'patients' ? 1 : ids.length))
  })

  test('2018 Data Science Bowl: the masks of an image become its objects', async () => {
    const root = await tempFolder()
    const put = async (path: string, bytes: Uint8Array) => {
      await mkdir(dirname(join(root, path)), { recursive: true })
      await writeFile(join(root, path), bytes)
    }
    await put('stage1_train/a/images/a.png', await grey(90, 2))
    const only = (at: number) =>
      encodePng({ data: Uint8Array.from({ length: 4 }, (_, i) => (i === at ? 255 : 0)), shape: [1, 2, 2] })
    await put('stage1_train/a/masks/m1.png', await only(0))
    await put('stage1_train/a/masks/m2.png', await only(3))
    const { samples, layout } = await openDataset(root)
    expect(layout).toBe('dsb-2018')
    expect([...(await samples[0]!.load()).instances!]).toEqual([1, 0, 0, 2])
  })

  test('parts by name', async () => {
    const folder = await tree(['melanoma/dermis/1_orig.jpg', 'melanoma/dermis/1_contour.png'])
    expect((await openDataset(folder, { collection: 'dermis' })).samples.length).toBe(1)
    await expect(openDataset(folder, { collection: 'dermquest' })).rejects.toThrow(
      /collection dermquest; it has dermis/,
    )
  })

  test('red of a painted label', async () => {
    const folder = await tree(['input/P/1.png', 'label/P/1.png'])
    const row: [number, number, number][] = [
      [255, 0, 0],
      [0, 255, 0],
      [0, 0, 255],
      [255, 255, 255],
    ]
    await writeFile(join(folder, 'label/P/1.bmp'), bmp([row], { bits: 24 }))
    await writeFile(join(folder, 'input/P/1.bmp'), bmp([row], { bits: 24 }))
    const { rm } = await import('node:fs/promises')
    await rm(join(folder, 'label/P/1.png'))
    await rm(join(folder, 'input/P/1.png'))
    const { samples } = await openDataset(folder)
    expect([...(await samples[0]!.load()).mask]).toEqual([1, 0, 0, 0])
  })

  test('what is missing is listed by check and refused by openDataset', async () => {
    const folder = await tree(['Original/1.tif', 'Original/2.tif', 'Ground Truth/1.tif'])
    const { problems } = await checkFolder(folder)
    expect(problems[0]).toMatch(/2\.tif has no mask/)
    await expect(openDataset(folder)).rejects.toThrow(/1 images have no mask/)
    const flat = await tree(['a.png', 'a_mask.png', 'b.png'])
    expect((await checkFolder(flat)).problems).toEqual([expect.stringMatching(/b\.png has no mask/)])
    await expect(checkFolder(await tempFolder())).rejects.toThrow(/no pairs/)
  })

  test('Cardiac Fat: a patient without labels, or without images, is told and refused', async () => {
    const folder = await tree(['input/P1/1.png', 'label/P1/1.png', 'input/P2/1.png', 'label/P3/1.png'])
    const { problems } = await checkFolder(folder)
    expect(problems).toEqual([
      expect.stringMatching(/input\/P2\/1\.png has no mask/),
      expect.stringMatching(/label\/P3\/1\.png has no image/),
    ])
    await expect(openDataset(folder)).rejects.toThrow(/1 images have no mask: .*P2/)
  })

  test('2018 Data Science Bowl: an image that is missing is told; a plain data set in a subfolder is none of it', async () => {
    const folder = await tree([
      'stage1_train/a/images/a.png',
      'stage1_train/a/masks/m.png',
      'stage1_train/b/masks/m.png',
      'stage1_train/c/images/c.png',
      'stage1_train/junk/x.png',
    ])
    for (const root of [folder, join(folder, 'stage1_train')])
      expect(await checkFolder(root)).toMatchObject({
        layout: 'dsb-2018',
        problems: [
          expect.stringMatching(/b\/masks\/m\.png has no image/),
          expect.stringMatching(/c\.png has no mask/),
        ],
      })
    const plain = await tree([
      'mine/images/1.png',
      'mine/images/2.png',
      'mine/masks/1.png',
      'mine/masks/2.png',
    ])
    await expect(openDataset(plain)).rejects.toThrow(/no pairs of image and mask .* 1 subfolders/)
  })

  test('ISIC: images of a part without ground truth are left out, and it is told how many', async () => {
    const folder = await tree([
      ...['1', '2', '3'].flatMap((n) => [
        `ISIC2018_Task1-2_Training_Input/ISIC_0${n}.jpg`,
        `ISIC2018_Task1_Training_GroundTruth/ISIC_0${n}_segmentation.png`,
      ]),
      'ISIC2018_Task1-2_Test_Input/ISIC_07.jpg',
      'ISIC2018_Task1-2_Test_Input/ISIC_08.jpg',
    ])
    const sentence = `left out: 2 images without a folder of ground truth beside theirs, first ${join(folder, 'ISIC2018_Task1-2_Test_Input/ISIC_07.jpg')}`
    const dataset = await openDataset(folder)
    expect([dataset.samples.length, dataset.leftOut]).toEqual([3, [sentence]])
    expect(await checkFolder(folder)).toMatchObject({ images: 3, leftOut: [sentence], problems: [] })
    const { code, out } = await fovea(['data', 'check', folder])
    expect([code, out]).toEqual([0, expect.stringContaining(`\n${sentence}\nproblems  none\n`)])
    const { err } = await fovea(['train', '--data', folder, '--out', folder])
    expect(err).toMatch(new RegExp(`^set: ${sentence}\\nfovea: --out .* is the data folder itself`))
  })

  test('DICOM files of no image beside DICOM images are left out; as slices they count for no depth', async () => {
    const root = await tempFolder()
    const slice = await readFile(new URL('../reference/volumes/s16-explicit.dcm', import.meta.url))
    const mask = await encodePng({ data: new Uint8Array(24 * 20).fill(255), shape: [1, 24, 20] })
    await mkdir(join(root, 'p1'))
    for (const n of [1, 2]) {
      await writeFile(join(root, `p1/${n}_image.dcm`), slice)
      await writeFile(join(root, `p1/${n}_mask.png`), mask)
    }
    const plain = await openDataset(root, { depthChannel: true })
    await writeFile(join(root, 'p1/0.dcm'), dicomRecord('SR'))
    await writeFile(join(root, 'p1/3.dcm'), dicomRecord('RTSTRUCT'))
    const dataset = await openDataset(root, { depthChannel: true })
    const places = ({ samples }: Dataset) => samples.map(({ id, depth }) => [id, depth])
    expect(places(dataset)).toEqual(places(plain))
    expect(places(dataset).map(([, depth]) => depth)).toEqual([0, 0.5])
    const sentence = `left out: 2 DICOM files that hold no image (SR, RTSTRUCT), first ${join(root, 'p1/0.dcm')}`
    expect([plain.leftOut, dataset.leftOut]).toEqual([undefined, [sentence]])
    expect(await checkFolder(root)).toMatchObject({ images: 2, leftOut: [sentence], problems: [] })
    // An image without a mask is refused as before.
    await writeFile(join(root, 'p1/4.dcm'), slice)
    await expect(openDataset(root)).rejects.toThrow(/1 images have no mask: .*4\.dcm/)
  })

  test('own scans: the error says by which names they are paired', async () => {
    const root = await tempFolder()
    await mkdir(join(root, 'images'))
    for (const file of ['images/a.nii.gz', 'a_mask.nii.gz']) await writeFile(join(root, file), 'x')
    await expect(openDataset(root)).rejects.toThrow(
      /It holds 2 scans, such as a_mask\.nii\.gz: they are paired as volume-N\.nii with segmentation-N\.nii .*DN\.seg\.nrrd/,
    )
    await expect(openDataset(await tempFolder())).rejects.toThrow(/NNN_mask\.png$/)
  })

  test('the command: counts, what is missing, and code 2 where there are problems', async () => {
    const part = await tree(['Original/1.tif', 'Ground Truth/1.tif'])
    const good = await fovea(['data', 'check', part])
    expect(good.code).toBe(0)
    expect(good.out).toBe(
      'CVC-ClinicDB (polyps) (layout cvc-clinicdb)\nimages    1\nsizes     8×8 (1) px, width×height\n' +
        'missing   611 of the 612 images as published\nproblems  none\n',
    )
    const bad = await tree(['a.png', 'a_mask.png', 'b.png'])
    for (const json of [[], ['--json']]) {
      const told = await fovea(['data', 'check', bad, ...json])
      expect(told.code).toBe(2)
      expect(told.out).toMatch(/b\.png has no mask/)
      expect(told.err).toMatch(/^fovea: .*: 1 problem; fovea train refuses the folder until mended\n$/)
    }
    expect((await fovea(['train', '--data', bad, '--out', join(bad, 'none')])).code).toBe(2)
  })
})

describe('scans', () => {
  const grid = {
    spacing: [2, 1, 1],
    affine: [
      [-1, 0, 0, 0],
      [0, -1, 0, 0],
      [0, 0, 2, 0],
      [0, 0, 0, 1],
    ],
  } as const
  const shape = [5, 4, 4] as const
  const image: Volume = {
    ...grid,
    shape,
    data: Float32Array.from({ length: 80 }, (_, i) => Math.floor(i / 16) * 50),
  }
  /** Objects in slices 1 to 3. */
  const mask: Volume = {
    ...grid,
    shape,
    data: Float32Array.from({ length: 80 }, (_, i) => (i >= 16 && i < 64 && i % 2 === 0 ? 2 : 0)),
  }

  test('LiTS: slices with liver, windowed, by scan; the second time from the cache', async () => {
    const folder = await tempFolder()
    process.env.FOVEA_CACHE = await tempFolder()
    await mkdir(join(folder, 'Training Batch 1'))
    for (const n of [0, 10]) {
      await writeVolume(join(folder, `Training Batch 1/volume-${n}.nii`), image)
      await writeVolume(join(folder, `Training Batch 1/segmentation-${n}.nii`), mask)
    }
    const cut: string[] = []
    const options = { onScan: ({ id }: { id: string }) => cut.push(id), depthChannel: true }
    const { samples, layout, channels } = await openDataset(folder, options)
    expect([layout, channels]).toEqual(['lits', 2])
    expect(samples.map((s) => s.id)).toEqual(['0/001', '0/002', '0/003', '10/001', '10/002', '10/003'])
    expect(samples.map((s) => s.group)).toEqual(['0', '0', '0', '10', '10', '10'])
    const loaded = await samples[2]!.load()
    // 150 HU of 0 to 200, less 0.1; depth 2 of 3 slices.
    expect(loaded.image[0]).toBeCloseTo(0.65, 6)
    expect(loaded.image[16]).toBeCloseTo(2 / 3, 6)
    expect(loaded.mask.reduce((a, b) => a + b)).toBe(8)
    const again = await openDataset(folder, options)
    expect(await again.samples[2]!.load()).toEqual(loaded)
    // A file where the slices would lie: they stay in memory.
    const full = await tempFolder()
    await writeFile(join(full, 'slices'), '')
    process.env.FOVEA_CACHE = full
    expect(await (await openDataset(folder, options)).samples[2]!.load()).toEqual(loaded)
    const halved = (await openDataset(folder, { size: 2 })).samples[0]!
    expect(halved.originalSize).toEqual([4, 4])
    expect([loaded.spacing, (await halved.load()).spacing]).toEqual([
      [1, 1],
      [2, 2],
    ])
    const check = await checkFolder(folder)
    expect(check.scans).toBe(2)
    expect(check.sizes).toEqual([{ width: 4, height: 4, count: 2 }])
    expect([check.missing, check.problems]).toEqual([129, []])
    await writeVolume(join(folder, 'segmentation-11.nii.gz'), {
      ...mask,
      shape: [4, 4, 4],
      data: mask.data.slice(16),
    })
    await writeVolume(join(folder, 'volume-11.nii.gz'), image)
    await writeFile(join(folder, 'volume-12.nii'), 'no scan')
    await writeFile(join(folder, 'segmentation-12.nii'), 'no scan')
    const [smaller, damaged] = (await checkFolder(folder)).problems
    expect(smaller).toMatch(
      /segmentation-11\.nii\.gz lies on another grid than its image .*volume-11\.nii\.gz: sizes: 4×4×4 voxels, the image 5×4×4$/,
    )
    expect(damaged).toMatch(/volume-12\.nii: is no NIfTI file/)
  })

  test('check tells masks of another spacing, orientation or place, by their headers alone', async () => {
    const folder = await tempFolder()
    const { affine } = mask
    const pairs: [change: (rows: number[][]) => number[][], problem: RegExp | undefined][] = [
      // A hundredth of a voxel is the rounding of a header.
      [(rows) => rows.map((row) => [row[0]!, row[1]!, row[2]!, row[3]! + 0.01]), undefined],
      [
        (rows) => rows.map((row) => [row[0]!, row[1]!, row[2]! * 1.25, row[3]!]),
        /: spacing: 2\.5×1×1 mm, the image 2×1×1 mm$/,
      ],
      [
        ([x, y, ...rest]) => {
          const [c, s] = [Math.cos(0.1), Math.sin(0.1)]
          return [x!.map((v, i) => c * v - s * y![i]!), x!.map((v, i) => s * v + c * y![i]!), ...rest]
        },
        /: orientation: axes turned by up to 5\.7°$/,
      ],
      [
        (rows) => rows.map((row, r) => (r === 2 ? [...row.slice(0, 3), row[3]! + 4] : row)),
        /: position: first voxels 4\.00 mm apart$/,
      ],
    ]
    for (const [n, [change]] of pairs.entries()) {
      const affineOf = (change(affine.slice(0, 3).map((row) => [...row])) as number[][]).concat([
        [0, 0, 0, 1],
      ])
      await writeVolume(join(folder, `volume-${n}.nii.gz`), image)
      await writeVolume(join(folder, `segmentation-${n}.nii.gz`), { ...mask, affine: affineOf })
    }
    const { problems } = await checkFolder(folder)
    const of = (n: number) => problems.find((p) => p.includes(`segmentation-${n}.nii.gz`))
    const short = join(folder, 'volume-9.nii')
    await writeVolume(short, image)
    await writeVolume(join(folder, 'segmentation-9.nii'), mask)
    await truncate(short, 400)
    expect((await checkFolder(folder)).problems.join()).toMatch(/volume-9\.nii: truncated: 4×4×5 voxels of/)
    for (const [n, [, problem]] of pairs.entries())
      if (problem) expect(of(n)).toMatch(problem)
      else expect(of(n)).toBeUndefined()
  })

  test('axes that a file stores in another order are no other grid', async () => {
    const folder = await tempFolder()
    await writeVolume(join(folder, 'volume-1.nii'), image)
    // z fastest and running down: the same voxels, other bytes.
    const stored = { shape: [5, 4, 4], axes: [1, 2, 0], flips: [false, false, true] } as const
    const [x, y, z] = [0, 1, 2].map((c) => mask.affine.map((row) => row[c]!)) as [
      number[],
      number[],
      number[],
    ]
    const turned = mask.affine.map((row, r) =>
      r === 3 ? [0, 0, 0, 1] : [-z[r]!, x[r]!, y[r]!, row[3]! + 4 * z[r]!],
    )
    await writeVolume(join(folder, 'segmentation-1.nii'), { ...mask, stored: { ...stored, affine: turned } })
    expect((await checkFolder(folder)).problems).toEqual([])
    expect((await readVolume(join(folder, 'segmentation-1.nii'))).data).toEqual(mask.data)
  })

  test('a segmentation on another grid, an empty one, one that stands alone', async () => {
    process.env.FOVEA_CACHE = await tempFolder()
    const folder = await tempFolder()
    const other: Volume = { ...mask, affine: [[-1, 0, 0, 9], ...mask.affine.slice(1)] }
    await writeVolume(join(folder, 'volume-1.nii'), image)
    await writeVolume(join(folder, 'segmentation-1.nii'), other)
    await expect(openDataset(folder)).rejects.toThrow(/segmentation-1\.nii .*another grid than its image/)
    await writeVolume(join(folder, 'segmentation-1.nii'), { ...mask, data: new Float32Array(80) })
    await expect(openDataset(folder)).rejects.toThrow(/segmentation-1\.nii: no voxel is over 0/)
    await writeVolume(join(folder, 'volume-2.nii'), image)
    await expect(openDataset(folder)).rejects.toThrow(/1 images have no mask: .*volume-2\.nii/)
    expect((await checkFolder(folder)).problems[0]).toMatch(/volume-2\.nii has no mask/)
  })

  /** An NRRD file by hand. */
  const nrrd = (samples: Int16Array, fields: string, gz = false): Uint8Array => {
    const head = `NRRD0004\n# by hand\ntype: short\ndimension: 3\n${fields}\nendian: little\nencoding: ${gz ? 'gzip' : 'raw'}\n\n`
    const data = new Uint8Array(samples.buffer)
    return Buffer.concat([Buffer.from(head), gz ? gzipSync(data) : data])
  }
  const space =
    'sizes: 4 4 5\nspace: left-posterior-superior\nspace directions: (1,0,0) (0,1,0) (0,0,2)\nkinds: domain domain domain\nspace origin: (0,0,0)'

  test('AVT: NRRD, raw and gzipped', async () => {
    process.env.FOVEA_CACHE = await tempFolder()
    const folder = await tempFolder()
    const warned = vi.spyOn(console, 'warn')
    await writeFile(join(folder, 'D1.nrrd'), nrrd(Int16Array.from(image.data), `${space}\nunknown field: 7`))
    await writeFile(join(folder, 'D1.seg.nrrd'), nrrd(Int16Array.from(mask.data), space, true))
    const volume = await readVolume(join(folder, 'D1.nrrd'))
    expect(volume.data).toEqual(image.data)
    expect(volume.affine.map((row) => row.map((v) => v + 0))).toEqual(image.affine)
    const { samples, layout } = await openDataset(folder)
    expect([layout, samples.length, samples[0]!.group]).toEqual(['avt', 3, 'D1'])
    expect((await checkFolder(folder)).sizes).toEqual([{ width: 4, height: 4, count: 1 }])
    await writeFile(
      join(folder, 'D1.seg.nrrd'),
      nrrd(Int16Array.from(mask.data), space.replace('4 4 5', '4 4 4'), true),
    )
    expect((await checkFolder(folder)).problems[0]).toMatch(
      /D1\.seg\.nrrd lies on another grid .*: sizes: 4×4×4 voxels, the image 5×4×4$/,
    )
    expect(warned).not.toHaveBeenCalled()
    warned.mockRestore()
    const bad = async (bytes: Uint8Array | string, message: RegExp) => {
      await writeFile(join(folder, 'bad.nrrd'), bytes)
      await expect(readVolume(join(folder, 'bad.nrrd'))).rejects.toThrow(message)
    }
    const whole = nrrd(new Int16Array(80), space, true)
    await bad(
      nrrd(new Int16Array(3), space),
      /bad\.nrrd: truncated: 4×4×5 samples of int16 need 160 bytes, it has 6$/,
    )
    await bad(whole.subarray(0, whole.length - 9), /bad\.nrrd: its data cannot be unpacked/)
    await bad(
      nrrd(new Int16Array(80), `${space}\nbyte skip: 8`),
      /bad\.nrrd: an NRRD file with line skip or byte skip/,
    )
    await bad('NRRD0004\ntype: short\n\n', /bad\.nrrd: its NRRD header cannot be read \(Dimension missing/)
    await bad(whole.toString().replace('gzip', 'bzip2'), /bad\.nrrd: NRRD encoding bzip2 is not read/)
    await writeFile(
      join(folder, 'four.nrrd'),
      nrrd(new Int16Array(3), 'sizes: 1 1 3 1').toString().replace('dimension: 3', 'dimension: 4'),
    )
    await expect(readVolume(join(folder, 'four.nrrd'))).rejects.toThrow(/four\.nrrd: .*4 axes/)
  })
})
