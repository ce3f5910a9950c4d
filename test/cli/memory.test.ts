import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { tempFolder } from '../data/temp.ts'
import { discFolder, fovea } from './command.ts'

const folder = await tempFolder()
const discs = await discFolder(join(folder, 'discs'), 10)
const line = [
  'train',
  '--data',
  discs,
  '--method',
  'cartesian',
  '--size',
  '32',
  '--features',
  '2',
  '--epochs',
  '2',
]
const best = (run: string) => readFile(join(folder, run, 'discs', 'cartesian', 'best.safetensors'))

test('train says what it takes on the GPU; with activation checkpointing it takes less for the same weights', async () => {
  const runs: number[] = []
  for (const more of [[], ['--checkpoint-activations']]) {
    const out = join(folder, `run${more.length}`)
    const { code, err, out: json } = await fovea([...line, ...more, '--out', out, '--json'])
    expect(code).toBe(0)
    expect(err).toMatch(/discs, .*: takes \d+\.\d [KM]B on the GPU, \d+\.\d [KM]B of it for intermediates/)
    const [network] = JSON.parse(json).datasets[0].networks
    runs.push(network.gpuBytes)
    expect(network.waitSeconds).toBeGreaterThanOrEqual(0)
    expect(await readFile(join(out, 'report.html'), 'utf8')).toMatch(/GPU memory.*discs, .*: \d+\.\d [KM]B/s)
  }
  expect(runs[1]).toBeLessThan(runs[0]!)
  expect(Buffer.compare(await best('run0'), await best('run1'))).toBe(0)
})

test('a run that does not fit says which batch does, and that batch trains', async () => {
  const { code, err } = await fovea([...line, '--batch', '8', '--memory', '2MB', '--out', join(folder, 'a')])
  expect(code).toBe(1)
  const advice =
    /fovea: train: a batch of 8 at 32×32 needs \d\.\d MB, the limit is 2.0 MB; a batch of (\d) fits/.exec(err)
  expect(advice, err).not.toBeNull()
  const fits = await fovea([...line, '--batch', advice![1]!, '--memory', '2MB', '--out', join(folder, 'b')])
  expect(fits.code, fits.err).toBe(0)
  const bad = await fovea([...line, '--memory', 'lots', '--out', join(folder, 'c')])
  expect(bad.code).toBe(2)
  expect(bad.err).toMatch(/It must be a size such as 8GB or 512MB/)
})
