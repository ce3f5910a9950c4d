import type { Device } from '../src/autograd/device.ts'
import * as ops from '../src/autograd/ops/index.ts'
import { Prng } from '../src/autograd/random.ts'
import type { Tensor } from '../src/autograd/tensor.ts'
import { drawAugmentation, THESIS_AUGMENTATION } from '../src/pipelines/augment.ts'
import { type Call, type Case, floats, forward, tensor } from './case.ts'
import { HOSTILE } from './masks.ts'

const N = 8
const SIDE = 256
const PIXELS = N * SIDE * SIDE
const COLOURS = 3
/** Sides of the hostile masks. */
const SIDES = [64, 128, 256, 512, 1024, 2048, 4096, 8192]

type Inputs = (device: Device) => Tensor[]

/** Forward and the gradient of the first input as a compiled step. */
function gradients(device: Device, [x, ...others]: readonly Tensor[], f: (...x: Tensor[]) => Tensor): Call {
  const leaf = device.parameter(floats(x!.size), x!.shape)
  const up = tensor(device, device.noGrad(() => f(x!, ...others)).shape)
  return device.compile(() => f(leaf, ...others).backward(up))
}

/**
 * Forward, and forward and gradients, of one op. `traffic` counts float32 values, each read or written once, `taps` those
 * of them that are loaded one by one.
 */
function both(
  name: string,
  traffic: number,
  inputs: Inputs,
  f: (...x: Tensor[]) => Tensor,
  taps = 0,
): Case[] {
  const bytes = 4 * traffic
  return [
    { name, flops: 0, bytes, taps, setup: (d) => forward(d, inputs(d), f) },
    // Backward reads dy and writes dx of the same size, and adds to each pixel that forward loaded.
    {
      name: `${name} and gradients`,
      flops: 0,
      bytes: 2 * bytes,
      taps: 2 * taps,
      setup: (d) => gradients(d, inputs(d), f),
    },
  ]
}

/** A bilinear warp of one channel: four taps a pixel. */
const warp = (name: string, traffic: number, inputs: Inputs, f: (...x: Tensor[]) => Tensor): Case[] =>
  both(name, traffic, inputs, f, 4 * PIXELS)

const one = (name: string, traffic: number, inputs: Inputs, f: (...x: Tensor[]) => Tensor): Case => ({
  name,
  flops: 0,
  bytes: 4 * traffic,
  setup: (d) => forward(d, inputs(d), f),
})

/** Ramps, not noise: positions in [−1, 1] turned by a few degrees. */
function grid(device: Device): Tensor {
  const values = new Float32Array(PIXELS * 2)
  for (let i = 0; i < PIXELS; i++) {
    const [u, v] = [((i % SIDE) * 2) / SIDE - 1, ((Math.floor(i / SIDE) % SIDE) * 2) / SIDE - 1]
    values[2 * i] = 0.9 * u - 0.2 * v
    values[2 * i + 1] = 0.2 * u + 0.9 * v
  }
  return device.tensor(values, [N, SIDE, SIDE, 2])
}

const rows = (row: readonly number[], count = N): number[] => Array.from({ length: count }, () => row).flat()

/** The variation of a training batch: image bilinear, mask nearest, both under affine map and grid distortion. */
function augmentation(): Case {
  const pixels = PIXELS * (COLOURS + 1)
  return {
    name: `augmentation ${N}×${COLOURS}×${SIDE}×${SIDE} and mask`,
    flops: 0,
    bytes: 4 * 2 * pixels,
    taps: 2 * PIXELS * (4 * COLOURS + 1),
    setup: (d) => {
      const options = { ...THESIS_AUGMENTATION, affine: 1, grid: 1 }
      const draw = drawAugmentation(options, N, SIDE, SIDE, new Prng(1))
      const x = tensor(d, [N, COLOURS, SIDE, SIDE])
      const y = tensor(d, [N, 1, SIDE, SIDE])
      const matrix = d.tensor(draw.matrices, [N, 2, 3])
      const displacements = d.tensor(draw.displacements, [N, 2, draw.nodes, draw.nodes])
      return d.compile(() =>
        d.noGrad(() => [
          ops.gridWarp(ops.affineWarp(x, matrix, { paddingMode: 'border' }), displacements, {
            paddingMode: 'border',
          }),
          ops.gridWarp(ops.affineWarp(y, matrix, { mode: 'nearest' }), displacements, { mode: 'nearest' }),
        ]),
      )
    },
  }
}

/** Labels and tables of masks. */
const components = (
  name: string,
  shape: readonly number[],
  mask: () => Float32Array,
  connectivity: ops.Connectivity = 4,
): Case => {
  const pixels = shape.reduce((a, b) => a * b)
  return {
    name: `connectedComponents ${name}`,
    flops: 0,
    bytes: 8 * pixels,
    pixels,
    setup: (d) => {
      const x = d.tensor(mask(), shape)
      const step = d.compile(() => ops.connectedComponents(x, { threshold: 0.5, connectivity }))
      const dispose = () => {
        step.dispose()
        x.dispose()
      }
      return Object.assign(() => void step(), { dispose })
    },
  }
}

