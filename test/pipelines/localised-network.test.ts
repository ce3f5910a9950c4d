import { expect, test } from 'vitest'
import type { Device } from '../../src/autograd/device.ts'
import { conv2d } from '../../src/autograd/ops/conv2d.ts'
import { diceLoss } from '../../src/autograd/ops/dice-loss.ts'
import { mean } from '../../src/autograd/ops/mean.ts'
import { mul } from '../../src/autograd/ops/mul.ts'
import { sigmoid } from '../../src/autograd/ops/sigmoid.ts'
import { sub } from '../../src/autograd/ops/sub.ts'
import { sum } from '../../src/autograd/ops/sum.ts'
import { Prng } from '../../src/autograd/random.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { Module } from '../../src/nn/module.ts'
import { ParameterHead } from '../../src/nn/networks/parameter-head.ts'
import { UNet } from '../../src/nn/networks/unet.ts'
import { Adam } from '../../src/nn/optim/adam.ts'
import { segmentLocalised } from '../../src/pipelines/localise.ts'
import { LocalisedNetwork } from '../../src/pipelines/localised-network.ts'
import { maskCentre, scoreMask } from '../../src/pipelines/scores.ts'
import { stackSamples } from '../../src/pipelines/tasks.ts'
import {
  deformationTransform,
  fieldRoughness,
  polarTransform,
  softCentreOfMap,
} from '../../src/pipelines/transforms/index.ts'
import { weakTask } from '../../src/pipelines/weak-task.ts'
import { testDevice } from '../device.ts'
import { inverseOracle, sampleOracle, turned } from '../ops/warp-oracle.ts'
import { type Array64, checkGradients, randomValues } from '../oracle.ts'
import { discs } from './discs.ts'

const sigma = (v: number): number => 1 / (1 + Math.exp(-v))

test('a polar origin from a soft map: gradients of the final mask against finite differences, through warp, network and inverse', async () => {
  const [H, W] = [8, 10]
  const R = Math.hypot(H / 2, W / 2)
  const image = Float32Array.from({ length: H * W }, (_, i) => {
    const [u, v] = [i % W, Math.floor(i / W)]
    return 2 * Math.exp(-((u - 5.3) ** 2 / 9 + (v - 3.2) ** 2 / 6)) - 0.7 + 0.1 * Math.sin(2 * u - v)
  })
  const layer = (x: Tensor, weight: Tensor) => sigmoid(conv2d(x, weight))
  const oracle = (x: Array64, a: Array64, b: Array64) => {
    const map = x.data.map((v) => sigma(a.data[0]! * v))
    const centre = Float64Array.from(maskCentre(map, H, W))
    const [cx, cy] = centre as unknown as [number, number]
    const polar = sampleOracle(x, [1, H, W], (_, i, j) => {
      const [t, r] = [(2 * Math.PI * i) / H, (R * j) / W]
      return [cx + r * Math.cos(t), cy + r * Math.sin(t)]
    })
    const up = turned(polar, 1, H, W)
    const segmented = { shape: [1, 1, up.h, up.w], data: up.data.map((v) => sigma(b.data[0]! * v)) }
    return inverseOracle(segmented, { shape: [1, 2], data: centre }, H, W, R, 'radius-up')
  }
  await checkGradients(
    (x, a, b) =>
      segmentLocalised(
        {
          localise: (v) => layer(v, a!),
          parameters: softCentreOfMap(),
          transform: polarTransform(),
          segment: (v) => layer(v, b!),
        },
        x!,
      ).mask,
    (x, a, b) => oracle(x!, a!, b!),
    [
      { shape: [1, 1, H, W], data: image },
      { shape: [1, 1, 1, 1], data: [1.7] },
      { shape: [1, 1, 1, 1], data: [2.1] },
    ],
    { rtol: 1e-4, atol: 5e-5, gradRtol: 1e-3, gradAtol: 2e-4 },
  )
})

