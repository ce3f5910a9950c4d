import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { InferenceSession } from 'onnxruntime-node'
import { expect, test } from 'vitest'
import { loadSafetensors } from '../../src/node/safetensors.ts'
import { tempFolder } from '../data/temp.ts'
import { testDevice } from '../device.ts'
import { discFolder, fovea } from './command.ts'

const folder = await tempFolder()
// Eight training images after the split: with batch 7, the last batch would have one.
const discs = await discFolder(join(folder, 'discs'), 10)
const small = ['--size', '32', '--features', '2', '--lr', '1e-2', '--epochs', '2', '--method', 'cartesian']

test.each([
  ['unetplusplus', 'Res-U-Net++', 'UNetPlusPlus'],
  ['deeplabv3plus', 'DeepLabV3+', 'DeepLabV3Plus'],
])('--network %s trains, resumes, evaluates, predicts', async (network, title, name) => {
  const out = join(folder, network)
  const line = [
    'train',
    '--data',
    discs,
    '--out',
    out,
    '--network',
    network,
    '--batch',
    '7',
    ...small,
    '--json',
  ]
  const { code, out: text, err } = await fovea(line)
  expect([code, err]).toEqual([0, expect.stringContaining(`Cartesian ${title}`)])
  expect(JSON.parse(await readFile(join(out, 'discs', 'cartesian', 'config.json'), 'utf8')).network).toBe(
    name,
  )
  expect(await readFile(join(out, 'report.html'), 'utf8')).toContain(`${title}, 2 features`)
  const again = await fovea(line)
  expect(JSON.parse(again.out).datasets[0].methods).toEqual(JSON.parse(text).datasets[0].methods)
  const evaluated = await fovea(['evaluate', '--run', out, '--json'])
  expect(JSON.parse(evaluated.out).datasets[0].methods).toEqual(JSON.parse(text).datasets[0].methods)
  const predicted = await fovea(['predict', discs, '--run', out, '--out', join(out, 'masks'), '--json'])
  expect(JSON.parse(predicted.out).masks).toHaveLength(10)
})

test('export writes ONNX and PyTorch names; --pretrained takes them up again', async () => {
  const out = join(folder, 'exported')
  expect((await fovea(['train', '--data', discs, '--out', out, ...small])).code).toBe(0)
  const model = join(out, 'model.onnx')
  const weights = join(out, 'weights.safetensors')
  for (const file of [model, weights])
    expect((await fovea(['export', '--run', out, '--out', file])).code).toBe(0)
  const session = await InferenceSession.create(model)
  expect([session.inputNames, session.outputNames]).toEqual([['input'], ['output']])
  const tensors = await loadSafetensors(await testDevice(), weights)
  expect(Object.keys(tensors)).toContain('encoder1.enc1conv1.weight')

  const next = ['train', '--data', discs, '--out', join(folder, 'next'), ...small, '--pretrained', weights]
  // A file that is not there or is none leaves no run behind that would refuse the right one.
  for (const file of [join(folder, 'none'), out])
    expect((await fovea([...next.slice(0, -1), file])).code).toBeGreaterThan(0)
  const { code, err } = await fovea(next)
  expect([code, err]).toEqual([
    0,
    expect.stringMatching(/weights\.safetensors: \d+ weights taken, 0 skipped, 0 stay/),
  ])
})

test('a size that the network cannot take, a strange file, an unknown network: code 2 and a sentence', async () => {
  const wrong = await fovea(['train', '--data', discs, '--network', 'unetplusplus', '--size', '48'])
  expect([wrong.code, wrong.err]).toEqual([
    2,
    'fovea: --size 48: Res-U-Net++ wants a multiple of 32; pass --size 64\n',
  ])
  const unknown = await fovea(['train', '--data', discs, '--network', 'vgg'])
  expect([unknown.code, unknown.err]).toEqual([
    2,
    expect.stringContaining('Allowed choices are unet, unetplusplus'),
  ])
  const run = join(folder, 'exported')
  const strange = await fovea(['export', '--run', run, '--out', 'model.pt'])
  expect([strange.code, strange.err]).toEqual([2, expect.stringContaining('ends in .onnx or .safetensors')])
  const other = await fovea(['export', '--run', run, '--network', 'polar', '--out', 'x.onnx'])
  expect([other.code, other.err]).toEqual([2, expect.stringContaining('it has cartesian')])
})
