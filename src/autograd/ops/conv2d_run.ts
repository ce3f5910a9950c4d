import { FoveaError } from '../../gpu/errors.ts'
import { Storage } from '../../gpu/storage.ts'
import { tunerOf } from '../../gpu/tuner.ts'
import { type ConvPlan, planConv2d } from '../conv2d/plan.ts'
import type { ConvAdapter, ConvBuffer, ConvEpilogue, ConvShape, ConvVariant } from '../conv2d/variant.ts'
import type { Device } from '../device.ts'
import type { Run } from '../op.ts'
import type { Tensor } from '../tensor.ts'
import { convKernels } from './conv2d_kernels.ts'

export type ConvBuffers = Partial<Record<ConvBuffer, Tensor | Storage>>

/** What a plan wants to know of the adapter. */
export function convAdapter({ adapter, native }: Device): ConvAdapter {
  const { cpu, subgroups, maxInvocations, maxWorkgroupStorage } = adapter
  const smallest = subgroups ? native.adapterInfo?.subgroupMinSize : undefined
  return {
    cpu,
    subgroups,
    maxInvocations,
    maxWorkgroupStorage,
    ...(smallest ? { subgroupSize: smallest } : {}),
  }
}

/** How the tuner names one of a plan's four parts for a shape. */
export const convKey = (part: keyof ConvPlan, s: ConvShape): string =>
  `conv2d.${part} ${s.n}x${s.cin}x${s.h}x${s.w} to ${s.cout}x${s.outH}x${s.outW}, kernel ${s.kh}x${s.kw}, ` +
  `stride ${s.strideH}x${s.strideW}, padding ${s.padH}x${s.padW}, dilation ${s.dilationH}x${s.dilationW}, groups ${s.groups}`

/** Multiplications and additions of the convolution, the same for its two transposes. */
export const convFlops = (s: ConvShape): number =>
  2 * s.n * s.outH * s.outW * s.kh * s.kw * s.cout * (s.cin / s.groups)

/** One part of a convolution as an op asked for it. */
export interface ConvRequest {
  readonly part: keyof ConvPlan
  readonly shape: ConvShape
  readonly epilogue: ConvEpilogue
}

const recorders = new WeakMap<Device, Map<string, ConvRequest>>()

/** The different convolutions that `fn` asks for. */
export function recordConvs(device: Device, fn: () => unknown): ConvRequest[] {
  const seen = new Map<string, ConvRequest>()
  recorders.set(device, seen)
  try {
    fn()
  } finally {
    recorders.delete(device)
  }
  return [...seen.values()]
}

/** The variants that compute one part of a convolution on this device. */
export const planOf = (
  device: Device,
  part: keyof ConvPlan,
  shape: ConvShape,
  epilogue: ConvEpilogue,
): ConvVariant[] => planConv2d(shape, convAdapter(device), { [part]: epilogue })[part]

/** Plans one part of a convolution and runs the variant that the tuner chose. */
export function runConv(
  run: Run,
  part: keyof ConvPlan,
  shape: ConvShape,
  epilogue: ConvEpilogue,
  buffers: ConvBuffers,
): void {
  const { device } = run
  const key = convKey(part, shape)
  recorders.get(device)?.set(key, { part, shape, epilogue })
  const target = buffers[part === 'forward' ? 'y' : 'dx']
  const place = target && !(target instanceof Storage) ? target.span : undefined
  const placed = place ? { ...epilogue, offset: place.offset, gap: place.gap } : epilogue
  const variant = tunerOf(device).choose(key, planOf(device, part, shape, placed))
  const flops = part === 'biasGrad' ? shape.n * shape.cout * shape.outH * shape.outW : convFlops(shape)
  runConvVariant(run, variant, buffers, flops)
}

/** Launches a variant's dispatches; `flops` are credited to its busiest one. */
export function runConvVariant(run: Run, variant: ConvVariant, buffers: ConvBuffers, flops: number): void {
  const scratch = new Map<string, Tensor>()
  for (const [name, floats] of Object.entries(variant.scratch)) {
    scratch.set(`scratch:${name}`, run.empty([floats]))
  }
  const resolve = (buffer: ConvBuffer): Tensor | Storage => {
    const found = buffers[buffer] ?? scratch.get(buffer)
    if (!found) throw new FoveaError(`${run.op}: variant ${variant.name} wants an unknown buffer '${buffer}'`)
    return found
  }
  const main = mainDispatch(variant)
  variant.dispatches.forEach(({ file, entry, bindings, params, overrides, workgroups }, i) => {
    const known = convKernels.get(file)
    if (!known) {
      throw new FoveaError(`${run.op}: kernels/${file}.wgsl is not in the table of conv2d_kernels.ts`)
    }
    run.launch({
      kernel: known,
      entry,
      bindings: Object.fromEntries(Object.entries(bindings).map(([k, b]) => [k, resolve(b)])),
      inPlace: Object.keys(bindings).filter((k) => bindings[k] === 'y' || bindings[k] === 'dx'),
      params,
      overrides,
      workgroups,
      flops: i === main ? flops : 0,
    })
  })
}

/** The dispatch that multiplies: not one of those that rearrange before it or add up behind it. */
function mainDispatch({ dispatches }: ConvVariant): number {
  const i = dispatches.findIndex((d) => !/transform|pack|reduce/.test(d.entry))
  return Math.max(0, i)
}
