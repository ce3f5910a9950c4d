import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { prepareSample } from '../../src/data/dataset.ts'
import { writeMask, writePng } from '../../src/node/png.ts'
import { blandAltman, pearson } from '../../src/pipelines/statistics.ts'
import { tempFolder } from '../data/temp.ts'
import { discs } from '../pipelines/discs.ts'
import { fovea } from './command.ts'

const SIDE = 32

/** Patients of four slices: a disc is the pericardium, fat is every third column (values over 0), in it and around it. */
async function patients(folder: string, count: number) {
  const samples = await Promise.all(discs(4 * count, { size: SIDE }).map((s) => s.load()))
  const fat: Record<string, number> = {}
  for (const [i, { mask }] of samples.entries()) {
    const patient = join(folder, `P${Math.floor(i / 4)}`)
    await mkdir(patient, { recursive: true })
    const pixels = Float32Array.from(mask, (m, k) => (k % 3 === 0 ? (m ? 220 : 90) : 0))
    fat[`P${Math.floor(i / 4)}/${i % 4}`] = mask.reduce((n, m, k) => n + (m && k % 3 === 0 ? 1 : 0), 0)
    await writePng(join(patient, `${i % 4}_image.png`), { data: pixels, shape: [1, SIDE, SIDE] })
    await writeMask(join(patient, `${i % 4}_mask.png`), mask, { height: SIDE, width: SIDE })
  }
  return fat
}

test('--method eat: pericardium, fat inside it by range, counts a slice; two folds hold out every patient once', async () => {
  const folder = await tempFolder()
  const data = join(folder, 'scans')
  const fat = await patients(data, 6)
  const held: number[] = []
  for (const fold of ['1/2', '2/2']) {
    const { code, out, err } = await fovea([
      'train', '--data', data, '--method', 'eat', '--depth-channel', '--fold', fold, '--validation', '0.4',
      '--size', '32', '--features', '2', '--epochs', '24', '--lr', '2e-2', '--batch', '4',
      '--out', join(folder, fold.replace('/', '-')), '--json',
    ]) // biome-ignore format: a command line
    expect(err).not.toMatch(/^fovea:/m)
    expect(code).toBe(0)
    const [pericardium, eat] = JSON.parse(out).datasets[0].methods
    expect([pericardium.key, eat.key]).toEqual(['pericardium', 'eat'])
    expect(eat.cartesian.dice.count).toBe(12)
    // As many slices a patient: the mean over patients is that over slices.
    expect(eat.byPatient.dice.count).toBe(3)
    expect(eat.byPatient.dice.mean).toBeCloseTo(eat.cartesian.dice.mean, 10)
    const { truth, measured, pearson: r, bias, limits } = eat.agreement
    held.push(...truth)
    expect(r ?? Number.NaN).toBeCloseTo(pearson(measured, truth), 10)
    expect([bias, ...limits]).toEqual([
      blandAltman(measured, truth).bias,
      ...blandAltman(measured, truth).limits,
    ])
    // What is counted lies in the range: never more than a third of the pixels and a column.
    expect(Math.max(...measured)).toBeLessThan((SIDE * SIDE) / 3 + SIDE)
  }
  expect(held.sort((a, b) => a - b)).toEqual(Object.values(fat).sort((a, b) => a - b))
  const report = await readFile(join(folder, '1-2', 'report.html'), 'utf8')
  expect(report).toMatch(/Epicardial fat, agreement/)
  expect(report).toMatch(
    /Bias −?[\d.]+, limits of agreement −?[\d.]+ to −?[\d.]+ EAT pixels a slice; Pearson/,
  )
  const table = await fovea(['evaluate', '--run', join(folder, '1-2')])
  expect(table.out).toMatch(/Epicardial fat, EAT pixels a slice/)
  expect(table.out).toMatch(/the same by patient or scan, 3 of them/)
  const wrong = await fovea(['train', '--data', data, '--fold', '3/2'])
  expect(wrong.err).toMatch(/must be k\/n, such as 1\/2/)
})

test('a range tells pixels by their stored value, ends included, and is resized as masks are', () => {
  const data = Float32Array.of(-250, -200, -100, -30, -29, 0, 50, -201)
  const image = { data, shape: [1, 2, 4] as [number, number, number], max: 1 }
  const options = { channels: 1, normalize: 'fat', range: [-200, -30] } as const
  expect([...prepareSample({ image }, options).inRange!]).toEqual([0, 1, 1, 1, 0, 0, 0, 0])
  expect([...prepareSample({ image }, { ...options, size: [1, 2] }).inRange!]).toEqual([0, 0])
  expect(prepareSample({ image }, { channels: 1, normalize: 'fat' }).inRange).toBeUndefined()
})
