import { describe, expect, test } from 'vitest'
import { diceLoss } from '../../src/autograd/ops/dice-loss.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { UNet } from '../../src/nn/networks/unet.ts'
import { Adam } from '../../src/nn/optim/adam.ts'
import { parseSafetensors } from '../../src/nn/safetensors.ts'
import { safetensorsFrom, tensorsFromSafetensors } from '../../src/nn/state.ts'
import { openDevice, testDevice } from '../device.ts'
import { expectClose, referenceArrays, referenceTable } from '../reference.ts'

const table = referenceTable<{ inChannels: number; features: number; lr: number; losses: number[] }>('unet')
const weights = referenceArrays('unet')
const expected = referenceArrays('unet-expected')

async function pytorchNet() {
  const device = await testDevice()
  const net = new UNet(device, { inChannels: table.inChannels, features: table.features })
  const tensors = Object.fromEntries([...weights].map(([name, a]) => [name, device.tensor(a.data, a.shape)]))
  net.loadStateDict(tensors)
  for (const t of Object.values(tensors)) t.dispose()
  const given = (name: string): Tensor => {
    const { data, shape } = expected.get(name)!
    return device.tensor(data, shape)
  }
  return { device, net, given, value: (name: string) => expected.get(name)!.data }
}

describe('U-Net with weights exported by PyTorch', () => {
  test.each(['32x32', '32x48'])('%s: its outputs in evaluation and training, and its loss', async (size) => {
    const { device, net, given, value } = await pytorchNet()
    net.eval()
    const evaluated = device.noGrad(() => net.forward(given(`${size}/x`)))
    expectClose(await evaluated.data(), value(`${size}/eval`), 1e-4, 1e-6, 'eval')
    net.train()
    const p = net.forward(given(`${size}/x`)).keep()
    const loss = diceLoss(p, given(`${size}/y`))
    expectClose(await p.data(), value(`${size}/train`), 1e-4, 1e-6, 'train')
    expectClose(await loss.data(), value(`${size}/loss`), 1e-5, 0, 'loss')
    net.dispose()
  })

  test('its parameter gradients and running statistics', async () => {
    const { net, given, value } = await pytorchNet()
    diceLoss(net.forward(given('32x32/x')), given('32x32/y')).backward()
    for (const [name, p] of net.namedParameters()) {
      const want = value(`32x32/grads/${name}`)
      // Through eighteen batch norms float32 leaves errors of this size beside the largest entry of a tensor.
      const scale = Array.from(want).reduce((m, v) => Math.max(m, Math.abs(v)), 0)
      expectClose(await p.grad!.data(), want, 1e-3, 1e-3 * scale + 1e-7, name)
    }
    for (const [name, b] of net.namedBuffers()) {
      expectClose(await b.data(), value(`32x32/after/${name}`), 1e-5, 1e-6, name)
    }
    net.dispose()
  })

  test.each([false, true])(
    'ten Adam steps of Dice training follow its losses; compiled: %s',
    async (compiled) => {
      const { device, net, given, value } = await pytorchNet()
      const opt = new Adam(net.parameters(), { lr: table.lr })
      const body = (x: Tensor, y: Tensor) => {
        opt.zeroGrad()
        const loss = diceLoss(net.forward(x), y)
        loss.backward()
        opt.step()
        return loss
      }
      const step = compiled ? device.compile(body) : body
      for (let k = 0; k < 10; k++) {
        const loss = step(given(`training/x${k % 2}`), given(`training/y${k % 2}`))
        expectClose([await loss.item()], [table.losses[k]!], 1e-3, 0, `loss ${k}`)
      }
      // An input of a ReLU that rounds to the other side of zero changes small entries of a gradient, of which Adam makes steps as long as lr,
      // 1e-3. (At each step's own weights the gradients are those of PyTorch in float64 within 6e-5 of a tensor's largest, PyTorch's float32
      // within 8e-5.)
      let [apart, all] = [0, 0]
      for (const [name, t] of Object.entries(net.stateDict())) {
        const [got, want] = [await t.data(), value(`training/final/${name}`)]
        expectClose(got, want, 1e-3, 2e-3, name)
        apart += got.filter((v, i) => Math.abs(v - want[i]!) > 1e-3 * (1 + Math.abs(want[i]!))).length
        all += got.length
      }
      expect(apart).toBeLessThan(all / 1000)
      net.dispose()
    },
  )
})