/** The hostile masks, 64² to 8192²: time a pixel shows whether the work is linear. */
const masks = (): Case[] =>
  SIDES.flatMap((side) =>
    Object.entries(HOSTILE).map(([name, mask]) => ({
      // Each density of noise with the connectivity whose threshold it is.
      ...components(`${name} ${side}²`, [1, 1, side, side], () => mask(side), name === 'noise 0.407' ? 8 : 4),
      onDemand: true,
    })),
  )

/** What moves pixels about: warps, crops, pastes, components. */
export function geometry(): Case[] {
  const shape = [N, 1, SIDE, SIDE]
  const label = shape.join('×')
  const image = (d: Device) => tensor(d, shape)
  const centers = (d: Device) => d.full([N, 2], 127)
  const boxes = (d: Device) => d.tensor(rows([20, 30, 180, 160]), [N, 4])
  const objects = 64
  const index = (d: Device) =>
    d.tensor(
      Int32Array.from({ length: objects }, (_, i) => i >> 3),
      [objects],
    )
  const size = { height: SIDE, width: SIDE }
  return [
    ...warp(
      `polarWarp ${label}`,
      2 * PIXELS,
      (d) => [image(d), centers(d)],
      (x, c) => ops.polarWarp(x!, c!),
    ),
    ...warp(
      `inversePolarWarp ${label}`,
      2 * PIXELS,
      (d) => [image(d), centers(d)],
      (x, c) => ops.inversePolarWarp(x!, c!, size),
    ),
    ...both(
      `cropResize ${label}`,
      2 * PIXELS,
      (d) => [image(d), boxes(d)],
      (x, b) => ops.cropResize(x!, b!, { size: SIDE }),
    ),
    ...warp(
      `affineWarp ${label}`,
      2 * PIXELS,
      (d) => [image(d), d.tensor(rows([0.95, -0.2, 12, 0.2, 0.95, -7]), [N, 2, 3])],
      (x, m) => ops.affineWarp(x!, m!, { paddingMode: 'border' }),
    ),
    ...warp(
      `gridWarp ${label}`,
      2 * PIXELS,
      (d) => [image(d), d.tensor(floats(N * 2 * 36), [N, 2, 6, 6])],
      (x, g) => ops.gridWarp(x!, g!, { paddingMode: 'border' }),
    ),
    ...warp(
      `gridSample ${label}`,
      4 * PIXELS,
      (d) => [image(d), grid(d)],
      (x, g) => ops.gridSample(x!, g!),
    ),
    augmentation(),
    ...both(
      `interpolate ×2 bilinear ${N}×1×128×128`,
      1.25 * PIXELS,
      (d) => [tensor(d, [N, 1, 128, 128])],
      (x) => ops.interpolate(x!, { size: SIDE, mode: 'bilinear' }),
    ),
    ...both(
      `interpolate ÷2 bilinear ${label}`,
      1.25 * PIXELS,
      (d) => [image(d)],
      (x) => ops.interpolate(x!, { size: SIDE / 2, mode: 'bilinear' }),
    ),
    one(
      `interpolate ×2 nearest ${N}×1×128×128`,
      1.25 * PIXELS,
      (d) => [tensor(d, [N, 1, 128, 128])],
      (x) => ops.interpolate(x!, { size: SIDE }),
    ),
    ...both(
      `pasteBoxes 8 of 128² on ${label}`,
      1.25 * PIXELS,
      (d) => [tensor(d, [N, 1, 128, 128]), boxes(d)],
      (x, b) => ops.pasteBoxes(x!, b!, size),
    ),
    one(
      `pasteBoxes ${objects} of 64² on ${label}`,
      PIXELS + objects * 64 * 64,
      (d) => [
        tensor(d, [objects, 1, 64, 64]),
        d.tensor(Array.from({ length: objects }, (_, i) => [(i % 8) * 28, (i % 5) * 40, 40, 50]).flat(), [
          objects,
          4,
        ]),
        index(d),
      ],
      (x, b, batchIndex) => ops.pasteBoxes(x!, b!, { ...size, batchIndex: batchIndex!, images: N }),
    ),
    ...both(
      `gaussianHeatmap ${label}`,
      PIXELS,
      (d) => [centers(d)],
      (c) => ops.gaussianHeatmap(c!, { size: SIDE, sigma: 8 }),
    ),
    ...both(
      `centerOfMass ${label}`,
      PIXELS,
      (d) => [image(d)],
      (x) => ops.centerOfMass(x!),
    ),
    one(
      `boundingBoxes ${label}`,
      PIXELS,
      (d) => [image(d)],
      (x) => ops.boundingBoxes(x!),
    ),
    one(
      `hysteresisThreshold ${label}`,
      2 * PIXELS,
      (d) => [image(d)],
      (x) => ops.hysteresisThreshold(x!, { low: 0, high: 0.9 }),
    ),
    one(
      `largestComponent ${label}`,
      2 * PIXELS,
      (d) => [image(d)],
      (x) => ops.largestComponent(x!),
    ),
    components(label, shape, () => floats(PIXELS)),
    ...masks(),
  ]
}