/** u(q) of a bilinear field whose grid points (N = 1) lie on the corner pixels, in px. */
function fieldAt(
  phi: Float64Array,
  nodes: number,
  reach: number,
  h: number,
  w: number,
  [x, y]: readonly number[],
) {
  const clampTo = (v: number) => Math.min(Math.max(v, 0), nodes - 1)
  const [gx, gy] = [clampTo((x! * (nodes - 1)) / (w - 1)), clampTo((y! * (nodes - 1)) / (h - 1))]
  const [i, j] = [Math.min(Math.floor(gy), nodes - 2), Math.min(Math.floor(gx), nodes - 2)]
  const [s, t] = [gy - i, gx - j]
  return [0, 1].map((axis) => {
    const at = (a: number, b: number) => Math.tanh(phi[axis * nodes * nodes + a * nodes + b]!)
    const value =
      (1 - s) * ((1 - t) * at(i, j) + t * at(i, j + 1)) + s * ((1 - t) * at(i + 1, j) + t * at(i + 1, j + 1))
    return (value * reach * ((axis === 0 ? w : h) - 1)) / (nodes - 1)
  }) as [number, number]
}

test('a deformation and its inverse: q + u(q) = p to a hundredth of a pixel, for fields as strong as they get', async () => {
  const device = await testDevice()
  const [h, w, nodes] = [33, 41, 4]
  const ramps = Float32Array.from({ length: 2 * h * w }, (_, k) =>
    k < h * w ? k % w : Math.floor((k - h * w) / w),
  )
  const x = device.tensor(ramps, [1, 2, h, w])
  for (const strength of [0.3, 1, 6]) {
    const phi = randomValues([1, 2 * nodes * nodes], 3, -strength, strength)
    const t = deformationTransform({ nodes, iterations: 24 })
    const q = await t.invert(x, device.tensor(phi, [1, phi.length]), { height: h, width: w }).data()
    let worst = 0
    for (let p = 0; p < h * w; p++) {
      const [qx, qy] = [q[p]!, q[h * w + p]!]
      const u = fieldAt(Float64Array.from(phi), nodes, 0.2, h, w, [qx, qy])
      const [px, py] = [p % w, Math.floor(p / w)]
      // Where the image ends, what is read is its border.
      if (Math.min(qx, qy) <= 0 || qx >= w - 1 || qy >= h - 1) continue
      worst = Math.max(worst, Math.abs(qx + u[0] - px), Math.abs(qy + u[1] - py))
    }
    expect(worst).toBeLessThan(0.01)
  }
  const zero = device.zeros([1, 2 * nodes * nodes])
  expect(await deformationTransform({ nodes }).apply(x, zero).data()).toEqual(ramps)
  expect(await fieldRoughness(zero, nodes).item()).toBe(0)
  // Along x, points differ by 1: a mean square of 1 along one axis.
  const slope = Float32Array.from({ length: 2 * nodes * nodes }, (_, k) => k % nodes)
  expect(await fieldRoughness(device.tensor(slope, [1, slope.length]), nodes).item()).toBeCloseTo(1, 6)
  expect(() => deformationTransform({ reach: 0.25 })).toThrow(
    /under 0\.25, got 4 and 0\.25; farther, the field could fold/,
  )
})

test('gradients of a deformation there and back', async () => {
  const [h, w, nodes, reach] = [7, 8, 2, 0.2]
  const options = { nodes, reach, iterations: 6 }
  const phi = { shape: [1, 8], low: -0.9, high: 0.9 }
  const border = { padX: 'border', padY: 'border' } as const
  await checkGradients(
    (x, p) => deformationTransform(options).apply(x, p),
    (x, p) =>
      sampleOracle(
        x!,
        [1, h, w],
        (_, v, u) => {
          const [dx, dy] = fieldAt(p!.data, nodes, reach, h, w, [u, v])
          return [u + dx, v + dy]
        },
        border,
      ),
    [{ shape: [1, 1, h, w] }, phi],
    { gradRtol: 1e-3, gradAtol: 1e-4 },
  )
  await checkGradients(
    (x, p) => deformationTransform(options).invert(x, p, { height: h, width: w }),
    (x, p) =>
      sampleOracle(
        x!,
        [1, h, w],
        (_, v, u) => {
          let q = [u, v]
          for (let k = 0; k <= options.iterations; k++) {
            const [dx, dy] = fieldAt(p!.data, nodes, reach, h, w, q)
            q = [u - dx, v - dy]
          }
          return q as [number, number]
        },
        border,
      ),
    [{ shape: [1, 1, h, w] }, phi],
    { gradRtol: 2e-3, gradAtol: 5e-4 },
  )
})

