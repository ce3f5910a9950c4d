import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { tempFolder } from '../data/temp.ts'
import { discFolder, fovea } from './command.ts'

const folder = await tempFolder()
const discs = await discFolder(join(folder, 'discs'), 10)
const small = ['--size', '32', '--features', '2', '--batch', '4', '--lr', '1e-2', '--epochs', '2', '--json']

interface Row {
  key: string
  thresholds?: { low: number; high: number; precision: number; recall: number }[]
}

/** Trains, evaluates again, predicts; gives the results of the first data set and the report. */
async function whole(name: string, line: readonly string[]) {
  const out = join(folder, name)
  const { code, out: text, err } = await fovea(['train', '--data', discs, '--out', out, ...small, ...line])
  expect([code, code === 0 ? '' : err]).toEqual([0, ''])
  const [data] = JSON.parse(text).datasets
  const again = await fovea(['evaluate', '--run', out, '--json'])
  expect(JSON.parse(again.out).datasets[0].methods).toEqual(data.methods)
  const predicted = await fovea(['predict', discs, '--run', out, '--out', join(out, 'masks'), '--json'])
  expect(JSON.parse(predicted.out).masks).toHaveLength(10)
  return { data, err, report: await readFile(join(out, 'report.html'), 'utf8') }
}

test.each([
  ['hourglass', ['--stacks', '3']],
  ['unet', []],
])('approach B with %s: trained, scored, predicted', async (network, more) => {
  const line = ['--method', 'centre-heatmap', '--heatmap-network', network, '--augment', 'thesis', ...more]
  const { data, err, report } = await whole(network, line)
  expect(data.methods.map((m: Row) => m.key)).toEqual(['cartesian', 'polar-truth', 'polar-a', 'polar-b'])
  expect(data.networks.map((n: { name: string }) => n.name)).toEqual(['cartesian', 'polar', 'heatmap'])
  expect(data.networks[2].bestValidationScore).toBeLessThanOrEqual(0)
  expect(err).toContain('centre score')
  expect(report).toContain('mean squared error of heatmaps')
})

test('several objects: trained on a polar image an object, fused, with its precision and recall', async () => {
  const { data, report } = await whole('several', ['--method', 'several', '--t2', '0.5'])
  expect(data.methods.map((m: Row) => m.key)).toEqual(['cartesian', 'several-truth', 'several'])
  const { thresholds } = data.methods[2] as Row
  expect(thresholds!.length).toBeGreaterThan(20)
  expect(report).toContain('precision and recall')
})

test('thresholds that cross, a size that a heatmap network cannot take: code 2 and a sentence', async () => {
  const line = ['train', '--data', discs, '--out', join(folder, 'none')]
  const crossed = await fovea([...line, '--t1', '0.5', '--t2', '0.4'])
  expect([crossed.code, crossed.err]).toEqual([2, 'fovea: --t2 0.4 is below --t1 0.5; swap them\n'])
  const size = ['--method', 'centre-heatmap', '--heatmap-network', 'unetplusplus', '--size', '48']
  const wrong = await fovea([...line, ...size])
  expect([wrong.code, wrong.err]).toEqual([2, expect.stringContaining('Res-U-Net++ wants a multiple of 32')])
})
