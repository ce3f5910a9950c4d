import { describe, expect, test } from 'vitest'
import type { Device } from '../src/autograd/device.ts'
import * as ops from '../src/autograd/ops/index.ts'
import type { Tensor } from '../src/autograd/tensor.ts'
import { FoveaError } from '../src/gpu/errors.ts'
import { DeepLabV3Plus } from '../src/nn/networks/deeplab-v3-plus.ts'
import { StackedHourglass } from '../src/nn/networks/stacked-hourglass.ts'
import { UNet } from '../src/nn/networks/unet.ts'
import { UNetPlusPlus } from '../src/nn/networks/unet-plus-plus.ts'
import { Adam, AdamW } from '../src/nn/optim/adam.ts'
import { GradScaler } from '../src/nn/optim/grad-scaler.ts'
import { ReduceLROnPlateau } from '../src/nn/optim/schedulers.ts'
import { SGD } from '../src/nn/optim/sgd.ts'
import { cartesianTask } from '../src/pipelines/tasks.ts'
import { train } from '../src/pipelines/training.ts'
import { openDevice, testDevice } from './device.ts'

/** Calls from plain JavaScript: what a type checker would have refused is refused by a sentence, never computed. */

// biome-ignore lint/suspicious/noExplicitAny: the tests pass what the types forbid
type Untyped = any

const device: Device = await testDevice()
const untyped = device as Untyped
const image = (...shape: number[]): Tensor => device.full(shape, 0.5)

async function refusal(call: () => unknown): Promise<string> {
  try {
    await call()
  } catch (error) {
    expect(error).toBeInstanceOf(FoveaError)
    return (error as Error).message
  }
  throw new Error('it was not refused')
}

/** Each op that takes options, called as it should be. */
const withOptions: Readonly<Record<string, readonly [inputs: () => readonly unknown[], options: object]>> = {
  sum: [() => [image(2, 3)], { axes: [1] }],
  mean: [() => [image(2, 3)], { axes: [1] }],
  max: [() => [image(2, 3)], { axes: [1] }],
  min: [() => [image(2, 3)], { axes: [1] }],
  argmax: [() => [image(2, 3)], { axis: 1 }],
  argmin: [() => [image(2, 3)], { axis: 1 }],
  softmax: [() => [image(2, 3)], { axis: 1 }],
  clamp: [() => [image(2)], { min: 0 }],
  dropout: [() => [image(2)], { p: 0.1 }],
  concat: [() => [[image(2), image(2)]], { axis: 0 }],
  stack: [() => [[image(2), image(2)]], { axis: 0 }],
  add: [() => [image(2), image(2)], {}],
  pad: [() => [image(2)], { pads: [[1, 1]] }],
  permute: [() => [image(2, 3)], { axes: [1, 0] }],
  reshape: [() => [image(2, 3)], { shape: [6] }],
  slice: [() => [image(2, 3)], { starts: [0, 0], ends: [1, 1] }],
  diceLoss: [() => [image(2), image(2)], { smooth: 1 }],
  mseLoss: [() => [image(2), image(2)], { reduction: 'sum' }],
  bceWithLogits: [() => [image(2), image(2)], { reduction: 'sum' }],
  conv2d: [() => [image(1, 1, 8, 8), image(1, 1, 3, 3)], { padding: 1 }],
  convTranspose2d: [() => [image(1, 1, 8, 8), image(1, 1, 2, 2)], { stride: 2 }],
  maxPool2d: [() => [image(1, 1, 8, 8)], { kernelSize: 2 }],
  avgPool2d: [() => [image(1, 1, 8, 8)], { kernelSize: 2 }],
  adaptiveAvgPool2d: [() => [image(1, 1, 8, 8)], { outputSize: 2 }],
  interpolate: [() => [image(1, 1, 8, 8)], { size: 4 }],
  batchNorm: [() => [image(2, 1, 8, 8)], { training: true }],
  polarWarp: [() => [image(1, 1, 8, 8), image(1, 2)], { angles: 8 }],
  inversePolarWarp: [() => [image(1, 1, 8, 8), image(1, 2)], { height: 8, width: 8 }],
  gridSample: [() => [image(1, 1, 8, 8), image(1, 4, 4, 2)], { alignCorners: true }],
  gridWarp: [() => [image(1, 1, 8, 8), image(1, 2, 2, 2)], { mode: 'nearest' }],
  affineWarp: [() => [image(1, 1, 8, 8), image(1, 2, 3)], { mode: 'nearest' }],
  cropResize: [() => [image(1, 1, 8, 8), image(1, 4)], { size: 4 }],
  pasteBoxes: [() => [image(1, 1, 4, 4), image(1, 4)], { height: 8, width: 8 }],
  squareBoxes: [() => [image(1, 4)], { height: 8, width: 8 }],
  boundingBoxes: [() => [image(1, 1, 8, 8)], { padding: 1 }],
  gaussianHeatmap: [() => [image(1, 2)], { size: 8, sigma: 1 }],
  connectedComponents: [() => [image(1, 1, 8, 8)], { connectivity: 8 }],
  largestComponent: [() => [image(1, 1, 8, 8)], { connectivity: 8 }],
  componentContaining: [() => [image(1, 1, 8, 8), image(1, 2)], { connectivity: 8 }],
  hysteresisThreshold: [() => [image(1, 1, 8, 8)], { low: 0.1, high: 0.2 }],
}

