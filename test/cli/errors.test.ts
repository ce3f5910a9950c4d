import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { writeMask } from '../../src/node/png.ts'
import { writeVolume } from '../../src/node/volume/nifti-write.ts'
import { tempFolder } from '../data/temp.ts'
import { discFolder, fovea } from './command.ts'

const folder = await tempFolder()
const small = ['--size', '32', '--features', '2', '--epochs', '1']
const train = (data: string) =>
  fovea(['train', '--data', data, '--out', join(folder, 'run'), '--method', 'cartesian', ...small])

/** The last line, which must be all that a failure says. */
const sentence = (err: string): string => {
  const lines = err
    .trim()
    .split('\n')
    .filter((line) => line.startsWith('fovea: '))
  expect(lines).toHaveLength(1)
  expect(err).not.toMatch(/^\s+at /m)
  return lines[0]!
}

test('a folder without pairs: code 2, and what was expected', async () => {
  const empty = join(folder, 'empty')
  await mkdir(empty)
  const { code, err, out } = await train(empty)
  expect([code, out]).toEqual([2, ''])
  expect(sentence(err)).toMatch(/no pairs of image and mask.*expected one of/)
})

test('a mask of another size: code 2, and both files', async () => {
  const bad = await discFolder(join(folder, 'sizes'), 4)
  await writeMask(join(bad, 'disc2_mask.png'), new Float32Array(16 * 16), { height: 16, width: 16 })
  const { code, err } = await train(bad)
  expect(code).toBe(2)
  expect(sentence(err)).toMatch(/disc2_mask\.png is 16×16 px, its image .*disc2_image\.png is 32×32/)
})

test('a truncated file: code 2, and its name', async () => {
  const bad = await discFolder(join(folder, 'truncated'), 4)
  const file = join(bad, 'disc1_image.png')
  const bytes = await readFile(file)
  await writeFile(file, bytes.subarray(0, bytes.length / 2))
  const { code, err } = await train(bad)
  expect(code).toBe(2)
  expect(sentence(err)).toMatch(/disc1_image\.png.*truncated or damaged/)
})

test('too few images, a folder that is no run, a missing image: code 2 and advice', async () => {
  const two = await discFolder(join(folder, 'two'), 2)
  const few = await train(two)
  expect(few.code).toBe(2)
  expect(sentence(few.err)).toMatch(/at least 3 are needed/)
  const evaluate = await fovea(['evaluate', '--run', two])
  expect(evaluate.code).toBe(2)
  expect(sentence(evaluate.err)).toMatch(/config\.json: cannot be read.*--run wants/)
  const predict = await fovea(['predict', 'nowhere.png', '--run', two, '--out', folder])
  expect(predict.code).toBe(2)
})

test('weights of another network, truncated ones, none: code 2, each with its own advice', async () => {
  const data = await discFolder(join(folder, 'data'), 5)
  const out = join(folder, 'other')
  const line = ['train', '--data', data, '--out', out, '--method', 'cartesian', ...small]
  expect((await fovea(line)).code).toBe(0)
  const config = join(out, 'config.json')
  const text = await readFile(config, 'utf8')
  const changed = JSON.parse(text)
  changed.settings.features = 3
  await writeFile(config, JSON.stringify(changed))
  const foreign = await fovea(['evaluate', '--run', out])
  expect(foreign.code).toBe(2)
  expect(sentence(foreign.err)).toMatch(
    /best\.safetensors: the weights are not those of the network that .*config\.json describes \(.*\(2, 1, 3, 3\) instead of \(3, 1, 3, 3\); [^;]* and \d+ more\); put back/,
  )
  await writeFile(config, text)
  const weights = join(out, 'data', 'cartesian', 'best.safetensors')
  const bytes = await readFile(weights)
  await writeFile(weights, bytes.subarray(0, bytes.length / 2))
  for (const command of [['evaluate'], ['predict', join(data, 'disc0_image.png'), '--out', folder]]) {
    const truncated = await fovea([...command, '--run', out])
    expect(truncated.code).toBe(2)
    const said = sentence(truncated.err)
    expect(said).toMatch(/best\.safetensors: not a usable safetensors file: .*truncated or damaged/)
    expect(said).not.toMatch(/train/)
  }
  await rm(weights)
  const none = await fovea(['evaluate', '--run', out])
  expect(none.code).toBe(2)
  expect(sentence(none.err)).toMatch(
    /best\.safetensors is not there: .*Run the fovea train command of .*again/,
  )
})

