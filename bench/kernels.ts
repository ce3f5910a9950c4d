import type { Device } from '../src/autograd/device.ts'
import * as ops from '../src/autograd/ops/index.ts'
import type { Tensor } from '../src/autograd/tensor.ts'
import { tune as tuneOn } from '../src/gpu/tune.ts'
import { backward, type Case, forward, tensor } from './case.ts'
import type { Ceiling } from './ceiling.ts'
import { floorOf } from './floors.ts'
import { geometry } from './geometry.ts'
import { type Timing, time } from './measure.ts'

/** One kernel on one shape. */
export interface KernelRow extends Timing {
  readonly name: string
  readonly gflops: number
  readonly gbs: number
  /** Its floor at the measured ceilings divided by its least time. */
  readonly share: number
  /** Where a case counts pixels. */
  readonly nsPerPixel: number | undefined
}

/** Convolutions of a U-Net with 16 features on 4×1×64². */
const CONVOLUTIONS = [
  [1, 16, 64], [16, 16, 64], [16, 32, 32], [32, 32, 32], [32, 64, 16], [64, 64, 16], [64, 128, 8], [128, 128, 8],
  [128, 256, 4], [256, 256, 4], [256, 128, 8], [128, 64, 16], [64, 32, 32], [32, 16, 64], [32, 32, 64],
] as const // biome-ignore format: a table

/** Convolutions of a U-Net with 32 features on 8×3×256², which keep a graphics processor busy. */
const LARGE = [
  [32, 32, 256], [64, 64, 128], [128, 128, 64], [256, 256, 32], [512, 512, 16], [64, 32, 256], [1024, 512, 16],
] as const // biome-ignore format: a table

type Layer = readonly [cin: number, cout: number, side: number]

function convolutions(n: number, layers: readonly Layer[]): Case[] {
  return layers.flatMap(([cin, cout, side]): Case[] => {
    const flops = 2 * n * side * side * cin * cout * 9
    const bytes = 4 * (n * side * side * (cin + cout) + cin * cout * 9)
    const shape = `${n}×${cin}→${cout}×${side}²`
    const inputs = (d: Device) => [tensor(d, [n, cin, side, side]), tensor(d, [cout, cin, 3, 3])]
    const f = (x: Tensor, w: Tensor) => ops.conv2d(x, w, { padding: 1 })
    return [
      { name: `conv2d 3×3 ${shape}`, flops, bytes, setup: (d) => forward(d, inputs(d), f as never) },
      {
        name: `conv2d 3×3 and gradients ${shape}`,
        flops: 3 * flops,
        bytes: 3 * bytes,
        setup: (d) => backward(d, inputs(d), f as never),
      },
    ]
  })
}

/** Convolutions with kernels of their own: n, cin, side, cout, window, stride, padding, dilation, groups. */
const SPECIAL = [
  ['3×3 depthwise', 1, 64, 32, 64, 3, 1, 1, 1, 64], ['3×3 depthwise dilation 2', 1, 64, 32, 64, 3, 1, 2, 2, 64],
  ['3×3 depthwise stride 2', 1, 64, 32, 64, 3, 2, 1, 1, 64], ['7×7 depthwise', 1, 64, 32, 64, 7, 1, 3, 1, 64],
  ['5×5 depthwise stride 2', 4, 32, 64, 32, 5, 2, 2, 1, 32], ['3×3 groups of 4 stride 2', 4, 32, 32, 32, 3, 2, 1, 1, 8],
  ['5×5 groups of 4', 4, 32, 32, 32, 5, 1, 2, 1, 8], ['1×1 groups of 32', 4, 128, 16, 128, 1, 1, 0, 1, 4],
  ['3×3 groups of 4', 4, 32, 32, 32, 3, 1, 1, 1, 8], ['1×1', 4, 64, 32, 64, 1, 1, 0, 1, 1],
  ['1×1', 4, 256, 8, 256, 1, 1, 0, 1, 1], ['1×1', 4, 16, 64, 1, 1, 1, 0, 1, 1], ['3×3', 4, 16, 64, 1, 3, 1, 1, 1, 1],
  ['7×7 stride 2', 1, 3, 128, 64, 7, 2, 3, 1, 1], ['3×3', 4, 128, 16, 128, 3, 1, 1, 1, 1],
  ['3×3', 4, 256, 16, 256, 3, 1, 1, 1, 1], ['3×3', 4, 64, 64, 64, 3, 1, 1, 1, 1],
  ['3×3 dilation 2', 4, 256, 16, 256, 3, 1, 2, 2, 1],
] as const // biome-ignore format: a table

