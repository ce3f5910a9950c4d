import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Sample } from '../../src/data/dataset.ts'
import { openDataset } from '../../src/node/folders.ts'
import { readImage } from '../../src/node/image.ts'
import { writeMask, writePng } from '../../src/node/png.ts'
import type { Evaluated } from '../../src/pipelines/evaluate.ts'
import { scoreWhole } from '../../src/pipelines/score-masks.ts'
import { casesOf } from '../../src/runs/report.ts'
import { tempFolder } from '../data/temp.ts'

const SIDE = 16
const plane = (f: (x: number, y: number) => boolean): Float32Array =>
  Float32Array.from({ length: SIDE * SIDE }, (_, i) => (f(i % SIDE, Math.floor(i / SIDE)) ? 1 : 0))
const none = plane(() => false)
const square = plane((x, y) => x > 4 && x < 11 && y > 4 && y < 11)
const half = plane((x, y) => x > 4 && x < 11 && y > 4 && y < 8)

const sampleOf = (id: string, mask: Float32Array): Sample => ({
  ...{ id, group: id, imagePath: `${id}.nii`, originalSize: [SIDE, SIDE] as const },
  load: async () => ({ image: new Float32Array(SIDE * SIDE), mask, channels: 1, height: SIDE, width: SIDE }),
})
const evaluatedOf = (id: string, prediction: Float32Array, truth: Float32Array): Evaluated => ({
  ...{ id, group: id, prediction, height: SIDE, width: SIDE },
  scores: scoreWhole(prediction, truth, [SIDE, SIDE]),
})

/** Pixels of the truth's green outline. */
async function greens(png: Uint8Array): Promise<number> {
  const { data, shape } = await readImage(png)
  const area = shape[1] * shape[2]
  let count = 0
  for (let i = 0; i < area; i++)
    if (data[i]! < 60 && data[area + i]! > 200 && data[2 * area + i]! < 120) count++
  return count
}

test('pictures of samples without image files: the best has a mask, and the truth is what was scored', async () => {
  const test = [sampleOf('empty', none), sampleOf('good', square), sampleOf('bad', square)]
  const plan = { name: 'slices', test } as unknown as Parameters<typeof casesOf>[0]['plan']
  const images = [
    evaluatedOf('empty', none, none),
    evaluatedOf('good', square, square),
    evaluatedOf('bad', none, square),
  ]
  const cases = (list: typeof images) =>
    casesOf({ plan, networks: [], scored: [] }, { key: 'a', label: 'A', images: list })
  const { figures } = await cases(images)
  expect(figures.map((f) => f.caption)).toEqual([
    'best: good, DSC 1.000',
    'median: good, DSC 1.000',
    'worst: bad, DSC 0.000',
  ])
  const whole = await greens(figures[2]!.png)
  const part = await cases([{ ...images[2]!, truth: half }])
  expect(whole).toBeGreaterThan(0)
  expect(await greens(part.figures[2]!.png)).toBeLessThan(whole)
  expect(await greens((await cases([{ ...images[2]!, truth: none }])).figures[0]!.png)).toBe(0)
})

test('a truth in several files, one an object, is drawn whole', async () => {
  const folder = join(await tempFolder(), 'stage1_train')
  const size = { height: SIDE, width: SIDE }
  const left = plane((x, y) => x > 1 && x < 6 && y > 4 && y < 11)
  const right = plane((x, y) => x > 9 && x < 14 && y > 4 && y < 11)
  for (const part of ['images', 'masks']) await mkdir(join(folder, 'a', part), { recursive: true })
  const data = new Float32Array(SIDE * SIDE)
  await writePng(join(folder, 'a/images/a.png'), { data, shape: [1, SIDE, SIDE] })
  await writeMask(join(folder, 'a/masks/1.png'), left, size)
  const plan = { name: 'cells', test: [] as readonly Sample[] }
  const draw = async () => {
    plan.test = (await openDataset(folder)).samples
    const images = [evaluatedOf('a', none, left)]
    type Result = Parameters<typeof casesOf>[0]
    const result = { plan, networks: [], scored: [] } as unknown as Result
    const { figures } = await casesOf(result, { key: 'a', label: 'A', images })
    return greens(figures[0]!.png)
  }
  const one = await draw()
  await writeMask(join(folder, 'a/masks/2.png'), right, size)
  expect(one).toBeGreaterThan(0)
  expect(await draw()).toBe(2 * one)
})