test('a regression head says its centre at first, and learns where discs are', async () => {
  const device = await testDevice()
  const samples = await Promise.all(discs(8, { size: 32 }).map((s) => s.load()))
  const { x, y } = stackSamples(device, samples)
  const head = new ParameterHead(device, { features: 4, levels: 3, centre: [15.5, 15.5], reach: [16, 16] })
  expect([...(await head.forward(x).data())]).toEqual(new Array(16).fill(15.5))
  const opt = new Adam(head.parameters(), { lr: 1e-2 })
  const step = device.compile((input: Tensor, mask: Tensor) => {
    opt.zeroGrad()
    const off = sub(
      head.forward(input),
      device.noGrad(() => softCentreOfMap()(mask, mask)),
    )
    const loss = mean(mul(off, off))
    loss.backward()
    opt.step()
    return loss
  })
  const first = await step(x, y).item()
  for (let i = 0; i < 60; i++) step(x, y)
  expect(await step(x, y).item()).toBeLessThan(0.1 * first)
  opt.dispose()
  head.dispose()
  expect(() => new ParameterHead(device, { centre: [1, 2], reach: [1] })).toThrow(/got 2 and 1/)
})

/** Eight discs, a polar network whose head says the origin, and how far its origins lie from the discs on the mean, px. */
async function polarOnDiscs(segment: (device: Device) => Module, centre = [15.5, 15.5]) {
  const device = await testDevice()
  const size = 32
  const samples = await Promise.all(discs(8, { size }).map((s) => s.load()))
  const { x, y } = stackSamples(device, samples)
  const reach = [size / 2, size / 2]
  const localise = new ParameterHead(device, { features: 4, levels: 3, centre, reach })
  const net = new LocalisedNetwork(device, {
    localise,
    transform: polarTransform(),
    segment: segment(device),
  })
  const distance = async () => {
    const origins = await device.noGrad(() => net.trace(x).parameters).data()
    return samples.reduce((total, { mask }, i) => {
      const [cx, cy] = maskCentre(mask, size, size)
      return total + Math.hypot(origins[2 * i]! - cx, origins[2 * i + 1]! - cy) / samples.length
    }, 0)
  }
  /** Trains on all eight discs at once; the loss before and after. */
  const train = async (steps: number, loss: (map: Tensor, truth: Tensor) => Tensor = diceLoss) => {
    const opt = new Adam(net.parameters(), { lr: 1e-2 })
    const step = device.compile((input: Tensor, target: Tensor) => {
      opt.zeroGrad()
      const value = loss(net.forward(input), target)
      value.backward()
      opt.step()
      return value
    })
    const first = await step(x, y).item()
    for (let i = 2; i < steps; i++) step(x, y)
    const last = await step(x, y).item()
    opt.dispose()
    return { first, last }
  }
  return { device, x, y, localise, net, distance, train }
}

/** Finds what is bright within 5 px of the polar origin, and no more: it needs a good one. */
class NearOrigin extends Module {
  forward(polar: Tensor): Tensor {
    const [, , radii] = polar.shape as [number, number, number, number]
    // 'radius-up': radius 0 in the last row.
    const logits = Float32Array.from({ length: radii }, (_, i) => {
      const r = (Math.hypot(16, 16) * (radii - 1 - i)) / radii
      return 5 - r
    })
    return mul(sigmoid(mul(polar, 8)), sigmoid(polar.device.tensor(logits, [1, 1, radii, 1])))
  }
}

test('the loss of the mask alone moves the origin to the object, where the segmentation depends on it', async () => {
  const { net, distance, train } = await polarOnDiscs(() => new NearOrigin())
  const before = await distance()
  await train(80)
  expect(await distance()).toBeLessThan(0.3 * before)
  net.dispose()
})

