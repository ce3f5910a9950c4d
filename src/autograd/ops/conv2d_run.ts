import { FoveaError } from '../../gpu/errors.ts'
import type { Storage } from '../../gpu/storage.ts'
import { tunerOf } from '../../gpu/tuner.ts'
import { type ConvPlan, planConv2d } from '../conv2d/plan.ts'
import type { ConvAdapter, ConvBuffer, ConvEpilogue, ConvShape, ConvVariant } from '../conv2d/variant.ts'
import type { Device } from '../device.ts'
import type { Run } from '../op.ts'
import { Tensor } from '../tensor.ts'
import { convKernels } from './conv2d_kernels.ts'

export type ConvBuffers = Partial<Record<ConvBuffer, Tensor | Storage>>

/** What a plan wants to know of the adapter. */
export function convAdapter({ adapter, native }: Device): ConvAdapter {
  const { cpu, maxInvocations, maxWorkgroupStorage } = adapter
  const subgroups = adapter.subgroups && convKernels.has('conv2d_lanes')
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
export const convKey = (part: keyof ConvPlan, s: ConvShape, half = false): string =>
  `conv2d.${part}${half ? ' in float16' : ''} ${s.n}x${s.cin}x${s.h}x${s.w} to ${s.cout}x${s.outH}x${s.outW}, kernel ${s.kh}x${s.kw}, ` +
  `stride ${s.strideH}x${s.strideW}, padding ${s.padH}x${s.padW}, dilation ${s.dilationH}x${s.dilationW}, groups ${s.groups}`

/** Multiplications and additions of the convolution, the same for its two transposes. */
export const convFlops = (s: ConvShape): number =>
  2 * s.n * s.outH * s.outW * s.kh * s.kw * s.cout * (s.cin / s.groups)

/** One part of a convolution as an op asked for it. */
export interface ConvRequest {
  readonly part: keyof ConvPlan
  readonly shape: ConvShape
  readonly epilogue: ConvEpilogue
  /** Its activations are float16. */
  readonly half: boolean
}

/** The arrays that may be float16; weights, biases, their gradients and partial sums are float32. */
export const ACTIVATIONS: ReadonlySet<ConvBuffer> = new Set(['x', 'y', 'dy', 'dx'])

/** Whether all kernels of a variant have a form for activations in float16. */
export const hasHalfForm = ({ dispatches }: ConvVariant): boolean =>
  dispatches.every(({ file, entry, bindings }) =>
    convKernels
      .get(file)
      ?.entry(entry)
      .bindings.every((b) => b.access === 'uniform' || b.elem === ACTIVATIONS.has(bindings[b.name]!)),
  )

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
export function planOf(device: Device, { part, shape, epilogue, half }: ConvRequest): ConvVariant[] {
  const variants = planConv2d(shape, convAdapter(device), { [part]: epilogue })[part]
  return half ? variants.filter(hasHalfForm) : variants
}

/** Plans one part of a convolution and runs the variant that the tuner chose. */
export function runConv(
  run: Run,
  part: keyof ConvPlan,
  shape: ConvShape,
  epilogue: ConvEpilogue,
  buffers: ConvBuffers,
): void {
  const { device } = run
  const half = Object.values(buffers).some((b) => b instanceof Tensor && b.dtype === 'float16')
  const key = convKey(part, shape, half)
  const request = { part, shape, epilogue, half }
  recorders.get(device)?.set(key, request)
  const variant = tunerOf(device).choose(key, planOf(device, request))
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
