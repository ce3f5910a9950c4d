import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { RowTest } from '../../src/experiments/results.ts'
import { tempFolder } from '../data/temp.ts'
import { discFolder, fovea } from './command.ts'

const folder = await tempFolder()
const discs = await discFolder(join(folder, 'discs'), 12)
const cells = await discFolder(join(folder, 'cells'), 10, { size: 48, instances: true })
const out = join(folder, 'out')
const small = ['--features', '2', '--epochs', '2', '--lr', '1e-2', '--out', out]
const polar = [
  'reproduce',
  'table-4.1',
  '--data',
  `lesion=${discs}`,
  '--networks',
  'unet',
  '--sizes',
  '32',
  ...small,
]

test('a table of the thesis: interrupted, continued, every seed a run, test images scored when all is trained', async () => {
  const line = [...polar, '--seeds', '1', '2']
  const stopped = await fovea(line, { stopAt: 'seed2 (2 of 2)' })
  expect(stopped.code).toBe(130)
  const runs = join(out, 'runs')
  const [first, second] = (await readdir(runs)).sort()
  expect([first, second]).toEqual([
    'lesion-centre-heatmap-unet-32px-2f-2e-seed1',
    'lesion-centre-heatmap-unet-32px-2f-2e-seed2',
  ])
  // The first run is trained, but its test images wait for the second.
  await expect(stat(join(runs, first!, 'lesion/polar/best.safetensors'))).resolves.toBeDefined()
  await expect(stat(join(runs, first!, 'result.json'))).rejects.toThrow()

  const { code, out: text, err } = await fovea([...line, '--json'])
  expect(code).toBe(0)
  expect(err).toContain('no folder for polyp was given: 4 of 16 rows are not run')
  const results = JSON.parse(text)
  expect(JSON.parse(await readFile(join(out, 'table-4.1.json'), 'utf8'))).toEqual(results)
  const rows = results.rows.filter((r: { data: string }) => r.data === 'lesion')
  expect(rows[0].runs.map((r: { seed: number }) => r.seed)).toEqual([1, 2])
  expect(rows[0].thesis.dice.value).toBe(0.8256)
  expect(rows[1].polarDice.mean).toBeGreaterThan(0)
  expect(rows[1].originError.mean).toBeLessThan(1e-3)
  // Approach B trains what A needs: one run gives all four rows.
  expect(rows.map((r: { runs: unknown[] }) => r.runs.length)).toEqual([2, 2, 2, 2])
  expect(rows[3].polarDice.mean).toBeGreaterThan(0)
  expect(rows[2].test).toMatchObject({
    against: 'lesion, U-Net, Cartesian',
    images: rows[0].images.ids.length,
  })
  const report = await readFile(join(out, 'table-4.1.html'), 'utf8')
  expect(report).toContain('0.826')
  expect(report).toContain('our DSC, polar space')
  expect(report.match(/data:image\/png/g)?.length).toBeGreaterThanOrEqual(9)
  expect(report).not.toMatch(/<script|https?:\/\//)

  const file = join(runs, first!, 'result.json')
  const before = (await stat(file)).mtimeMs
  const again = await fovea([...line, '--json'])
  expect(JSON.parse(again.out)).toEqual(results)
  expect(again.err).not.toContain('epoch')
  expect((await stat(file)).mtimeMs).toBe(before)

  // Figure 4.11 is drawn from the same runs, and of their networks shows its own.
  const figure = await fovea(['reproduce', 'fig-4.11', ...line.slice(2), '--json'])
  expect([figure.code, figure.err.includes('epoch')]).toEqual([0, false])
  const drawn = JSON.parse(figure.out)
  const own = drawn.rows.filter((r: { data: string }) => r.data === 'lesion')
  expect(own.map((r: { scores: unknown }) => r.scores)).toEqual([rows[0].scores, rows[1].scores])
  expect(drawn.curves.map((c: { title: string }) => c.title)).toEqual(['Cartesian U-Net', 'polar U-Net'])
  expect(results.curves).toHaveLength(3)

  expect(rows[0].surface).toMatchObject({ unit: 'px', boundaryIou: { mean: expect.any(Number) } })
  expect(report).toContain('table-4.1: outlines in Cartesian space')
  expect(again.out).not.toContain('null')
  // Results from before there were distances: a dash.
  const kept = await readFile(file, 'utf8')
  const old = JSON.parse(kept)
  for (const arm of Object.values(old.scored).flat() as { key: string; surface?: unknown }[])
    if (arm.key === 'cartesian') delete arm.surface
  await writeFile(file, JSON.stringify(old))
  const dashes = await fovea([...line, '--report-only'])
  await writeFile(file, kept)
  expect(dashes.out).toMatch(/outlines in Cartesian space\n.*\n.*\nlesion, U-Net, Cartesian +– +– +– +– +–\n/)

  // A run of an experiment is a run of fovea train.
  const evaluated = await fovea(['evaluate', '--run', join(runs, first!), '--json'])
  const { dice } = JSON.parse(evaluated.out).datasets[0].methods[0].cartesian
  expect(dice.mean).toBeCloseTo(rows[0].runs[0].means.dice, 4)
})

test('a folder that cannot be used, for training or for scoring, is refused before anything is trained', async () => {
  const early = join(folder, 'early')
  const line = ['reproduce', 'table-5.5', '--sizes', '32', '--features', '2', '--epochs', '1', '--out', early]
  const none = join(folder, 'none')
  const scored = await fovea([...line, '--data', `dermis=${discs}`, `dermquest=${none}`])
  const both = await fovea([...polar, '--data', `polyp=${none}`, '--seeds', '7', '--out', early])
  for (const { code, err } of [scored, both]) {
    expect(code).toBe(2)
    expect(err).toContain(`${none}: not a folder that can be read`)
    expect(err).not.toMatch(/epoch|1 of/)
  }
  const seeds = await fovea([...line, '--data', `dermis=${discs}`, '--seeds', '3', '1', '3'])
  expect(seeds.code).toBe(2)
  expect(seeds.err).toContain('--seeds 3 1 3: 3 is named twice')
  const skip = await fovea([...line, '--data', `dermis=${discs}`, '--skip', '0.6', '--subset', '0.5'])
  expect(skip.code).toBe(2)
  expect(skip.err).toContain('--skip 0.6 and --subset 0.5 are more than the whole')
  const folds = await fovea([...line, '--data', `dermis=${discs}`, '--folds', '500'])
  expect(folds.code).toBe(2)
  expect(folds.err).toMatch(/12 images or patients leave a part of a 500-fold cross-validation empty/)
  await expect(stat(join(early, 'runs'))).rejects.toThrow()
})

test('folds score every image once; crops beside the rough network; a page of what is there', async () => {
  const line = [
    'reproduce',
    'table-5.2',
    '--data',
    `cells=${cells}`,
    '--sizes',
    '32',
    '--folds',
    '2',
    ...small,
    '--json',
  ]
  const { code, out: text } = await fovea(line)
  expect(code).toBe(0)
  const [rough, crops] = JSON.parse(text).rows.filter((r: { data: string }) => r.data === 'cells')
  expect(rough.images.ids).toHaveLength(10)
  expect(new Set(crops.images.ids).size).toBe(10)
  expect(crops.runs.map((r: { fold: number }) => r.fold)).toEqual([1, 2])

  const page = join(folder, 'results.md')
  expect((await fovea(['reproduce', '--page', page, '--results', out])).code).toBe(0)
  const markdown = await readFile(page, 'utf8')
  expect(markdown).toContain('## table-5.2: Segment-then-segment by input size')
  expect(markdown).toContain('- cells: DSB 2018 stage 1 in the thesis, here the folder cells; 4 training')
  expect(markdown).toContain(
    '[table-4.1](#table-41-cartesian-and-polar-networks-by-where-the-origin-comes-from)',
  )
  expect(markdown).toContain('- Not run: no folder was given for kvasir (2 rows), aorta (2 rows).')
  expect(markdown).toContain('- table-6.1: Pericardium and EAT with the depth of the slice')
})

test('out of sample: trained on one set, scored on all of another, which may be named later', async () => {
  const other = await discFolder(join(folder, 'other'), 7, { size: 48 })
  const line = ['reproduce', 'table-5.5', '--sizes', '32', '--folds', '2', ...small, '--json', '--data']
  const own = await fovea([...line, `dermis=${discs}`])
  expect(own.code).toBe(0)
  expect(own.err).toContain('coarse U-Net, trained as long: epoch 2/2')
  expect(own.err).toContain('no folder for dermquest was given: 3 of 6 rows are not run')
  const rowsOf = (text: string) => JSON.parse(text).rows
  const missing = expect.objectContaining({ runs: [], missing: 'no folder for dermquest was given' })
  expect(rowsOf(own.out).slice(3)).toEqual([missing, missing, missing])

  const both = await fovea([...line, `dermis=${discs}`, `dermquest=${other}`, '--note', 'discs for moles'])
  expect(both.code).toBe(0)
  const [inside, , insideCrops, outside, longer, outsideCrops] = rowsOf(both.out)
  // Every fold's networks score all seven; no image of the other set is trained on, none of the own scored again.
  for (const row of [outside, longer, outsideCrops]) {
    expect(row.on).toBe('dermquest')
    expect(row.images.ids).toEqual(['disc0', 'disc1', 'disc2', 'disc3', 'disc4', 'disc5', 'disc6'])
    expect(row.runs.map((r: { key: string }) => r.key)).toEqual(
      inside.runs.map((r: { key: string }) => r.key),
    )
  }
  expect(rowsOf(both.out).slice(0, 3)).toEqual(rowsOf(own.out).slice(0, 3))
  // The pair goes on from the U-Net: it is held against that, and against one that goes on alone.
  const against = ({ test, furtherTests = [] }: { test: RowTest; furtherTests?: RowTest[] }) =>
    [test, ...furtherTests].map((t) => t.against)
  expect([longer, outsideCrops, insideCrops].map(against)).toEqual([
    [outside.label],
    [outside.label, longer.label],
    [inside.label, 'DermIS, U-Net, trained as long'],
  ])
  expect(both.err).not.toContain('epoch')
  const { data, note } = JSON.parse(both.out)
  expect(data).toMatchObject([
    { key: 'dermis', folder: 'discs', images: { test: 6 } },
    { key: 'dermquest', folder: 'other', scored: 7 },
  ])
  expect(note).toBe('discs for moles')

  // The same numbers as those of the run, evaluated on that folder.
  const run = join(out, 'runs', outside.runs[0].key)
  const evaluated = await fovea(['evaluate', '--run', run, '--data', other, '--json'])
  const { dice } = JSON.parse(evaluated.out).datasets[0].methods[0].cartesian
  expect(dice.count).toBe(7)
  expect(dice.mean).toBeCloseTo(outside.runs[0].means.dice, 4)
  const reported = await fovea([...line, `dermis=${discs}`, `dermquest=${other}`, '--report-only'])
  expect(rowsOf(reported.out)).toEqual(rowsOf(both.out))
})

test('table 5.4: the time of an image with crops and without, where its networks and the rest of it go', async () => {
  const line = ['reproduce', 'table-5.4', '--features', '2', '--out', out, '--json']
  const { code, out: text } = await fovea([...line, '--data', `cells=${cells}`])
  expect(code).toBe(0)
  const { rows, data } = JSON.parse(text)
  const own = rows.filter((r: { data: string }) => r.data === 'cells')
  expect(own.map((r: { size: number; thesisMs: number }) => [r.size, r.thesisMs])).toEqual([
    [64, 24],
    [64, 122],
    [128, 24],
  ])
  const [uniform, crops] = own.map((r: { time: unknown }) => r.time)
  expect(uniform).toMatchObject({ images: 10, objects: 0 })
  expect(crops.objects).toBeGreaterThanOrEqual(1)
  for (const { ms, networksMs } of [uniform, crops]) {
    expect(networksMs).toBeGreaterThan(0)
    expect(ms.mean).toBeGreaterThan(0)
  }
  expect(data[0]).toMatchObject({ key: 'cells', folder: 'cells', scored: 10 })
  const report = await readFile(join(out, 'table-5.4.html'), 'utf8')
  expect(report).toContain('networks alone, ms')
})

test('figure 4.4: polar coordinates about the centre take fewer units than Cartesian ones', async () => {
  const { code, out: text } = await fovea(['reproduce', 'fig-4.4', '--seeds', '1', '--out', out, '--json'])
  expect(code).toBe(0)
  const { rows } = JSON.parse(text)
  const dsc = (label: string): number =>
    rows.find((r: { label: string }) => r.label === `perceptron of 4 units a layer, ${label}`).scores.dice
      .mean
  expect(dsc('polar, origin 0 radii from the centre')).toBeGreaterThan(0.98)
  expect(dsc('polar, origin 0 radii from the centre')).toBeGreaterThan(dsc('Cartesian'))
  const report = await readFile(join(out, 'fig-4.4.html'), 'utf8')
  expect(report.match(/data:image\/png/g)).toHaveLength(18)

  const stopped = await fovea(['reproduce', 'fig-4.4', '--out', out], { stopAt: 'adapter' })
  expect(stopped.code).toBe(130)
  expect(stopped.err).toContain('stopped; the same command begins anew')
})

test('--list names the experiments; wrong use is a sentence', async () => {
  const { out: list } = await fovea(['reproduce', '--list'])
  for (const id of [
    'table-4.1',
    'fig-4.13',
    'table-4.3',
    'table-4.4',
    'table-5.2',
    'table-5.5',
    'table-6.1',
    'fig-4.4',
    'table-5.4',
  ])
    expect(list).toContain(id)
  const errors = async (...args: string[]) => {
    const { code, err } = await fovea(['reproduce', ...args])
    expect(code).toBe(2)
    return err
  }
  expect(await errors('table-9.9')).toContain('table-9.9: no such experiment; there are fig-4.4, table-4.1')
  expect(await errors('table-4.1', '--data', `moles=${discs}`)).toContain(
    'wants NAME=FOLDER, with a name of polyp, lesion',
  )
  expect(await errors('table-4.3')).toContain('pass --data polyp=FOLDER (CVC-ClinicDB)')
  expect(await errors('table-5.4')).toContain('pass --data cells=FOLDER (DSB 2018 stage 1)')
  expect(await errors(...polar.slice(1), '--seeds', '9', '--report-only')).toContain(
    'no run of this experiment is done',
  )
  const broken = join(folder, 'broken')
  await discFolder(broken, 1)
  await writeFile(join(broken, 'x.json'), '{}')
  expect(await errors('--page', join(folder, 'x.md'), '--results', broken)).toContain(
    'holds no results of an experiment',
  )
})