test('resuming with other settings: code 2, and only what differs', async () => {
  const data = await discFolder(join(folder, 'resumed'), 5)
  const out = join(folder, 'resumed-run')
  const line = ['train', '--data', data, '--out', out, '--method', 'cartesian', ...small]
  expect((await fovea(line)).code).toBe(0)
  const { code, err } = await fovea([...line, '--lr', '0.005', '--patience', '3'])
  expect(code).toBe(2)
  expect(sentence(err)).toBe(
    `fovea: ${out} holds a run with other settings (settings.lr was 0.002, now 0.005; ` +
      'settings.patience was null, now 3); choose another --out, or the same settings to resume',
  )
})

test('a folder named twice, shares that leave nothing, an image that is not there: code 2', async () => {
  const data = await discFolder(join(folder, 'twice'), 5)
  const twice = await fovea(['train', '--data', data, join(data, '..', 'twice'), ...small])
  expect([twice.code, sentence(twice.err)]).toEqual([
    2,
    expect.stringMatching(/twice: this folder is named twice/),
  ])
  const shares = await fovea(['train', '--data', data, '--validation', '0.9', '--test', '0.9', ...small])
  expect(shares.code).toBe(2)
  expect(sentence(shares.err)).toBe(
    'fovea: --validation 0.9 and --test 0.9 leave no images for training; together they must stay under 1',
  )
  const run = join(folder, 'resumed-run')
  const nope = await fovea(['predict', 'nope.jpg', '--run', run, '--out', folder])
  expect([nope.code, sentence(nope.err)]).toEqual([
    2,
    expect.stringMatching(/nope\.jpg: no such file or folder can be read .*check the path/),
  ])
})

test('files of many that cannot be read: the others get their masks, code 2, and which they are', async () => {
  const many = join(folder, 'many')
  const data = await discFolder(join(folder, 'whole'), 11)
  await mkdir(many)
  for (let i = 0; i < 11; i++) await cp(join(data, `disc${i}_image.png`), join(many, `m${i}.png`))
  await writeFile(join(many, 'm10.png'), 'no image')
  const bytes = await readFile(join(many, 'm2.png'))
  await writeFile(join(many, 'm2.png'), bytes.subarray(0, bytes.length / 2))
  const run = join(folder, 'resumed-run')
  const predict = (path: string, name: string) =>
    fovea(['predict', path, '--run', run, '--out', join(folder, name), '--json'])
  const { code, out, err } = await predict(many, 'masks')
  expect(code).toBe(2)
  expect(err).toMatch(
    /fovea: 2 of 11 files cannot be read and have no mask; those of the others are in .*masks:\n {2}.*m2\.png: the PNG cannot be decoded .*\n {2}.*m10\.png: is no image/,
  )
  expect(JSON.parse(out).masks).toHaveLength(9)
  expect(await readdir(join(folder, 'masks'))).toHaveLength(9)
  const none = await predict(join(many, 'm10.png'), 'no-masks')
  expect([none.code, sentence(none.err)]).toEqual([
    2,
    expect.stringMatching(/^fovea: .*m10\.png: is no image/),
  ])

  const scans = join(folder, 'scans')
  await mkdir(scans)
  await writeFile(join(scans, 'a.nii'), 'no scan')
  const volume = { shape: [1, 8, 8], spacing: [1, 1, 1], data: new Float32Array(64) } as const
  const affine = [0, 1, 2, 3].map((r) => [0, 1, 2, 3].map((c) => (r === c ? 1 : 0)))
  await writeVolume(join(scans, 'b.nii'), { ...volume, affine })
  const line = ['predict', scans, '--run', run, '--out', join(folder, 'scan-masks'), '--window=-9,9']
  const some = await fovea(line)
  expect([some.code, some.out]).toEqual([2, expect.stringMatching(/b_mask\.nii\.gz: 1×8×8 voxels/)])
  expect(some.err).toMatch(/1 of 2 files cannot be read and have no mask.*\n {2}.*a\.nii: is no volume/)
})

