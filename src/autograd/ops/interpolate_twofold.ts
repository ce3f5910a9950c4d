import source from '../../../kernels/interpolate_twofold.wgsl'
import { kernel } from '../../gpu/kernel.ts'
import type { Run } from '../op.ts'
import type { Tensor } from '../tensor.ts'
import { places, ROWS_ON_CPU } from './window.ts'

const twofold = kernel('interpolate_twofold', source)

/** Entry points of the kernel: operations a pixel of the smaller array, and rows of it that a GPU's invocation takes. */
const ENTRIES = {
  halve: { flops: 4, rows: 1 },
  repeat: { flops: 0, rows: 1 },
  // Rows share what they read.
  enlarge: { flops: 18, rows: 4 },
  enlarge_grad: { flops: 20, rows: 4 },
} as const

/** One direction of a resizing by two: an entry point and its factor. */
interface Way {
  readonly entry: keyof typeof ENTRIES
  readonly scale: number
}

/** A resizing by two that has kernels of its own. Sizes are those of the smaller of both arrays. */
export interface Twofold {
  readonly planes: number
  readonly channels: number
  readonly h: number
  readonly w: number
  readonly forward: Way
  readonly backward: Way
}

/** The numbers of a resizing that tell whether it is one by two. */
interface Sizes {
  readonly planes: number
  readonly channels: number
  readonly h: number
  readonly w: number
  readonly outH: number
  readonly outW: number
  readonly nearest: number
  /** Of kernels/interpolate.wgsl: 2·outH of a bilinear one whose corners are not aligned. */
  readonly dH: number
}

/** The kernel's `over` is exact for quotients below this: rows of all planes. */
const MOST_ROWS = 2 ** 22

/**
 * A resizing as one by two, if it is one: both sides doubled (nearest, or bilinear without aligned corners) or halved
 * (bilinear), the smaller array's rows in whole vec4s.
 */
export function twofoldOf({ planes, channels, h, w, outH, outW, nearest, dH }: Sizes): Twofold | undefined {
  const smaller = { planes, channels, h: Math.min(h, outH), w: Math.min(w, outW) }
  const aligned = !nearest && dH !== 2 * outH
  if (smaller.w % 4 !== 0 || planes * smaller.h >= MOST_ROWS || aligned) return undefined
  if (outH === 2 * h && outW === 2 * w) {
    return nearest
      ? { ...smaller, forward: { entry: 'repeat', scale: 1 }, backward: { entry: 'halve', scale: 1 } }
      : { ...smaller, forward: { entry: 'enlarge', scale: 1 }, backward: { entry: 'enlarge_grad', scale: 1 } }
  }
  if (h === 2 * outH && w === 2 * outW && !nearest)
    return {
      ...smaller,
      forward: { entry: 'halve', scale: 0.25 },
      backward: { entry: 'repeat', scale: 0.25 },
    }
  return undefined
}

/** Invocations on CPU drivers at least, for up to eight cores, before one takes several rows. */
const INVOCATIONS = 2 ** 11

/**
 * Resizes `from` into `to`, in the forward or the backward direction: (…, h, w) on one side, (…, 2h, 2w) on the other, each
 * dense or channels of a larger array.
 *
 * @param arrays.adds to what `to` holds, instead of overwriting it
 */
export function launchTwofold(
  run: Run,
  { planes, channels, h, w }: Twofold,
  { entry, scale }: Way,
  arrays: { readonly from: Tensor; readonly to: Tensor; readonly adds?: boolean },
): void {
  const { from, to, adds = false } = arrays
  const { flops, rows: rowsOnGpu } = ENTRIES[entry]
  const across = w / 4
  const enough = Math.max(1, Math.floor((planes * h * across) / INVOCATIONS))
  const rows = Math.min(h, run.device.adapter.cpu ? Math.min(ROWS_ON_CPU, enough) : rowsOnGpu)
  run.launch({
    kernel: twofold,
    entry,
    bindings: { x4: from, y4: to },
    inPlace: ['x4', 'y4'],
    params: {
      planes,
      h,
      w,
      channels,
      ...places(from.span, to.span),
      rows,
      scale,
    },
    overrides: { ADDS: adds ? 1 : 0 },
    threads: planes * Math.ceil(h / rows) * across,
    flops: flops * planes * h * w,
  })
}
