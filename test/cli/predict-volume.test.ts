import { cp, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, expect, test } from 'vitest'
import { writeVolume } from '../../src/node/volume/nifti-write.ts'
import { readVolume } from '../../src/node/volume/read.ts'
import { fillHolesInVolume, keepLargestInVolume } from '../../src/pipelines/components.ts'
import { scoreMask } from '../../src/pipelines/scores.ts'
import { surfaceScores } from '../../src/pipelines/surface.ts'
import { tempFolder } from '../data/temp.ts'
import { discs } from '../pipelines/discs.ts'
import { discFolder, fovea } from './command.ts'

const folder = await tempFolder()
const run = join(folder, 'run')
const out = join(folder, 'masks')
const small = ['--size', '32', '--features', '2', '--batch', '4', '--lr', '2e-2', '--epochs', '12']
const window = '--window=-1000,1000'

/** Rows of discs as a scan, HU of −1000 to 1000; x runs to the patient's right: the file is no order of fovea's. */
const affine = [
  [1, 0, 0, -3],
  [0, 1.5, 0, 4],
  [0, 0, 2, 7],
  [0, 0, 0, 1],
]
const [depth, side] = [5, 40]
const scan = join(folder, 'scan.nii.gz')
const truth = join(folder, 'truth.nii.gz')
const series = fileURLToPath(new URL('../reference/volumes/series', import.meta.url))

beforeAll(async () => {
  const data = await discFolder(join(folder, 'discs'), 12)
  const trained = await fovea(['train', '--data', data, '--method', 'cartesian', ...small, '--out', run])
  expect(trained.code).toBe(0)
  const samples = await Promise.all(discs(depth, { size: side, seed: 5 }).map((s) => s.load()))
  const join2 = (key: 'image' | 'mask', f: (v: number) => number) =>
    Float32Array.from(samples.flatMap((s) => [...s[key]].map(f)))
  const grid = { shape: [depth, side, side], spacing: [2, 1.5, 1], affine } as const
  // Of 8 bits, discFolder writes 255·(v + 0.7)·0.7; the window brings these HU there.
  await writeVolume(scan, { ...grid, data: join2('image', (v) => 2000 * (v + 0.7) * 0.7 - 1000) })
  await writeVolume(truth, { ...grid, data: join2('mask', (v) => v) })
})

test('a NIfTI file in, a mask on its own grid out, scored against a truth', async () => {
  const predicted = await fovea([
    'predict',
    scan,
    '--run',
    run,
    '--out',
    out,
    window,
    '--truth',
    truth,
    '--json',
  ])
  expect(predicted.err).not.toMatch(/^fovea:/m)
  expect(predicted.code).toBe(0)
  const [made] = JSON.parse(predicted.out).masks
  expect(made.mask).toBe(join(out, 'scan_mask.nii.gz'))
  const [image, mask, real] = await Promise.all([scan, made.mask, truth].map((f) => readVolume(f)))
  // Same axes, flips, sizes and affine in the file.
  expect(mask!.stored).toEqual(image!.stored)
  expect(mask!.affine).toEqual(image!.affine)
  const { dice } = scoreMask(mask!.data, real!.data)
  expect(dice).toBeGreaterThan(0.8)
  expect(made.scores.dice).toBeCloseTo(dice, 10)
  const inMm = surfaceScores(mask!.data, real!.data, real!.shape, { spacing: [2, 1.5, 1] })
  expect(made.scores).toMatchObject(inMm)
  expect(inMm.hausdorff95).toBeGreaterThan(0)
  expect(made.voxels).toBe(mask!.data.reduce((a, b) => a + b))
  expect(made.millilitres).toBeCloseTo((made.voxels * 3) / 1000, 9)
})

test('holes and components in three dimensions, or slice by slice', async () => {
  const predicted = async (name: string, ...more: string[]) => {
    const to = join(folder, name)
    const made = await fovea(['predict', scan, '--run', run, '--out', to, window, ...more])
    expect(made.err).not.toMatch(/^fovea:/m)
    return (await readVolume(join(to, 'scan_mask.nii.gz'))).data
  }
  const plain = await predicted('plain')
  const shape = [depth, side, side] as const
  const filled = fillHolesInVolume(plain, shape)
  expect(await predicted('kept', '--keep-largest', '1', '--fill-holes')).toEqual(
    keepLargestInVolume(filled, shape, { k: 1 }),
  )
  // Discs of neighbouring slices that do not meet are apart in three dimensions, but each is the largest of its slice.
  const slices = await predicted('by-slice', '--keep-largest', '1', '--by-slice')
  const plane = side * side
  for (let z = 0; z < depth; z++)
    expect(slices.subarray(z * plane, (z + 1) * plane).some((v) => v > 0)).toBe(
      plain.subarray(z * plane, (z + 1) * plane).some((v) => v > 0),
    )
  expect(slices.reduce((a, b) => a + b)).toBeGreaterThan(
    keepLargestInVolume(plain, shape).reduce((a, b) => a + b),
  )
})