describe('--out among images', async () => {
  const data = await discFolder(join(folder, 'guarded', 'flat'), 5)
  const patients = join(folder, 'guarded', 'patients')
  for (const name of ['a', 'b', 'c']) await discFolder(join(patients, name), 1)
  const other = await discFolder(join(folder, 'guarded-too'), 1)
  const listing = async (path: string) => (await readdir(path, { recursive: true })).sort()

  test.each([
    ['the data folder', data, data, /--out .*flat is the data folder itself: .*choose another folder/],
    ['one that holds it', data, join(folder, 'guarded'), /guarded holds the data folder .*flat: /],
    [
      'one inside it, by patient',
      patients,
      join(patients, 'run'),
      /patients\/run lies in the data folder .*patients, whose subfolders are taken for data \(layout patients\)/,
    ],
    ['other images', data, other, /guarded-too holds images \(disc0_image\.png, 2 in all\) and is no run/],
    ['other images, by patient', data, patients, /holds images \(layout patients, 3 in all\) and is no run/],
    ['a file', data, join(other, 'disc0_image.png'), /disc0_image\.png is a file; name a folder/],
  ])('%s: refused, and nothing is written', async (_, from, out, message) => {
    const before = await listing(folder)
    const { code, err } = await fovea([
      'train',
      '--data',
      from,
      '--out',
      out,
      '--method',
      'cartesian',
      ...small,
    ])
    expect(code).toBe(2)
    expect(sentence(err)).toMatch(message)
    const experiment = ['reproduce', 'table-4.1', '--data', `lesion=${from}`, '--out', out]
    if (out !== join(other, 'disc0_image.png')) expect((await fovea(experiment)).code).toBe(2)
    expect(await listing(folder)).toEqual(before)
  })

  test('a run inside a folder whose subfolders are no data, and the same command again', async () => {
    const line = ['train', '--data', data, '--out', join(data, 'runs'), '--method', 'cartesian', ...small]
    for (let i = 0; i < 2; i++) expect((await fovea(line)).code).toBe(0)
    const before = await readFile(join(data, 'disc1_mask.png'))
    const predict = (path: string, out: string) =>
      fovea(['predict', path, '--run', join(data, 'runs'), '--out', out])
    const whole = await predict(data, data)
    expect([whole.code, sentence(whole.err)]).toEqual([
      2,
      expect.stringMatching(/flat is the folder of the images: their masks would be taken for the truth/),
    ])
    const one = await predict(join(data, 'disc1_image.png'), data)
    expect([one.code, sentence(one.err)]).toEqual([
      2,
      expect.stringMatching(/disc1_mask\.png lies beside its image already and may be its truth/),
    ])
    expect(await readFile(join(data, 'disc1_mask.png'))).toEqual(before)
    await cp(join(data, 'disc1_image.png'), join(data, 'runs', 'new.png'))
    expect((await predict(join(data, 'runs', 'new.png'), join(data, 'runs'))).code).toBe(0)
  })
})

test('devices with an adapter that is not there: code 1, the list, and the names to choose from', async () => {
  const { code, out, err } = await fovea(['devices', '--adapter', 'nosuch'])
  expect(code).toBe(1)
  expect(out).toMatch(/Choose auto, software, hardware, .* or a part of one of these names: '/)
  expect(out).not.toMatch(/Install/)
  expect(sentence(err)).toMatch(/nothing here fits 'nosuch'/)
})

test('wrong usage: code 2; an adapter that is not there: code 1', async () => {
  for (const line of [
    ['train'],
    ['train', '--data', 'x', '--size', '50'],
    ['nonsense'],
    ['train', '--data', 'x', '--lr', 'fast'],
  ]) {
    const { code, out } = await fovea(line)
    expect([line, code, out]).toEqual([line, 2, ''])
  }
  const data = await discFolder(join(folder, 'adapter'), 5)
  const { code, err } = await fovea([
    'train',
    '--data',
    data,
    '--out',
    join(folder, 'a'),
    '--adapter',
    'null',
  ])
  expect(code).toBe(1)
  expect(sentence(err)).toMatch(/null backend/)
  // Nor is a run begun whose settings would bind the next command.
  await expect(readdir(join(folder, 'a'))).rejects.toThrow(/ENOENT/)
})

test('every command has help with examples', async () => {
  const { code, out } = await fovea(['--help'])
  expect(code).toBe(0)
  expect(out).toMatch(/Exit codes: 0 done; 1 an error; 2 .*130 interrupted/)
  for (const command of ['train', 'evaluate', 'predict', 'export', 'devices']) {
    const help = await fovea([command, '--help'])
    expect(help.code).toBe(0)
    expect(help.out).toMatch(new RegExp(`Examples:\\n  fovea ${command}`))
  }
})

test('devices --json parses and names the chosen adapter', async () => {
  const { code, out } = await fovea(['devices', '--json'])
  expect(code).toBe(0)
  const report = JSON.parse(out)
  expect(report.entries.filter((e: { chosen: boolean }) => e.chosen)).toHaveLength(1)
  const text = await fovea(['devices'])
  expect(text.out).toContain(`Chosen: ${report.reason}`)
})
