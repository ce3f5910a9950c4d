import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parseSafetensors, type SafeArray } from '../../src/nn/safetensors.ts'
import { tempFolder } from '../data/temp.ts'
import { discFolder, fovea } from './command.ts'

const folder = await tempFolder()
const discs = await discFolder(join(folder, 'discs'), 10)
const small = ['--size', '32', '--features', '2', '--batch', '4', '--lr', '1e-2', '--epochs', '2', '--json']

interface Row {
  key: string
  thresholds?: { low: number; high: number; precision: number; recall: number }[]
}

type Weights = ReadonlyMap<string, SafeArray>

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
  // Its origins are not the Cartesian network's.
  const [a, b] = data.methods.slice(2).map((m: { originError: { mean: number } }) => m.originError.mean)
  expect(b).not.toBeCloseTo(a, 3)
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

test.each([
  ['weak-origin', ['cartesian', 'polar', 'weak-point', 'weak-box'], ['weak-point', 'weak-box']],
  ['head-origin', ['cartesian', 'polar', 'head'], ['head']],
])('%s: origins beyond the thesis, trained, scored, predicted', async (method, networks, arms) => {
  const { data } = await whole(method, ['--method', method])
  expect(data.methods.map((m: Row) => m.key)).toEqual(['cartesian', 'polar-truth', 'polar-a', ...arms])
  expect(data.networks.map((n: { name: string }) => n.name)).toEqual(networks)
  for (const row of data.methods.slice(3)) expect(row.originError.mean).toBeGreaterThan(0)
  // A head's epochs are cheap, and five for one.
  if (method === 'head-origin')
    expect(data.networks.map((n: { epochs: number }) => n.epochs)).toEqual([2, 2, 10])
})

test('learned-origin: both networks go on from those of approach A; held, the first keeps its weights', async () => {
  const { data, report } = await whole('learned', ['--method', 'learned-origin'])
  const keys = ['cartesian', 'polar-truth', 'polar-a', 'learned', 'tuned-held', 'tuned']
  expect(data.methods.map((m: Row) => m.key)).toEqual(keys)
  expect(report).toContain('begun from cartesian and polar')
  const weightsOf = async (name: string) =>
    parseSafetensors(await readFile(join(folder, 'learned', data.name, name, 'best.safetensors'))).tensors
  const [localiser, segmenter] = [await weightsOf('cartesian'), await weightsOf('polar')]
  const [held, tuned] = [await weightsOf('tuned-held'), await weightsOf('tuned')]
  /** Greatest difference of the convolutions' weights of a part from those of a network. */
  const moved = (joint: Weights, part: string, from: Weights) => {
    const names = [...from.keys()].filter((name) => name.endsWith('.weight'))
    expect(names.length).toBeGreaterThan(10)
    return Math.max(
      ...names.flatMap((name) => {
        const [a, b] = [from.get(name)!, joint.get(`${part}.${name}`)!]
        return Array.from(a.data, (v, i) => Math.abs(Number(v) - Number(b.data[i])))
      }),
    )
  }
  expect(moved(held, 'localise', localiser)).toBe(0)
  // Two epochs of a few steps at 1e-3.
  for (const [part, from] of [
    ['localise', localiser],
    ['segment', segmenter],
  ] as const) {
    expect(moved(tuned, part, from)).toBeGreaterThan(0)
    expect(moved(tuned, part, from)).toBeLessThan(0.02)
  }
})

test('deformation: trained on the mask and the roughness of its field, scored, predicted', async () => {
  const { data } = await whole('deformation', ['--method', 'deformation'])
  expect(data.methods.map((m: Row) => m.key)).toEqual(['cartesian', 'deformation'])
})

test('thresholds that cross, a size that a heatmap network cannot take: code 2 and a sentence', async () => {
  const line = ['train', '--data', discs, '--out', join(folder, 'none')]
  const crossed = await fovea([...line, '--t1', '0.5', '--t2', '0.4'])
  expect([crossed.code, crossed.err]).toEqual([2, 'fovea: --t2 0.4 is below --t1 0.5; swap them\n'])
  const size = ['--method', 'centre-heatmap', '--heatmap-network', 'unetplusplus', '--size', '48']
  const wrong = await fovea([...line, ...size])
  expect([wrong.code, wrong.err]).toEqual([2, expect.stringContaining('Res-U-Net++ wants a multiple of 32')])
})
