import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { writeMask } from '../../src/node/png.ts'
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

test('a run without weights, or with those of another network: code 2', async () => {
  const data = await discFolder(join(folder, 'data'), 5)
  const out = join(folder, 'other')
  const line = ['train', '--data', data, '--out', out, '--method', 'cartesian', ...small]
  expect((await fovea(line)).code).toBe(0)
  const config = join(out, 'config.json')
  const changed = JSON.parse(await readFile(config, 'utf8'))
  changed.settings.features = 3
  await writeFile(config, JSON.stringify(changed))
  const { code, err } = await fovea(['evaluate', '--run', out])
  expect(code).toBe(2)
  expect(sentence(err)).toMatch(/the weights do not belong to this UNet/)
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
