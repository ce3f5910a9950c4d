import { describe, expect, test } from 'vitest'
import type { Device } from '../../src/autograd/device.ts'
import { add } from '../../src/autograd/ops/add.ts'
import { diceLoss } from '../../src/autograd/ops/dice-loss.ts'
import { mseLoss } from '../../src/autograd/ops/mse-loss.ts'
import { mul } from '../../src/autograd/ops/mul.ts'
import { manualSeed } from '../../src/autograd/random.ts'
import type { Shape, Tensor } from '../../src/autograd/tensor.ts'
import type { Module } from '../../src/nn/module.ts'
import { DeepLabV3Plus } from '../../src/nn/networks/deeplab-v3-plus.ts'
import { StackedHourglass } from '../../src/nn/networks/stacked-hourglass.ts'
import { UNet } from '../../src/nn/networks/unet.ts'
import { UNetPlusPlus } from '../../src/nn/networks/unet-plus-plus.ts'
import { Adam } from '../../src/nn/optim/adam.ts'
import { safetensorsFrom, tensorsFromSafetensors } from '../../src/nn/state.ts'
import { testDevice } from '../device.ts'
import { expectClose, referenceArrays, referenceTable } from '../reference.ts'

/**
 * Every network goes through the same tests. To add one: its small options, and what it makes of an image; for the
 * values of PyTorch, a case in test/reference/make_networks.py.
 */
interface Case {
  readonly name: string
  readonly make: (device: Device, options?: object) => Module
  /** Options that make it small, for one input channel. */
  readonly small: object
  /** Options that leave nothing to chance. */
  readonly certain?: object
  /** Sides must be multiples of this. */
  readonly step: number
  /** Output sides are the image's divided by this; raw heatmaps where it is not 1. */
  readonly stride: number
  /** Stem of its PyTorch values in test/reference. */
  readonly golden?: string
}

const { f16 } = (await testDevice()).adapter

const encoder = { blocks: [1, 1, 1, 1], features: 4 } as const
const CASES: readonly Case[] = [
  {
    name: 'UNet',
    make: (device, options) => new UNet(device, options),
    small: { features: 2 },
    step: 16,
    stride: 1,
  },
  {
    name: 'UNetPlusPlus',
    make: (device, options) => new UNetPlusPlus(device, options),
    small: { encoder },
    step: 32,
    stride: 1,
    golden: 'unetplusplus',
  },
  {
    name: 'DeepLabV3Plus',
    make: (device, options) => new DeepLabV3Plus(device, options),
    small: { encoder, decoderChannels: 8 },
    certain: { dropout: 0 },
    step: 16,
    stride: 1,
    golden: 'deeplabv3plus',
  },
  {
    name: 'StackedHourglass',
    make: (device, options) => new StackedHourglass(device, options),
    small: { stacks: 3, features: 8, depth: 1, stemFeatures: 4 },
    step: 8,
    stride: 4,
    golden: 'hourglass',
  },
]

/** Smooth blobs and a mask of them, the same at every call. */
const blobs = (
  device: Device,
  [n, c, h, w]: [number, number, number, number],
  threshold?: number,
): Tensor => {
  const value = (i: number) => {
    const [x, y, k] = [i % w, Math.floor(i / w) % h, Math.floor(i / (w * h))]
    return Math.sin(x / 4 + k) * Math.cos(y / 5 - k)
  }
  const data = Float32Array.from({ length: n * c * h * w }, (_, i) =>
    threshold === undefined ? value(i) : value(i) > threshold ? 1 : 0,
  )
  return device.tensor(data, [n, c, h, w])
}

const outputsOf = (net: Module, x: Tensor): readonly Tensor[] => {
  const y = net.forward(x)
  return Array.isArray(y) ? (y as readonly Tensor[]) : [y as Tensor]
}

/** Dice loss of probabilities; of heatmaps the mean squared error, averaged over the stacks. */
const lossOf = (outputs: readonly Tensor[], y: Tensor, heatmaps: boolean): Tensor =>
  heatmaps
    ? mul(
        outputs.map((p) => mseLoss(p, y)).reduce((a, b) => add(a, b)),
        1 / outputs.length,
      )
    : diceLoss(outputs[0]!, y)

