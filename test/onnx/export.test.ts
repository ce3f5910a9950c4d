import { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node'
import { describe, expect, test } from 'vitest'
import type { Device } from '../../src/autograd/device.ts'
import * as ops from '../../src/autograd/ops/index.ts'
import { Prng } from '../../src/autograd/random.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { BatchNorm2d, Conv2d, ConvTranspose2d } from '../../src/nn/layers.ts'
import { Module } from '../../src/nn/module.ts'
import { DeepLabV3Plus } from '../../src/nn/networks/deeplab-v3-plus.ts'
import { StackedHourglass } from '../../src/nn/networks/stacked-hourglass.ts'
import { UNet } from '../../src/nn/networks/unet.ts'
import { UNetPlusPlus } from '../../src/nn/networks/unet-plus-plus.ts'
import { exportOnnx, type OnnxOptions } from '../../src/onnx/export.ts'
import { testDevice } from '../device.ts'
import { expectClose, referenceArrays, referenceTable } from '../reference.ts'

type Size = readonly [number, number, number, number]

/** A fixed input without symmetry. */
const wave = ([n, c, h, w]: Size): Float32Array =>
  Float32Array.from({ length: n * c * h * w }, (_, i) => Math.sin(0.7 * i) + Math.cos(0.031 * i))

/** Runs the model in ONNX Runtime and the network here, at each size, and holds the outputs together. */
async function expectSame(
  device: Device,
  net: Module,
  options: OnnxOptions,
  sizes: readonly Size[],
): Promise<InferenceSession> {
  const session = await InferenceSession.create(await exportOnnx(net, options), { logSeverityLevel: 3 })
  for (const size of sizes) {
    const x = wave(size)
    const theirs = await session.run({ input: new OrtTensor('float32', x, size) })
    const ours = device.scope(() => {
      const y = net.evaluating(() => device.noGrad(() => net.forward(device.tensor(x, size))))
      return Array.isArray(y) ? (y as Tensor[]) : [y as Tensor]
    })
    expect(session.outputNames).toHaveLength(ours.length)
    for (const [i, y] of ours.entries()) {
      const want = await y.data()
      const got = theirs[session.outputNames[i]!]!
      expect(got.dims, `output ${i} of ${size}`).toEqual(y.shape)
      const scale = Array.from(want).reduce((m, v) => Math.max(m, Math.abs(v)), 0)
      expectClose(got.data as Float32Array, want, 1e-4, 1e-4 * Math.max(1, scale), `output ${i} of ${size}`)
    }
  }
  return session
}

/** Weights and running statistics of PyTorch's: off 0 and 1, so that each counts. */
function withReference<M extends Module>(device: Device, net: M, stem: string): M {
  const arrays = [...referenceArrays(stem)]
  net.loadStateDict(Object.fromEntries(arrays.map(([n, a]) => [n, device.tensor(a.data, a.shape)])))
  return net
}

const optionsOf = (stem: string): object => referenceTable<{ options: object }>(stem).options

const NETWORKS = {
  UNet: (device: Device) => {
    const { inChannels, features } = referenceTable<{ inChannels: number; features: number }>('unet')
    return withReference(device, new UNet(device, { inChannels, features }), 'unet')
  },
  UNetPlusPlus: (device: Device) =>
    withReference(device, new UNetPlusPlus(device, optionsOf('unetplusplus')), 'unetplusplus'),
  DeepLabV3Plus: (device: Device) =>
    withReference(
      device,
      new DeepLabV3Plus(device, { ...optionsOf('deeplabv3plus'), dropout: 0.5 }),
      'deeplabv3plus',
    ),
  StackedHourglass: (device: Device) =>
    withReference(device, new StackedHourglass(device, optionsOf('hourglass')), 'hourglass'),
}

describe.each([
  ['UNet', 2, 16, 'output'],
  ['UNetPlusPlus', 2, 32, 'output'],
  ['DeepLabV3Plus', 3, 16, 'output'],
  ['StackedHourglass', 1, 16, 'output_0 output_1'],
] as const)('%s in ONNX Runtime', (name, channels, step, outputs) => {
  test.each([true, false])(
    'gives the same outputs at any size; batch norms folded: %s',
    async (foldBatchNorm) => {
      const device = await testDevice()
      const net = NETWORKS[name](device)
      const session = await expectSame(device, net, { channels, height: step, width: step, foldBatchNorm }, [
        [1, channels, step, step],
        [3, channels, 2 * step, 3 * step],
        [2, channels, 3 * step, step],
      ])
      expect(session.outputNames.join(' ')).toBe(outputs)
      expect(session.inputMetadata[0]).toMatchObject({ shape: ['batch', channels, 'height', 'width'] })
      expect(net.training).toBe(true)
      net.dispose()
    },
  )
})

test('folding leaves batch norms only where no convolution is before them', async () => {
  const device = await testDevice()
  const count = async (net: Module, channels: number, foldBatchNorm: boolean) => {
    const bytes = await exportOnnx(net, { channels, height: 32, width: 32, foldBatchNorm })
    return new TextDecoder('latin1').decode(bytes).split('BatchNormalization').length - 1
  }
  const unet = NETWORKS.UNet(device)
  expect([await count(unet, 2, false), await count(unet, 2, true)]).toEqual([18, 0])
  const hourglass = NETWORKS.StackedHourglass(device)
  const norms = hourglass.namedBuffers().filter(([n]) => n.endsWith('running_mean')).length
  const behindSums = hourglass.namedBuffers().filter(([n]) => n.endsWith('bn1.running_mean')).length
  expect(await count(hourglass, 1, false)).toBe(norms)
  // The first block follows the stem's ReLU, the others a pooling or a sum: none of their bn1 can be folded.
  expect(await count(hourglass, 1, true)).toBe(behindSums)
})

/** A module whose forward pass is given. */
class Network extends Module {
  constructor(
    device: Device,
    private readonly pass: (x: Tensor, weight: Tensor) => Tensor | Tensor[],
    parts: Readonly<Record<string, Module>> = {},
  ) {
    super()
    for (const [name, part] of Object.entries(parts)) this.part(name, part)
    this.addParameter('weight', device.parameter(wave([1, 1, 2, 2]), [2, 2, 1, 1]))
    this.pack()
  }
  forward(x: Tensor): Tensor | Tensor[] {
    return this.pass(x, this.stateDict().weight!)
  }
}

test.each<[string, (x: Tensor, weight: Tensor) => Tensor | Tensor[]]>([
  [
    'elementwise',
    (x) => [ops.neg(ops.abs(x)), ops.exp(x), ops.tanh(x), ops.clamp(x, { min: -0.5 }), ops.square(x)],
  ],
  ['roots and logarithms', (x) => [ops.log(ops.add(ops.square(x), 1)), ops.sqrt(ops.abs(x)), ops.sigmoid(x)]],
  [
    'binary',
    (x) => [ops.sub(1, x), ops.div(x, 3), ops.mul(x, x), ops.maximum(x, 0.2), ops.minimum(x, ops.neg(x))],
  ],
  [
    'reductions',
    (x) => [
      ops.sum(x, { axes: [2, 3], keepDims: true }),
      ops.mean(x, { axes: [1] }),
      ops.max(x, { axes: [-1] }),
      ops.min(x, { axes: [0] }),
    ],
  ],
  [
    'moves',
    (x) => [
      ops.permute(x, { axes: [0, 2, 3, 1] }),
      ops.pad(x, {
        pads: [
          [0, 0],
          [0, 0],
          [1, 2],
          [0, 3],
        ],
        value: 2,
      }),
    ],
  ],
  ['softmax over flattened pixels', (x) => ops.softmax(ops.flatten(x, { startAxis: 2 }), { axis: -1 })],
  [
    'a part of the channels',
    (x) => {
      const [n, , h, w] = x.shape
      return ops.slice(x, { starts: [0, 1, 0, 0], ends: [n!, 2, h!, w!] })
    },
  ],
  [
    'pooling',
    (x) => [
      ops.avgPool2d(x, { kernelSize: 3, stride: 2, padding: 1 }),
      ops.maxPool2d(x, { kernelSize: 3, stride: 2, padding: 1, ceilMode: true }),
      ops.adaptiveAvgPool2d(x, { outputSize: 1 }),
    ],
  ],
  [
    'resizing',
    (x) => {
      const [, , h, w] = x.shape
      return [
        ops.interpolate(x, { size: [2 * h!, 3 * w!], mode: 'bilinear' }),
        ops.interpolate(x, { size: [7, 5] }),
        ops.interpolate(x, { size: [h! / 2, w! / 2], mode: 'bilinear', alignCorners: true }),
      ]
    },
  ],
  ['a product of matrices', (x) => ops.matmul(ops.permute(x, { axes: [0, 1, 3, 2] }), x)],
  [
    'strided, dilated, fused convolution',
    (x, weight) =>
      ops.conv2d(ops.relu(x), weight, { stride: [2, 1], padding: 2, dilation: 1, activation: 'relu' }),
  ],
  ['a fixed picture beside the input', (x) => ops.add(x, x.device.tensor(wave([1, 2, 1, 1]), [1, 2, 1, 1]))],
])('operators: %s', async (_, pass) => {
  const device = await testDevice()
  const net = new Network(device, pass)
  await expectSame(device, net, { channels: 2, height: 6, width: 8 }, [
    [1, 2, 6, 8],
    [3, 2, 12, 10],
  ])
})

test.each([true, false])(
  'transposed and grouped convolutions before batch norms; folded: %s',
  async (foldBatchNorm) => {
    const device = await testDevice()
    const prng = new Prng(3)
    const uniform = () => prng.uniform()
    const up = new ConvTranspose2d(device, 2, 4, { kernelSize: 2, stride: 2 }, uniform)
    const grouped = new Conv2d(device, 4, 6, { kernelSize: 3, padding: 1, groups: 2, bias: false }, uniform)
    const norms = [4, 6].map((n) => new BatchNorm2d(device, n, { activation: 'relu' }))
    const net = new Network(
      device,
      (x) => norms[1]!.forward(grouped.forward(norms[0]!.forward(up.forward(x)))),
      { up, grouped, first: norms[0]!, second: norms[1]! },
    )
    for (const [name, t] of Object.entries(net.stateDict()))
      if (/running|(first|second)/.test(name))
        t.set(Float32Array.from({ length: t.size }, () => 0.5 + uniform()))
    await expectSame(device, net, { channels: 2, height: 4, width: 4, foldBatchNorm }, [[2, 2, 5, 7]])
  },
)

test('what cannot be exported is refused by a sentence; operators of yours fill the gap', async () => {
  const device = await testDevice()
  const refuse = (pass: (x: Tensor) => Tensor | Tensor[]) =>
    expect(exportOnnx(new Network(device, pass), { channels: 2, height: 8, width: 8 })).rejects
  await refuse((x) => ops.eq(x, 1)).toThrow(
    /eq has no ONNX operator here; say how it is written by operators: \{ eq:/,
  )
  await refuse((x) => ops.adaptiveAvgPool2d(x, { outputSize: 2 })).toThrow(
    /adaptiveAvgPool2d to 2×2 has no ONNX operator/,
  )
  await refuse((x) => (x.shape[2]! > 8 ? x : ops.relu(x))).toThrow(/Network applies 1 ops or 0/)
  await refuse((x) =>
    ops.pad(x, {
      pads: [
        [0, 0],
        [0, 0],
        [0, x.shape[2]!],
        [0, 0],
      ],
    }),
  ).toThrow(/pad has pads/)
  await refuse((x) => ops.relu(x.detach())).toThrow(/leave detach\(\) out/)
  await expect(exportOnnx(NETWORKS.UNet(device), { channels: 2, height: 20, width: 16 })).rejects.toThrow(
    /UNet: H and W must be multiples of 16/,
  )
  const net = new Network(device, (x) => ops.logicalNot(x))
  const bytes = await exportOnnx(net, {
    channels: 2,
    height: 8,
    width: 8,
    operators: {
      // logicalNot is applied as a comparison with 0.
      eq: (g, { inputs, outputs }) =>
        g.define(outputs[0]!, g.add('Sub', [g.floats([1]), g.name(inputs[0]!)])),
    },
  })
  const session = await InferenceSession.create(bytes)
  const { output } = await session.run({
    input: new OrtTensor('float32', Float32Array.of(1, 0), [1, 2, 1, 1]),
  })
  expect([...(output!.data as Float32Array)]).toEqual([0, 1])
})

test('an export leaves the memory as it was', async () => {
  const device = await testDevice()
  const net = new Network(device, (x) => ops.add(x, device.tensor(wave([1, 2, 1, 1]), [1, 2, 1, 1])))
  const before = device.memory().bytesInUse
  await exportOnnx(net, { channels: 2, height: 8, width: 8 })
  expect(device.memory().bytesInUse).toBe(before)
  net.dispose()
})
