import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readImage } from '../../src/node/image.ts'
import { tempFolder } from '../data/temp.ts'
import { discFolder, fovea } from './command.ts'

const folder = await tempFolder()
const discs = await discFolder(join(folder, 'discs'), 10, { size: 48 })
const small = ['--size', '16', '--resolution', '32', '--features', '2', '--batch', '4', '--lr', '2e-2']
const line = ['train', '--data', discs, '--method', 'end-to-end', ...small, '--epochs', '3']

test('train, evaluate and predict end-to-end crops; the fine part begins as the coarse network', async () => {
  const run = join(folder, 'run')
  const { code, out, err } = await fovea([...line, '--out', run, '--json'])
  expect(err).toContain('epoch 3/3')
  expect(code).toBe(0)
  const results = JSON.parse(out)
  const [data] = results.datasets
  expect(data.methods.map((m: { key: string }) => m.key)).toEqual(['coarse', 'end-to-end'])
  expect(data.networks.map((n: { name: string }) => n.name)).toEqual(['coarse', 'end-to-end'])
  const again = await fovea(['evaluate', '--run', run, '--json'])
  expect(JSON.parse(again.out).datasets[0].methods).toEqual(data.methods)
  const table = await fovea(['evaluate', '--run', run, '--data', discs])
  expect(table.out).toContain('10 held-out images, at 32×32 px')

  const masks = join(folder, 'masks')
  const predicted = await fovea(['predict', join(discs, 'disc1_image.png'), '--run', run, '--out', masks])
  expect(predicted.code).toBe(0)
  expect((await readImage(join(masks, 'disc1_mask.png'))).shape).toEqual([1, 48, 48])
})

test('with a soft box; a run goes on only with the box it was begun with', async () => {
  const run = join(folder, 'soft')
  const { code, out } = await fovea([...line, '--box', 'soft', '--out', run])
  expect(code).toBe(0)
  expect(out).toContain('End-to-end crops, soft box')
  const other = await fovea([...line, '--out', run])
  expect(other.code).toBe(2)
  expect(other.err).toMatch(/holds a run with other settings/)
})