describe.each(CASES)('$name', ({ name, make, small, certain, step, stride }) => {
  const outputShape = (n: number, channels: number, h: number, w: number): Shape => [
    n,
    channels,
    h / stride,
    w / stride,
  ]

  test('output shapes at several sizes, batch sizes and channels', async () => {
    const device = await testDevice()
    for (const [inChannels, outChannels] of [
      [1, 1],
      [3, 2],
    ] as const) {
      const net = make(device, { ...small, inChannels, outChannels }).eval()
      for (const [n, h, w] of [
        [1, step, step],
        [3, 2 * step, 3 * step],
      ] as const) {
        device.scope(() =>
          device.noGrad(() => {
            for (const y of outputsOf(net, device.zeros([n, inChannels, h, w])))
              expect(y.shape).toEqual(outputShape(n, outChannels, h, w))
          }),
        )
      }
      net.dispose()
    }
  })

  test('probabilities lie within 0 and 1; evaluation gives the same bits twice', async () => {
    const device = await testDevice()
    const net = make(device, small).eval()
    const x = blobs(device, [2, 1, 2 * step, step])
    const [first, second] = [0, 1].map(() => device.noGrad(() => outputsOf(net, x)))
    for (const [i, y] of first!.entries()) {
      const values = await y.data()
      expect(values).toEqual(await second![i]!.data())
      if (stride === 1) expect(values.every((p) => p >= 0 && p <= 1)).toBe(true)
    }
    net.dispose()
  })

  test('weights go out as safetensors and come back; a seed decides them', async () => {
    const device = await testDevice()
    const make4 = (seed: number) => make(device, { ...small, seed })
    const [a, b, c] = [make4(1), make4(2), make4(1)]
    const bytes = await safetensorsFrom(a.stateDict())
    expect(await safetensorsFrom(c.stateDict())).toEqual(bytes)
    expect(await safetensorsFrom(b.stateDict())).not.toEqual(bytes)
    b.loadStateDict(tensorsFromSafetensors(device, bytes))
    expect(await safetensorsFrom(b.stateDict())).toEqual(bytes)
    for (const net of [a, b, c]) net.dispose()
  })

  test('five steps of training lower the loss; compiled steps make no buffer', async () => {
    const device = await testDevice()
    const net = make(device, { ...small, ...certain }).train()
    const opt = new Adam(net.parameters(), { lr: 3e-3 })
    const train = device.compile((x: Tensor, y: Tensor) => {
      opt.zeroGrad()
      const loss = lossOf(outputsOf(net, x), y, stride > 1)
      loss.backward()
      opt.step()
      return loss
    })
    const side = Math.max(32, 2 * step)
    const x = blobs(device, [2, 1, side, side])
    const y = blobs(device, [2, 1, side / stride, side / stride], 0.3)
    const losses: number[] = []
    for (let k = 0; k < 6; k++) losses.push(await train(x, y).item())
    expect(losses[5]).toBeLessThan(losses[0]!)
    const before = device.counters
    for (let k = 0; k < 3; k++) train(x, y)
    await device.idle()
    expect(device.counters.buffersCreated).toBe(before.buffersCreated)
    expect(device.counters.submissions - before.submissions).toBe(3)
    train.dispose()
    opt.dispose()
    net.dispose()
  })

  test('activation checkpointing takes less memory and gives the same gradients, bit for bit', async () => {
    const device = await testDevice()
    const side = 4 * step
    const x = blobs(device, [2, 1, side, side])
    const y = blobs(device, [2, 1, side / stride, side / stride], 0.3)
    const run = async (activationCheckpointing: boolean) => {
      const net = make(device, { ...small, activationCheckpointing }).train()
      const step = (a: Tensor, b: Tensor) => {
        const loss = lossOf(outputsOf(net, a), b, stride > 1)
        loss.backward()
        return loss
      }
      const { intermediates } = device.plan(step, x, y)
      manualSeed(device, 3)
      step(x, y)
      const gradients: (ArrayLike<number> | undefined)[] = []
      for (const p of net.parameters()) gradients.push(await p.grad?.data())
      net.dispose()
      return { live: intermediates.live, gradients }
    }
    const [plain, less] = [await run(false), await run(true)]
    expect(less.gradients).toEqual(plain.gradients)
    expect(less.live).toBeLessThan(plain.live)
  })

  test.runIf(f16)(
    'mixed precision gives nearly the same outputs and a finite gradient for every parameter',
    async () => {
      const device = await testDevice()
      const net = make(device, { ...small, ...certain }).train()
      const x = blobs(device, [2, 1, 4 * step, 4 * step])
      const y = blobs(device, [2, 1, (4 * step) / stride, (4 * step) / stride], 0.3)
      const plain = outputsOf(net, x).map((p) => p.keep())
      const mixed = device.autocast(() => outputsOf(net, x)).map((p) => p.keep())
      lossOf(mixed, y, stride > 1).backward()
      for (const [i, p] of plain.entries()) {
        const want = await p.data()
        const got = await mixed[i]!.data()
        const distance = Math.max(...Array.from(want, (v, k) => Math.abs(got[k]! - v)))
        // Half precision has eleven bits; through some forty batch norms of few values its errors grow a hundredfold.
        expect(distance).toBeLessThan(0.05 * Math.max(largest(want), 1))
        expect(distance).toBeGreaterThan(0)
      }
      for (const p of net.parameters()) {
        const g = p.grad ? await p.grad.data() : []
        expect(Array.from(g).every(Number.isFinite), p.name).toBe(true)
      }
      net.dispose()
    },
  )

  test('what does not fit is refused by a sentence', async () => {
    const device = await testDevice()
    const net = make(device, small)
    expect(() => net.forward(device.zeros([1, 2, step, step]))).toThrow(
      `${name}: expects (N, 1, H, W), got (1, 2, ${step}, ${step})`,
    )
    expect(() => net.forward(device.zeros([1, 1, step + step / 2, step]))).toThrow(
      `${name}: H and W must be multiples of ${step}, got (1, 1, ${step + step / 2}, ${step}); resize or pad the image`,
    )
    expect(() => make(device, { ...small, outChannels: 0 })).toThrow(
      `${name}: outChannels must be a whole number of at least 1, got 0`,
    )
    net.dispose()
  })
})

