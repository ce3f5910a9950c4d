import { FoveaError } from '../../gpu/errors.ts'
import type { Kernel } from '../../gpu/kernel.ts'
import type { Storage } from '../../gpu/storage.ts'
import { type Rehearsal, tunerOf } from '../../gpu/tuner.ts'
import { addInto } from '../accumulate.ts'
import { type ConvPlan, planConv2d } from '../conv2d/plan.ts'
import type {
  ConvAdapter,
  ConvBuffer,
  ConvDispatch,
  ConvEpilogue,
  ConvShape,
  ConvVariant,
} from '../conv2d/variant.ts'
import type { Device } from '../device.ts'
import { copyTensor } from '../move.ts'
import { Run } from '../op.ts'
import { type Span, Tensor } from '../tensor.ts'
import { convKernels, loadedPlans } from './conv2d_kernels.ts'

export type ConvBuffers = Partial<Record<ConvBuffer, Tensor | Storage>>

/** What a plan wants to know of the adapter; `half`: for activations in float16. */
export function convAdapter({ adapter, matrices }: Device, half = false): ConvAdapter {
  const { cpu, lanes, maxInvocations, maxWorkgroupStorage } = adapter
  return {
    cpu,
    subgroups: adapter.subgroups && convKernels.has('conv2d_lanes'),
    lanes,
    maxInvocations,
    maxWorkgroupStorage,
    half,
    matrices: matrices?.[half ? 'float16' : 'float32'],
    ...loadedPlans,
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
interface ConvRequest {
  readonly part: keyof ConvPlan
  readonly shape: ConvShape
  readonly epilogue: ConvEpilogue
  /** Its activations are float16. */
  readonly half: boolean
}

/** The arrays that may be float16; weights, biases, their gradients and partial sums are float32. */
export const ACTIVATIONS: ReadonlySet<ConvBuffer> = new Set(['x', 'y', 'dy', 'dx'])

/** Whether all kernels of a variant are there: a page loads some of them only where they may be chosen. */
const isLoaded = ({ dispatches }: ConvVariant): boolean =>
  dispatches.every(({ file }) => convKernels.has(file))

/** The variants that compute one part of a convolution on this device. */
function planOf(device: Device, { part, shape, epilogue, half }: ConvRequest): ConvVariant[] {
  return planConv2d(shape, convAdapter(device, half), { [part]: epilogue })[part].filter(isLoaded)
}

/** Elements of every tensor that a convolution and its gradients touch. */
const sizes = (s: ConvShape): Record<Exclude<ConvBuffer, `scratch:${string}`>, number> => {
  const image = s.n * s.cin * s.h * s.w
  const result = s.n * s.cout * s.outH * s.outW
  const weight = s.cout * (s.cin / s.groups) * s.kh * s.kw
  const bias = Math.max(s.cin, s.cout)
  return { x: image, dx: image, y: result, dy: result, weight, dw: weight, bias, db: bias }
}

/** Tensors of zeros for all of them, to time variants on. */
function rehearse(device: Device, shape: ConvShape, half: boolean): Rehearsal<ConvVariant> {
  const run = new Run(device, 'tune conv2d')
  const buffers: Record<string, Tensor> = {}
  for (const [name, count] of Object.entries(sizes(shape))) {
    buffers[name] = run.zeros([count], half && ACTIVATIONS.has(name as ConvBuffer) ? 'float16' : 'float32')
  }
  return {
    run: (variant) => {
      const inner = new Run(device, 'tune conv2d')
      runConvVariant(inner, variant, buffers, 0)
      inner.finish([])
    },
    dispose: () => run.finish([]),
  }
}

const inHalf = (buffers: ConvBuffers): boolean =>
  Object.values(buffers).some((b) => b instanceof Tensor && b.dtype === 'float16')

/** The variant that the tuner chose. */
function choose({ device, op }: Run, request: ConvRequest): ConvVariant {
  const { part, shape, half } = request
  return tunerOf(device).choose<ConvVariant>({
    key: convKey(part, shape, half),
    candidates: planOf(device, request),
    kernelsOf: ({ dispatches }) => dispatches.map((d) => kernelOf(op, d.file)),
    rehearse: () => rehearse(device, shape, half),
  })
}

/** Plans one part of a convolution and runs the variant that the tuner chose, which is returned. */
export function runConv(
  run: Run,
  part: keyof ConvPlan,
  shape: ConvShape,
  epilogue: ConvEpilogue,
  buffers: ConvBuffers,
): ConvVariant {
  const { device } = run
  const half = inHalf(buffers)
  const request = { part, shape, epilogue, half }
  const chosen = choose(run, request)
  const flops = part === 'biasGrad' ? shape.n * shape.cout * shape.outH * shape.outW : convFlops(shape)
  const [from, to] = ENDS[part]
  const output = buffers[to]
  const read = spanFor(chosen, from, buffers[from], 'sourceOffset')
  const written = spanFor(chosen, to, output, 'offset')
  const placed: ConvEpilogue = {
    ...epilogue,
    ...(read && { sourceOffset: read.offset, sourceGap: read.gap }),
    ...(written && { offset: written.offset, gap: written.gap }),
  }
  const replanned = (epilogue: ConvEpilogue) =>
    planOf(device, { ...request, epilogue }).find((v) => v.name === chosen.name)!
  if (written || !(output instanceof Tensor && output.channels)) {
    runConvVariant(run, read || written ? replanned(placed) : chosen, buffers, flops)
    return chosen
  }
  const dense = run.empty(output.shape, output.dtype)
  runConvVariant(run, replanned({ ...placed, accumulate: false }), { ...buffers, [to]: dense }, flops)
  if (epilogue.accumulate) addInto(output, dense)
  else copyTensor(run, dense, output)
  return chosen
}

/** Runs both gradients in the launches that they share, where the variants that the tuner chose have such a form. */
export function runTogether(
  run: Run,
  shape: ConvShape,
  { inputGrad, weightGrad }: { inputGrad: ConvEpilogue; weightGrad: ConvEpilogue },
  buffers: ConvBuffers,
): ConvVariant | undefined {
  const { device } = run
  const { dx } = buffers
  const half = inHalf(buffers)
  const nameOf = (part: 'inputGrad' | 'weightGrad', epilogue: ConvEpilogue) =>
    choose(run, { part, shape, epilogue, half }).name
  const names = [nameOf('inputGrad', inputGrad), nameOf('weightGrad', weightGrad)] as const
  const { offset, gap } = dx instanceof Tensor ? dx.span : { offset: 0, gap: 0 }
  const epilogues = { inputGrad: { ...inputGrad, offset, gap }, weightGrad }
  const variant = loadedPlans.cpuPlans?.gradients(shape, convAdapter(device, half), names, epilogues)
  if (variant) runConvVariant(run, variant, buffers, convFlops(shape))
  return variant
}

/** What a part reads that may be channels of a larger array, and what it writes. */
const ENDS: Record<keyof ConvPlan, readonly [ConvBuffer, ConvBuffer]> = {
  forward: ['x', 'y'],
  inputGrad: ['dy', 'dx'],
  weightGrad: ['x', 'dw'],
  biasGrad: ['dy', 'db'],
}

/** True if a variant finds channels of a larger array where it reads or writes `buffer`: its plan says where they lie. */
export const findsChannels = (
  { dispatches }: ConvVariant,
  buffer: ConvBuffer,
  param: 'offset' | 'sourceOffset',
): boolean =>
  dispatches.every(({ bindings, params }) => !Object.values(bindings).includes(buffer) || param in params)

/** Where a tensor lies, if it is channels of a larger array and the variant finds them; else it is copied. */
const spanFor = (
  variant: ConvVariant,
  buffer: ConvBuffer,
  t: Tensor | Storage | undefined,
  param: 'offset' | 'sourceOffset',
): Span | undefined =>
  t instanceof Tensor && t.channels && findsChannels(variant, buffer, param) ? t.span : undefined

function kernelOf(op: string, file: string): Kernel {
  const known = convKernels.get(file)
  if (!known) throw new FoveaError(`${op}: kernels/${file}.wgsl is not in the table of conv2d_kernels.ts`)
  return known
}

/** Launches a variant's dispatches; `flops` are credited to each that multiplies: not what rearranges or adds up. */
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
  variant.dispatches.forEach(({ file, entry, bindings, params, overrides, workgroups }) => {
    run.launch({
      kernel: kernelOf(run.op, file),
      entry,
      bindings: Object.fromEntries(Object.entries(bindings).map(([k, b]) => [k, resolve(b)])),
      inPlace: Object.keys(bindings).filter((k) => isInPlace(bindings[k]!, bindings, params)),
      params,
      overrides,
      workgroups,
      flops: /transform|patches|reduce/.test(entry) ? 0 : flops,
    })
  })
}

/**
 * Outputs always: who runs a variant has seen to it that it finds them. Of what is read only the source, dy where there
 * is no x, and if the plan says where it lies.
 */
function isInPlace(
  buffer: ConvBuffer,
  bindings: ConvDispatch['bindings'],
  params: ConvDispatch['params'],
): boolean {
  if (buffer === 'y' || buffer === 'dx') return true
  const source = Object.values(bindings).includes('x') ? 'x' : 'dy'
  return buffer === source && 'sourceOffset' in params
}