function special(): Case[] {
  return SPECIAL.flatMap(([what, n, cin, side, cout, window, stride, padding, dilation, groups]): Case[] => {
    const out = Math.floor((side + 2 * padding - dilation * (window - 1) - 1) / stride) + 1
    const weights = (cout * cin * window ** 2) / groups
    const flops = 2 * n * out * out * weights
    const bytes = 4 * (n * (side * side * cin + out * out * cout) + weights)
    const name = `${what} ${n}×${cin}→${cout}×${side}²`
    const inputs = (d: Device) => [
      tensor(d, [n, cin, side, side]),
      tensor(d, [cout, cin / groups, window, window]),
    ]
    const f = (x: Tensor, w: Tensor) => ops.conv2d(x, w, { stride, padding, dilation, groups })
    return [
      { name: `conv2d ${name}`, flops, bytes, setup: (d) => forward(d, inputs(d), f as never) },
      {
        name: `conv2d and gradients ${name}`,
        flops: 3 * flops,
        bytes: 3 * bytes,
        setup: (d) => backward(d, inputs(d), f as never),
      },
    ]
  })
}

function others(): Case[] {
  const image = [4, 16, 64, 64]
  const n = 4 * 16 * 64 * 64
  const unary = (
    name: string,
    shape: readonly number[],
    size: number,
    f: (x: Tensor) => Tensor,
    flops = size,
    traffic = 2,
  ): Case => ({
    name: `${name} ${shape.join('×')}`,
    flops,
    bytes: 4 * traffic * size,
    setup: (d) => forward(d, [tensor(d, shape)], f),
  })
  return [
    {
      name: 'matmul 512×512×512',
      flops: 2 * 512 ** 3,
      bytes: 3 * 4 * 512 ** 2,
      setup: (d) => forward(d, [tensor(d, [512, 512]), tensor(d, [512, 512])], ops.matmul as never),
    },
    {
      name: 'convTranspose2d 2×2 stride 2 4×64→32×32²',
      flops: 2 * 4 * 64 * 32 * 32 * 32 * 4,
      bytes: 4 * (4 * 32 * 32 * 64 + 4 * 64 * 64 * 32),
      setup: (d) =>
        forward(d, [tensor(d, [4, 64, 32, 32]), tensor(d, [64, 32, 2, 2])], ((x: Tensor, w: Tensor) =>
          ops.convTranspose2d(x, w, { stride: 2 })) as never),
    },
    unary('relu', image, n, ops.relu),
    unary('sigmoid', image, n, ops.sigmoid, 4 * n),
    unary('softmax', image, n, (x) => ops.softmax(x, { axis: 1 }), 5 * n),
    unary('sum', image, n, (x) => ops.sum(x), n, 1),
    unary('maxPool2d 2×2', image, n, (x) => ops.maxPool2d(x, { kernelSize: 2 }), n, 1.25),
    unary(
      'interpolate ×2 bilinear',
      image,
      n,
      (x) => ops.interpolate(x, { size: [128, 128], mode: 'bilinear' }),
      8 * n,
      5,
    ),
    {
      name: 'batchNorm training 4×16×64×64',
      flops: 8 * n,
      bytes: 4 * 3 * n,
      setup: (d) => {
        const stat = (v: number) => d.parameter(new Float32Array(16).fill(v), [16], { requiresGrad: false })
        const norm = {
          weight: stat(1),
          bias: stat(0),
          runningMean: stat(0),
          runningVar: stat(1),
          training: true,
        }
        return forward(d, [tensor(d, image)], (x) => ops.batchNorm(x, norm))
      },
    },
  ]
}

const cases = (large: boolean): Case[] => [
  ...convolutions(4, CONVOLUTIONS),
  ...(large ? convolutions(8, LARGE) : []),
  ...special(),
  ...others(),
  ...geometry(),
]

/** Names of all kernels that the bench times. */
export const kernelNames = (large = false): string[] => cases(large).map((c) => c.name)

/** Kernels whose name contains `only`; `large` adds those for graphics processors. */
export const casesNamed = (only: string, large: boolean): Case[] =>
  cases(large).filter((k) => k.name.includes(only) && (only !== '' || !k.onDemand))

/**
 * Times every kernel over the shapes that the networks use. `only` keeps names that contain it; with `tune`
 * the fastest variant of each convolution is found first; `large` adds those for graphics processors.
 */
export async function benchKernels(
  device: Device,
  ceiling: Ceiling,
  { only = '', tune = false, large = false, onRow = (_: KernelRow) => {} } = {},
): Promise<KernelRow[]> {
  const rows: KernelRow[] = []
  for (const c of casesNamed(only, large)) {
    if (tune) {
      const untuned = c.setup(device)
      await tuneOn(device, untuned)
      untuned.dispose?.()
    }
    // Its tensors live as long as the call that uses them: until the garbage collector takes both.
    const call = c.setup(device)
    const timing = await time(device, call, { budgetMs: 250 })
    call.dispose?.()
    const [gflops, gbs] = [c.flops / timing.min / 1e6, c.bytes / timing.min / 1e6]
    const row = {
      name: c.name,
      ...timing,
      gflops,
      gbs,
      share: floorOf(c, ceiling) / timing.min,
      nsPerPixel: c.pixels && (1e6 * timing.min) / c.pixels,
    }
    rows.push(row)
    onRow(row)
  }
  return rows
}