describe.each(CASES.filter((c) => c.golden))(
  '$name with weights exported by PyTorch',
  ({ make, stride, golden }) => {
    test('its outputs in evaluation', async () => {
      const { evaluations } = goldenTable(golden!)
      for (const { name: at, options } of evaluations) {
        const { net, given, value } = await pytorchNet(golden!, make, options)
        net.eval()
        const outputs = net.device.noGrad(() => outputsOf(net.module, given(`${at}/x`)))
        for (const [i, y] of outputs.entries()) {
          const want = value(`${at}/y${i}`)
          expectClose(await y.data(), want, 1e-4, 1e-5 * largest(want), `${at} ${i}`)
        }
        net.module.dispose()
      }
    })

    test('its outputs, loss, gradients and running statistics in training', async () => {
      const { training } = goldenTable(golden!)
      const { net, given, value } = await pytorchNet(golden!, make, training.options)
      net.module.train()
      const at = training.name
      const outputs = outputsOf(net.module, given(`${at}/x`)).map((y) => y.keep())
      const loss = lossOf(outputs, given(`${at}/y`), stride > 1).keep()
      loss.backward()
      expectClose(await loss.data(), value(`${at}/loss`), 1e-5, 0, 'loss')
      for (const [i, y] of outputs.entries()) {
        const want = value(`${at}/y${i}`)
        expectClose(await y.data(), want, 1e-3, 1e-4 * largest(want), `output ${i}`)
      }
      const parameters = net.module.namedParameters()
      const all = Math.max(...parameters.map(([n]) => largest(value(`${at}/grads/${n}`))))
      for (const [n, p] of parameters) {
        const want = value(`${at}/grads/${n}`)
        const got = p.grad ? await p.grad.data() : new Float32Array(p.size)
        // Through some forty batch norms float32 leaves errors of this size beside the largest entry of a tensor;
        // a bias before a batch norm has the gradient 0, up to rounding.
        expectClose(got, want, 1e-3, 1e-3 * largest(want) + 1e-6 * all, n)
      }
      for (const [n, b] of net.module.namedBuffers()) {
        const want = value(`${at}/after/${n}`)
        expectClose(await b.data(), want, 1e-4, 1e-5 * largest(want), n)
      }
      net.module.dispose()
    })
  },
)

interface Golden {
  readonly options: object
  readonly evaluations: readonly { readonly name: string; readonly options: object }[]
  readonly training: { readonly name: string; readonly options: object }
}

const goldenTable = (stem: string): Golden => referenceTable<Golden>(stem)

const largest = (values: ArrayLike<number>): number =>
  Array.from(values).reduce((m, v) => Math.max(m, Math.abs(v)), 0)

async function pytorchNet(stem: string, make: Case['make'], more: object) {
  const device = await testDevice()
  const module = make(device, { ...goldenTable(stem).options, ...more })
  const weights = referenceArrays(stem)
  const tensors = Object.fromEntries([...weights].map(([n, a]) => [n, device.tensor(a.data, a.shape)]))
  module.loadStateDict(tensors)
  for (const t of Object.values(tensors)) t.dispose()
  const expected = referenceArrays(`${stem}-expected`)
  const given = (n: string): Tensor => device.tensor(expected.get(n)!.data, expected.get(n)!.shape)
  const net = { module, device, eval: () => module.eval() }
  return { net, given, value: (n: string) => expected.get(n)!.data }
}