test('same seed, same weights and same training, bit for bit; another seed differs', async () => {
  const device = await testDevice()
  const x = device.tensor(
    Float32Array.from({ length: 2 * 16 * 16 }, (_, i) => Math.sin(i)),
    [2, 1, 16, 16],
  )
  const y = device.tensor(
    Float32Array.from({ length: 2 * 16 * 16 }, (_, i) => (i % 7 < 3 ? 1 : 0)),
    [2, 1, 16, 16],
  )
  const run = async (seed: number) => {
    const net = new UNet(device, { features: 2, seed })
    const opt = new Adam(net.parameters())
    const step = device.compile((a: Tensor, b: Tensor) => {
      opt.zeroGrad()
      const loss = diceLoss(net.forward(a), b)
      loss.backward()
      opt.step()
      return loss
    })
    for (let k = 0; k < 3; k++) step(x, y)
    const bytes = await safetensorsFrom(net.stateDict())
    step.dispose()
    net.dispose()
    return bytes
  }
  const first = await run(1)
  expect(await run(1)).toEqual(first)
  expect(await run(2)).not.toEqual(first)
})

test('weights go out as safetensors and come back', async () => {
  const device = await testDevice()
  const a = new UNet(device, { features: 2, seed: 1 })
  const b = new UNet(device, { features: 2, seed: 2 })
  const bytes = await safetensorsFrom(a.stateDict(), { made: 'by a test' })
  expect(parseSafetensors(bytes).metadata).toEqual({ made: 'by a test' })
  b.loadStateDict(tensorsFromSafetensors(device, bytes))
  expect(await safetensorsFrom(b.stateDict())).toEqual(await safetensorsFrom(a.stateDict()))
})

test('a training step is one submission, makes no buffer and takes under 250 launches', async () => {
  // Not the test device: that fills what is fresh with NaN, a launch each.
  const device = await openDevice()
  const net = new UNet(device, { features: 2 })
  const opt = new Adam(net.parameters())
  const step = device.compile((a: Tensor, b: Tensor) => {
    opt.zeroGrad()
    const loss = diceLoss(net.forward(a), b)
    loss.backward()
    opt.step()
    return loss
  })
  const x = device.zeros([2, 1, 16, 16])
  step(x, x)
  step(x, x)
  await device.idle()
  const before = device.counters
  for (let i = 0; i < 5; i++) step(x, x)
  const after = device.counters
  expect(after.submissions - before.submissions).toBe(5)
  expect((after.dispatches - before.dispatches) / 5).toBeLessThan(250)
  expect(after.buffersCreated).toBe(before.buffersCreated)
  expect(after.pipelines).toBe(before.pipelines)
  await device.idle()
  device.destroy()
})

test('what does not fit is refused by a sentence', async () => {
  const device = await testDevice()
  const net = new UNet(device, { features: 2 })
  expect(() => net.forward(device.zeros([1, 3, 16, 16]))).toThrow(
    'UNet: expects (N, 1, H, W), got (1, 3, 16, 16)',
  )
  expect(() => net.forward(device.zeros([1, 1, 20, 16]))).toThrow(
    /UNet: H and W must be multiples of 16, got \(1, 1, 20, 16\)/,
  )
  const wider = new UNet(device, { features: 4 })
  expect(() => net.loadStateDict(wider.stateDict())).toThrow(
    /the weights do not belong to this UNet: encoder1\.enc1conv1\.weight: \(4, 1, 3, 3\) instead of \(2, 1, 3, 3\)/,
  )
  expect(() => new UNet(device, { features: 0 })).toThrow(/features must be a whole number/)
})