test('the gradient of the mask loss in the origin, with a U-Net: its integral along a way is the difference', async () => {
  const { device, x, y, localise, net, train } = await polarOnDiscs(
    (d) => new UNet(d, { features: 2, seed: 3 }),
    [14.3, 16.2],
  )
  await train(30)
  const bias = localise.parameters().at(-1)!
  const base = await bias.data()
  // The loss has a kink wherever a sample crosses a pixel, thousands a px: no step is small enough for differences, but
  // the mean of the gradient does not mind kinks. 256 steps leave 1.2 % of the smaller integral, 512 and 1024 less than a half.
  const steps = 512
  const addGradients = device.compile((x: Tensor, y: Tensor) => diceLoss(net.forward(x), y).backward())
  for (const way of [
    [0.1, 0],
    [0, 0.1],
  ]) {
    const to = (t: number) => bias.set(Float32Array.from(way, (v, k) => base[k]! + v * t))
    const loss = async (t: number) => {
      to(t)
      return device.noGrad(() => diceLoss(net.forward(x), y)).item()
    }
    // Gradients add up over calls.
    let sums = await bias.grad!.data()
    const before = sums
    for (let k = 0; k < steps; k++) {
      to((k + 0.5) / steps)
      addGradients(x, y)
      sums = await bias.grad!.data()
    }
    const integral = way.reduce((total, v, k) => total + (v * (sums[k]! - before[k]!)) / steps, 0)
    const difference = (await loss(1)) - (await loss(0))
    expect(Math.abs(integral - difference)).toBeLessThan(0.01 * Math.abs(difference))
  }
  net.dispose()
})

test('a U-Net leaves the origin to the penalty, which gets the truth', async () => {
  const { device, x, y, net, distance, train } = await polarOnDiscs(
    (d) => new UNet(d, { features: 2, seed: 3 }),
  )
  expect(new Set(net.parameters().map((p) => p.name)).size).toBe(net.parameters().length)
  const before = await distance()
  // A U-Net in polar space segments a disc wherever the origin lies: by the mask's loss alone the origin drifts.
  const offCentre = (phi: Tensor, truth: Tensor) => {
    const off = mul(sub(phi, softCentreOfMap()(truth, truth)), 1 / 16)
    return mean(mul(off, off))
  }
  const { first, last } = await train(80, net.penalised(offCentre, 10))
  expect(last).toBeLessThan(0.6 * first)
  expect(await distance()).toBeLessThan(0.4 * before)
  const map = net.forward(x)
  const penalised = net.penalised((phi) => sum(phi), 0.5)
  const phi = await device.noGrad(() => net.trace(x).parameters).data()
  const expected = (await diceLoss(map, y).item()) + 0.5 * (phi as Float32Array).reduce((a, b) => a + b, 0)
  expect(await penalised(map, y).item()).toBeCloseTo(expected, 1)
  net.dispose()
})

test('weak labels: the ellipse of the box, a disc about one point of the object', async () => {
  const device = await testDevice()
  const size = 32
  const samples = await Promise.all(discs(6, { size }).map((s) => s.load()))
  const empty = { ...samples[0]!, mask: new Float32Array(size * size) }
  const all = [...samples, empty]
  const targets = async (label: 'box' | 'point') => {
    const task = weakTask({ label })
    const { target } = task.prepare(task.feed(device, all, new Prng(1), false), false)
    const values = await target.data()
    return all.map((_, i) => values.slice(i * size * size, (i + 1) * size * size))
  }
  const [boxes, points, again] = [await targets('box'), await targets('point'), await targets('point')]
  samples.forEach(({ mask }, i) => {
    // A disc fills its box as an ellipse does.
    expect(scoreMask(boxes[i]!, mask).dice).toBeGreaterThan(0.93)
    const [x, y] = maskCentre(points[i]!, size, size)
    const reach = Math.hypot(...maskCentre(mask, size, size).map((c, k) => c - [x, y][k]!))
    expect(reach).toBeLessThan(size * 0.32)
  })
  expect(again).toEqual(points)
  for (const target of [boxes.at(-1)!, points.at(-1)!]) expect(target.every((v) => v === 0)).toBe(true)
})