test('only some slices', async () => {
  const line = [
    'predict',
    scan,
    '--run',
    run,
    '--out',
    join(folder, 'some'),
    window,
    '--slices',
    '1,2',
    '--json',
  ]
  const [made] = JSON.parse((await fovea(line)).out).masks
  const [some, all] = await Promise.all([made.mask, join(out, 'scan_mask.nii.gz')].map((f) => readVolume(f)))
  const plane = side * side
  for (let z = 0; z < depth; z++) {
    const [a, b] = [some!, all!].map((v) => v.data.subarray(z * plane, (z + 1) * plane))
    if (z === 1 || z === 2) expect(a).toEqual(b)
    else expect(a!.every((v) => v === 0)).toBe(true)
  }
  const far = await fovea([...line.slice(0, -3), '--slices', '3,5'])
  expect(far.code).toBe(2)
  expect(far.err).toMatch(/--slices 3,5: .*scan\.nii\.gz has 5 slices, 0 to 4/)
})

test('a DICOM series in, NIfTI out on its grid; a folder of scans', async () => {
  const line = ['predict', series, '--run', run, '--out', out, window]
  const { code, out: said } = await fovea(line)
  expect(code).toBe(0)
  expect(said).toMatch(/series_mask\.nii\.gz: \d+×24×20 voxels/)
  const [image, mask] = await Promise.all([series, join(out, 'series_mask.nii.gz')].map((f) => readVolume(f)))
  expect(mask!.shape).toEqual(image!.shape)
  mask!.affine.flat().forEach((v, i) => {
    expect(v).toBeCloseTo(image!.affine.flat()[i]!, 3)
  })
  const scans = join(folder, 'scans')
  await mkdir(scans)
  await cp(scan, join(scans, 'a.nii.gz'))
  await cp(scan, join(scans, 'b.nii.gz'))
  // Left out, as masks beside images are.
  for (const mask of ['a_mask.nii.gz', 'segmentation-1.nii.gz']) await cp(truth, join(scans, mask))
  const both = await fovea(['predict', scans, '--run', run, '--out', out, window, '--json'])
  expect(JSON.parse(both.out).masks.map((m: { voxels: number }) => m.voxels)).toHaveLength(2)
})

test('what cannot be is said', async () => {
  const line = (path: string, ...more: string[]) =>
    fovea(['predict', path, '--run', run, '--out', join(folder, 'none'), ...more])
  expect((await line(scan, window, '--by-slice')).err).toMatch(
    /--by-slice: it says how --keep-largest and --fill-holes work/,
  )
  const picture = join(folder, 'discs', 'disc0_image.png')
  for (const [option, ...value] of [
    ['--slices', '0,1'],
    ['--by-slice'],
    ['--truth', truth],
    ['--series', '7'],
  ])
    expect((await line(picture, option!, ...value)).err).toMatch(
      new RegExp(`${option}: it is for scans, and .*disc0_image\\.png is no scan`),
    )
  const none = await line(scan)
  expect(none.code).toBe(2)
  expect(none.err).toMatch(/trained on images \(layout flat\).* pass --window LOW,HIGH/)
  expect((await line(scan, '--window', '5,1')).err).toMatch(/two numbers, the lower one first/)

  const other = join(folder, 'other.nii.gz')
  await writeVolume(other, {
    ...(await readVolume(truth)),
    shape: [depth, side, side],
    stored: undefined,
    affine: affine.map((r) => r.map((v) => 2 * v)),
  } as never)
  const grid = await line(scan, window, '--truth', other)
  expect(grid.code).toBe(2)
  expect(grid.err).toMatch(/other\.nii\.gz.* lies on another grid than its image .*scan\.nii\.gz/)

  const kinds = join(folder, 'kinds')
  await mkdir(kinds)
  await cp(scan, join(kinds, 'scan.nii.gz'))
  await cp(join(series, 'IM0'), join(kinds, 'slice.dcm'))
  const two = await line(kinds, window)
  expect(two.code).toBe(2)
  expect(two.err).toMatch(
    /it holds scans \(scan\.nii\.gz, 1 in all\) and DICOM files \(slice\.dcm, 1 in all\)/,
  )

  const mixed = join(folder, 'mixed')
  await cp(series, mixed, { recursive: true })
  const file = join(mixed, 'IM1')
  const bytes = await readFile(file)
  bytes.writeUInt16LE(12, bytes.indexOf(Buffer.from([0x28, 0, 0x10, 0, 0x55, 0x53, 2, 0])) + 8)
  await writeFile(file, bytes)
  const sizes = await line(mixed, window)
  expect(sizes.code).toBe(2)
  expect(sizes.err).toMatch(/mixed sizes in one series: .*20×24.*20×12/)
})
