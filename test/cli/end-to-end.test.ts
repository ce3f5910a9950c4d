import { join } from 'node:path'
import { InferenceSession, Tensor } from 'onnxruntime-node'
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

  // ONNX has no operators for the crop between its networks; they go out one by one, the fine one with the mask's channel.
  const exported = (network: string[], file: string) =>
    fovea(['export', '--run', run, ...network, '--out', join(run, file)])
  const whole = await exported([], 'net.onnx')
  expect([whole.code, whole.err]).toEqual([
    2,
    expect.stringContaining(
      '(--network end-to-end.coarse, --network end-to-end.fine), or all its weights as',
    ),
  ])
  expect((await exported([], 'net.safetensors')).code).toBe(0)
  const { code: unknown, err: why } = await exported(['--network', 'end-to-end.middle'], 'net.onnx')
  expect([unknown, why]).toEqual([2, expect.stringContaining('it has end-to-end.coarse, end-to-end.fine')])
  for (const [part, channels] of [
    ['coarse', 1],
    ['fine', 2],
  ] as const) {
    expect((await exported(['--network', `end-to-end.${part}`], `${part}.onnx`)).code).toBe(0)
    const session = await InferenceSession.create(join(run, `${part}.onnx`))
    const input = new Tensor('float32', new Float32Array(channels * 32 * 16), [1, channels, 32, 16])
    expect((await session.run({ input })).output!.dims).toEqual([1, 1, 32, 16])
  }

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
