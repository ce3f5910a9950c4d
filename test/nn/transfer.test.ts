import { expect, test } from 'vitest'
import type { Device } from '../../src/autograd/device.ts'
import type { Module } from '../../src/nn/module.ts'
import { StackedHourglass } from '../../src/nn/networks/stacked-hourglass.ts'
import { UNet } from '../../src/nn/networks/unet.ts'
import { UNetPlusPlus } from '../../src/nn/networks/unet-plus-plus.ts'
import { safetensorsFrom, type TensorRecord } from '../../src/nn/state.ts'
import { loadPretrained } from '../../src/nn/transfer.ts'
import { testDevice } from '../device.ts'

const encoder = { blocks: [1, 1, 1, 1], features: 2 } as const

const valuesOf = async (net: Module): Promise<Record<string, readonly number[]>> => {
  const values: Record<string, readonly number[]> = {}
  for (const [name, t] of Object.entries(net.stateDict())) values[name] = Array.from(await t.data())
  return values
}

/** A ResNet's weights under torchvision's names, with a classifier and a counter. */
function torchvisionWeights(device: Device): TensorRecord {
  const net = new UNetPlusPlus(device, { inChannels: 3, encoder, seed: 5 })
  const weights: TensorRecord = {}
  for (const [name, t] of Object.entries(net.stateDict()))
    if (name.startsWith('encoder.')) weights[name.replace('encoder.', '')] = t
  weights['fc.weight'] = device.zeros([10, 16])
  weights['fc.bias'] = device.zeros([10])
  weights['bn1.num_batches_tracked'] = device.zeros([], { dtype: 'int32' })
  return weights
}

test("torchvision's ResNet fills an encoder and nothing else; its classifier is skipped", async () => {
  const device = await testDevice()
  const weights = torchvisionWeights(device)
  const net = new UNetPlusPlus(device, { inChannels: 3, encoder, seed: 6 })
  const before = await valuesOf(net)
  const report = await loadPretrained(net, weights)
  const after = await valuesOf(net)
  const inEncoder = Object.keys(before).filter((n) => n.startsWith('encoder.'))
  expect(new Set(report.matched)).toEqual(new Set(inEncoder))
  expect(report.skipped).toEqual([
    { name: 'fc.weight', why: 'UNetPlusPlus has no such weight' },
    { name: 'fc.bias', why: 'UNetPlusPlus has no such weight' },
  ])
  expect(report.kept).toEqual(Object.keys(before).filter((n) => !n.startsWith('encoder.')))
  for (const name of report.kept) expect(after[name], name).toEqual(before[name])
  for (const name of report.matched)
    expect(after[name], name).toEqual(Array.from(await weights[name.replace('encoder.', '')]!.data()))
})

test('extra input channels begin at zero: the network computes what it did without them', async () => {
  const device = await testDevice()
  const rough = new UNet(device, { inChannels: 1, features: 2, seed: 1 }).eval()
  const fine = new UNet(device, { inChannels: 3, features: 2, seed: 2 }).eval()
  const without = await loadPretrained(fine, rough.stateDict())
  expect(without.skipped).toEqual([
    {
      name: 'encoder1.enc1conv1.weight',
      why: "(2, 1, 3, 3) instead of (2, 3, 3, 3); extraChannels: 'zero' takes it and begins the extra input planes at zero",
    },
  ])
  const report = await loadPretrained(fine, rough, { extraChannels: 'zero' })
  expect(report).toMatchObject({ extended: ['encoder1.enc1conv1.weight'], skipped: [], kept: [] })
  const image = Float32Array.from({ length: 256 }, (_, i) => Math.sin(i))
  const wide = new Float32Array(768).fill(7)
  wide.set(image)
  const small = rough.forward(device.tensor(image, [1, 1, 16, 16]))
  const large = fine.forward(device.tensor(wide, [1, 3, 16, 16]))
  const [a, b] = [await small.data(), await large.data()]
  a.forEach((v, i) => {
    expect(b[i]).toBeCloseTo(v, 6)
  })
  // The copy is a copy: training the fine network leaves the rough one alone.
  fine.stateDict()['conv.bias']!.set(Float32Array.of(9))
  expect((await rough.stateDict()['conv.bias']!.data())[0]).not.toBe(9)
})

test('encoderOnly leaves the decoder; bytes of a file and DataParallel names do as well', async () => {
  const device = await testDevice()
  const from = new UNet(device, { features: 2, seed: 1 })
  const net = new UNet(device, { features: 2, seed: 2 })
  const before = await valuesOf(net)
  const renamed = Object.fromEntries(Object.entries(from.stateDict()).map(([n, t]) => [`module.${n}`, t]))
  const report = await loadPretrained(net, await safetensorsFrom(renamed), { encoderOnly: true })
  const [after, given] = [await valuesOf(net), await valuesOf(from)]
  for (const name of Object.keys(before)) {
    const taken = /^(encoder|bottleneck)/.test(name)
    expect(report.matched.includes(name), name).toBe(taken)
    expect(after[name], name).toEqual(taken ? given[name] : before[name])
  }
  expect(report.skipped.every((s) => s.why === 'it is not of the encoder')).toBe(true)
  expect(report.skipped).toContainEqual({ name: 'module.conv.bias', why: 'it is not of the encoder' })
})

test('where nothing matches, the error shows both sides, and nothing changes', async () => {
  const device = await testDevice()
  const net = new UNet(device, { features: 2 })
  const before = await valuesOf(net)
  await expect(loadPretrained(net, { 'stem.weight': device.zeros([2, 2]) })).rejects.toThrow(
    /none of 1 weights matched this UNet \(stem\.weight: UNet has no such weight\)\. It has encoder1\.enc1conv1\.weight/,
  )
  const wide = new UNet(device, { features: 4 })
  const wrongSize = { 'encoder4.enc4conv2.weight': wide.stateDict()['encoder4.enc4conv2.weight']! }
  await expect(loadPretrained(net, wrongSize)).rejects.toThrow(
    'encoder4.enc4conv2.weight: (32, 32, 3, 3) instead of (16, 16, 3, 3)',
  )
  expect(await valuesOf(net)).toEqual(before)
  const heatmaps = new StackedHourglass(device, { stacks: 1, features: 2, depth: 1, stemFeatures: 2 })
  await expect(loadPretrained(heatmaps, net.stateDict(), { encoderOnly: true })).rejects.toThrow(
    'StackedHourglass has no part called encoder',
  )
})
