import { copyFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { EXPERIMENTS } from '../../src/experiments/catalogue.ts'
import { writeResultsPage } from '../../src/experiments/page.ts'
import type { ExperimentResults } from '../../src/experiments/results.ts'
import { tempFolder } from '../data/temp.ts'

const published = new URL('../../docs/results/', import.meta.url)
const resultsOf = async (file: string) =>
  JSON.parse(await readFile(new URL(file, published), 'utf8')) as ExperimentResults

test('a figure is from the runs of its table only where they are the same runs', async () => {
  const folder = await tempFolder()
  const results = join(folder, 'results')
  await mkdir(results)
  for (const file of ['table-4.1.json', 'fig-4.11.json'])
    await copyFile(new URL(file, published), join(results, file))
  const page = join(folder, 'page.md')
  const text = async () => {
    await writeResultsPage(page, results)
    return readFile(page, 'utf8')
  }
  const same = await text()
  expect([same.includes('From the runs of table-4.1.'), same.includes('fovea reproduce fig-4.11')]).toEqual([
    true,
    false,
  ])
  const own = JSON.stringify(await resultsOf('fig-4.11.json')).replaceAll('-seed1', '-seed9')
  await writeFile(join(results, 'fig-4.11.json'), own)
  const other = await text()
  expect([other.includes('From the runs of'), other.includes('fovea reproduce fig-4.11')]).toEqual([
    false,
    true,
  ])
})

test('published figures are from the runs of their published tables', async () => {
  const files = new Set(await readdir(published))
  const keysOf = ({ rows }: ExperimentResults) => rows.flatMap(({ runs }) => runs.map(({ key }) => key))
  const drawn = EXPERIMENTS.filter(({ id, of }) => of && files.has(`${id}.json`))
  expect(drawn.map(({ id }) => id)).toContain('fig-5.10')
  for (const { id, of } of drawn) {
    const runs = new Set(keysOf(await resultsOf(`${of}.json`)))
    for (const key of keysOf(await resultsOf(`${id}.json`))) expect(runs, id).toContain(key)
  }
})