describe.each(Object.entries(withOptions))('%s', (name, [inputs, options]) => {
  const op = (ops as Untyped)[name]
  test('takes its options, and names one that it does not know', async () => {
    expect(() => op(...inputs(), options)).not.toThrow()
    expect(await refusal(() => op(...inputs(), { ...options, colour: 1 }))).toMatch(
      new RegExp(`^${name}: there is no option 'colour'`),
    )
  })
  test('names an input that is no tensor', async () => {
    const given = inputs()
    if (Array.isArray(given[0])) return
    for (const i of given.keys()) {
      const call = () => op(...given.with(i, [1, 2]), options)
      expect(await refusal(call)).toMatch(/must be a tensor, got \[1, 2\]|needs two operands/)
    }
  })
})

test.each([
  ['an axis where axes are meant', () => (ops as Untyped).sum(image(2, 3), { axis: 1 }), /option 'axis'/],
  [
    'a reduction of another name',
    () => (ops as Untyped).mseLoss(image(2), image(2), { reduction: 'none' }),
    /'mean' or 'sum', got 'none'/,
  ],
  [
    'NaN as a stride',
    () => ops.conv2d(image(1, 1, 8, 8), image(1, 1, 3, 3), { stride: Number.NaN }),
    /stride .*got NaN/,
  ],
  [
    'NaN in a size',
    () => ops.interpolate(image(1, 1, 8, 8), { size: [4, Number.NaN] }),
    /size .*got \[4, NaN\]/,
  ],
  [
    'eps that is NaN',
    () => ops.batchNorm(image(2, 1, 8, 8), { training: true, eps: Number.NaN }),
    /eps .*got NaN/,
  ],
  ['eps below 0', () => ops.batchNorm(image(2, 1, 8, 8), { training: true, eps: -1 }), /eps .*got -1/],
  [
    'momentum below 0',
    () => ops.batchNorm(image(2, 1, 8, 8), { training: true, momentum: -2 }),
    /momentum .*got -2/,
  ],
  [
    'a smoothing that is NaN',
    () => ops.diceLoss(image(2), image(2), { smooth: Number.NaN }),
    /smooth .*got NaN/,
  ],
  ['text for data', () => untyped.tensor('abc'), /data must be numbers, got 'abc'/],
  ['null for data', () => untyped.tensor(null), /data must be numbers, got \[null\]|got null/],
  ['a gap in data', () => untyped.tensor([1, undefined], [2]), /data must be numbers, got \[1, undefined\]/],
  ['a number for a shape', () => untyped.tensor([1, 2], 2), /a shape is an array .*got 2/],
  ['no shape', () => untyped.zeros(), /a shape is an array .*got undefined/],
  [
    'a type that is none',
    () => untyped.zeros([2], { dtype: 'float64' }),
    /dtype is one of float32.*got 'float64'/,
  ],
  ['text for a value', () => untyped.full([2], 'x'), /must be numbers, got/],
  ['a wrong memory limit', () => openDevice({ memoryLimit: Number.NaN }), /memoryLimit .*got NaN/],
  [
    'a memory limit with a unit',
    () => openDevice({ memoryLimit: '1GB' as Untyped }),
    /memoryLimit .*got '1GB'/,
  ],
  ['a misspelt option of a device', () => openDevice({ tuen: 'cached' } as Untyped), /no option 'tuen'/],
  [
    'a misspelt option of a network',
    () => new UNet(device, { inchannels: 3 } as Untyped),
    /UNet: there is no option 'inchannels'/,
  ],
  ['… of U-Net++', () => new UNetPlusPlus(device, { feature: 3 } as Untyped), /no option 'feature'/],
  ['… of DeepLabV3+', () => new DeepLabV3Plus(device, { feature: 3 } as Untyped), /no option 'feature'/],
  [
    '… of the hourglass',
    () => new StackedHourglass(device, { feature: 3 } as Untyped),
    /no option 'feature'/,
  ],
])('%s', async (_, call, message) => {
  expect(await refusal(call)).toMatch(message)
})