test.each([
  ['UNetPlusPlus', { inChannels: 2 }],
  ['DeepLabV3Plus', { inChannels: 3 }],
  ['StackedHourglass', { inChannels: 3, stacks: 2, features: 32 }],
])("%s at full size has PyTorch's names and shapes, in PyTorch's order", async (name, options) => {
  const device = await testDevice()
  const net = CASES.find((c) => c.name === name)!.make(device, options)
  const own = [...net.namedParameters(), ...net.namedBuffers()].map(([n, t]) => `${n}:${t.shape.join('x')}`)
  const listed = referenceTable<Record<string, string>>('state-dicts')[name]!.split(' ')
  const statistic = (line: string) => line.includes('.running_')
  expect(own).toEqual([...listed.filter((l) => !statistic(l)), ...listed.filter(statistic)])
  net.dispose()
})

test('where an adapter cannot bind the joined maps, U-Net++ gives the same outputs and gradients', async () => {
  const device = await testDevice()
  const x = blobs(device, [2, 1, 64, 64])
  const y = blobs(device, [2, 1, 64, 64], 0.3)
  const run = async () => {
    const net = new UNetPlusPlus(device, { encoder })
    diceLoss(net.forward(x), y).backward()
    const gradients: Float32Array[] = []
    for (const p of net.parameters()) gradients.push((await p.grad!.data()) as Float32Array)
    const launches = device.counters.dispatches
    const p = await device.noGrad(() => net.eval().forward(x)).data()
    net.dispose()
    return { gradients, p, launches: device.counters.dispatches - launches }
  }
  const joined = await run()
  const adapter = device.adapter as { maxBindingBytes: number }
  const limit = adapter.maxBindingBytes
  adapter.maxBindingBytes = 0
  const parts = await run().finally(() => {
    adapter.maxBindingBytes = limit
  })
  // Another way was taken: sums of convolutions of the parts instead of copies into one map.
  expect(parts.launches).not.toBe(joined.launches)
  expectClose(parts.p, joined.p, 1e-4, 1e-6, 'probabilities')
  for (const [i, g] of parts.gradients.entries()) {
    const want = joined.gradients[i]!
    expectClose(g, want, 1e-3, 1e-3 * largest(want) + 1e-7, `gradient ${i}`)
  }
})

test('initial weights have the variances of He and Glorot', async () => {
  const device = await testDevice()
  const net = new UNetPlusPlus(device, { encoder: { blocks: [1, 1, 1, 1], features: 16 } })
  const state = net.stateDict()
  const variance = async (name: string) => {
    const values = await state[name]!.data()
    return Array.from(values).reduce((s, v) => s + v * v, 0) / values.length
  }
  // Over 100,000 numbers each: 5 % are more than ten deviations of their variance.
  const ratios = [
    (await variance('encoder.layer4.0.conv1.weight')) / (2 / (9 * 128)),
    (await variance('decoder.blocks.x_0_0.conv1.0.weight')) / (2 / (9 * 192)),
  ]
  for (const ratio of ratios) expect(Math.abs(ratio - 1)).toBeLessThan(0.05)
  expect(state['encoder.layer4.0.conv1.weight']!.shape).toEqual([128, 64, 3, 3])
  expect(state['decoder.blocks.x_0_0.conv1.0.weight']!.shape).toEqual([64, 192, 3, 3])
  expect(await variance('segmentation_head.0.bias')).toBe(0)
  net.dispose()
})

test('options that a network cannot take are refused', async () => {
  const device = await testDevice()
  expect(() => new UNetPlusPlus(device, { encoder: 'vgg' as never })).toThrow(
    "UNetPlusPlus: encoder is 'resnet18' or 'resnet34', or { blocks: [3, 4, 6, 3], features: 64 }; got \"vgg\"",
  )
  expect(() => new UNetPlusPlus(device, { decoderChannels: [4, 2] })).toThrow(
    /decoderChannels has 2 numbers; give 5/,
  )
  expect(() => new DeepLabV3Plus(device, { outputStride: 32 as never })).toThrow(
    /outputStride is 8 or 16, got 32/,
  )
  expect(() => new DeepLabV3Plus(device, { dropout: 1 })).toThrow(/dropout is a probability under 1/)
  expect(() => new StackedHourglass(device, { features: 5 })).toThrow(/features must be even/)
  const net = new DeepLabV3Plus(device, { encoder: { blocks: [1, 1, 1, 1], features: 2 } })
  expect(() => net.forward(device.zeros([1, 1, 32, 32]))).toThrow(
    /DeepLabV3Plus: training needs at least 2 images a batch, got 1/,
  )
  net.dispose()
})