test('train: an option that there is not, and one that is missing', async () => {
  const net = new UNet(device, { features: 2 })
  const given = { task: cartesianTask(), train: [], validation: [], epochs: 1 }
  const call = (options: Untyped) => refusal(() => train(net, device, options))
  expect(await call({ ...given, batch: 4 })).toMatch(
    /^train: there is no option 'batch'; it knows task, train/,
  )
  const { epochs: _, ...endless } = given
  expect(await call(endless)).toMatch(/^train: option 'epochs' is missing/)
  expect(await call(given)).toMatch(/there are no training images/)
  net.dispose()
})

describe('optimisers', () => {
  const leaf = () => [device.full([2], 1, { requiresGrad: true })]
  test.each([
    ['a rate below 0', () => new Adam(leaf(), { lr: -1 }), /Adam: lr .*got -1/],
    ['a rate that is NaN', () => new AdamW(leaf(), { lr: Number.NaN }), /AdamW: lr .*got NaN/],
    ['betas of 1', () => new Adam(leaf(), { betas: [0.9, 1] }), /betas .*got \[0\.9, 1\]/],
    ['one beta', () => new Adam(leaf(), { betas: [0.9] as Untyped }), /betas .*got \[0\.9\]/],
    ['eps that is NaN', () => new Adam(leaf(), { eps: Number.NaN }), /eps .*got NaN/],
    ['a decay below 0', () => new Adam(leaf(), { weightDecay: -1 }), /weightDecay .*got -1/],
    ['a misspelt option', () => new Adam(leaf(), { learningRate: 1 } as Untyped), /no option 'learningRate'/],
    ['a momentum that is NaN', () => new SGD(leaf(), { momentum: Number.NaN }), /SGD: momentum .*got NaN/],
    ['a misspelt option of SGD', () => new SGD(leaf(), { nestrov: true } as Untyped), /no option 'nestrov'/],
    ['… of a scaler', () => new GradScaler(device, { initScale: 1 } as Untyped), /no option 'initScale'/],
    ['a scale that is NaN', () => new GradScaler(device, { scale: Number.NaN }), /scale,NaN/],
  ])('%s', async (_, call, message) => {
    expect(await refusal(call)).toMatch(message)
  })

  test('a rate that a schedule gives is held to the same, and the one before stays', async () => {
    const optimizer = new Adam(leaf(), { lr: 0.5 })
    expect(await refusal(() => Object.assign(optimizer, { lr: Number.NaN }))).toMatch('Adam: lr')
    expect(optimizer.lr).toBe(0.5)
    new ReduceLROnPlateau(optimizer, { patience: 0 }).step(Number.NaN)
    expect(optimizer.lr).toBe(0.05)
    optimizer.dispose()
  })
})

describe('weights', () => {
  const net = new UNet(device, { features: 2 })
  test.each([
    ['nothing', null, /UNet: pass tensors by name, got null/],
    ['a promise of them', Promise.resolve({}), /UNet: pass tensors by name, got \[object Promise\]/],
  ])('%s', async (_, given, message) => {
    expect(await refusal(() => net.loadStateDict(given as Untyped))).toMatch(message)
  })

  test('whole numbers, freed tensors and those of another device are refused before anything is copied', async () => {
    const state = net.stateDict()
    const [first, second] = Object.keys(state) as [string, string]
    const before = await state[first]!.data()
    const { shape, size } = state[second]!
    const elsewhere = await openDevice()
    const freed = device.full(shape, 1)
    freed.dispose()
    const odd: [Tensor, RegExp][] = [
      [device.tensor(new Int32Array(size), shape), /int32 instead of float32/],
      [elsewhere.full(shape, 1), /on another device/],
      [freed, /was freed/],
    ]
    for (const [t, message] of odd) {
      const given = { ...state, [first]: device.full(state[first]!.shape, 7), [second]: t }
      expect(await refusal(() => net.loadStateDict(given))).toMatch(message)
      expect(await state[first]!.data()).toEqual(before)
    }
    elsewhere.destroy()
  })
})

test('a compiled step refuses a tensor of another device', async () => {
  const elsewhere = await openDevice()
  const step = device.compile((x: Tensor) => ops.relu(x))
  expect(await refusal(() => step(elsewhere.full([1], 1)))).toMatch(
    /Tensor\(1\) float32 lives on another device/,
  )
  expect(await step(device.full([1], 1)).item()).toBe(1)
  step.dispose()
  elsewhere.destroy()
})
