import source from '../../kernels/reduce.wgsl'
import { ShapeError } from '../gpu/errors.ts'
import { type Kernel, kernel } from '../gpu/kernel.ts'
import { tunerOf } from '../gpu/tuner.ts'
import type { Device } from './device.ts'
import { Run } from './op.ts'
import { collapse, reducedShape, stridesOf } from './shape.ts'
import { elements, formatShape, type Shape, type Tensor } from './tensor.ts'

const reduce = kernel('reduce', source)
/** The forms of a workgroup a result, without its seven barriers: from when an adapter was opened that has subgroups. */
let reduceSubgroups: Kernel | undefined

export function setSubgroupReduction(source: string): void {
  reduceSubgroups = kernel('reduce_subgroups', source)
}

const FOLDS = {
  sum: { number: 0, start: 0 },
  max: { number: 1, start: Number.NEGATIVE_INFINITY },
  min: { number: 2, start: Number.POSITIVE_INFINITY },
} as const
export type Fold = keyof typeof FOLDS

/** Lanes of a workgroup in kernels/reduce.wgsl and reduce_subgroups.wgsl. */
const LANES = 128

/** How a reduction is walked: kept and reduced axes (innermost first) with their strides, and the kernel's form. */
export interface ReductionPlan {
  readonly form: 'rows' | 'rows_wide' | 'columns' | 'columns_wide' | 'strips_wide'
  readonly kept: readonly { readonly size: number; readonly stride: number }[]
  readonly reduced: readonly { readonly size: number; readonly stride: number }[]
  /** Results, and elements folded into each (vec4s in the wide forms, along the axis that is read wide). */
  readonly outputs: number
  readonly count: number
  /** Runs that the elements of one result are cut into, and their length. */
  readonly splits: number
  readonly run: number
}

/** The plan for reducing `axes` (normalised) of `shape`, on a CPU driver or a GPU. Needs neither. */
export function planReduction(
  op: string,
  shape: Shape,
  axes: readonly number[],
  cpu: boolean,
): ReductionPlan {
  const gone = new Set(axes)
  if (elements(shape) === 0) {
    const outputs = elements(shape.filter((_, k) => !gone.has(k)))
    return { form: 'columns', kept: [], reduced: [], outputs, count: 0, splits: 1, run: 0 }
  }
  const own = stridesOf(shape)
  // Neighbours merge only if both are kept or both reduced: each kind has its own stride array.
  const walk = collapse({
    sizes: shape,
    strides: [own.map((s, k) => (gone.has(k) ? 0 : s)), own.map((s, k) => (gone.has(k) ? s : 0))],
  })
  const inside = walk.sizes
    .map((size, k) => ({ size, keep: walk.strides[0]![k]!, fold: walk.strides[1]![k]! }))
    .reverse()
  const kept = inside.filter((a) => a.keep > 0).map((a) => ({ size: a.size, stride: a.keep }))
  const reduced = inside.filter((a) => a.fold > 0).map((a) => ({ size: a.size, stride: a.fold }))
  if (kept.length > 3 || reduced.length > 3) {
    throw new ShapeError(
      op,
      `axes [${axes.join(', ')}] of ${formatShape(shape)} alternate too often between kept and reduced; permute first`,
    )
  }
  let outputs = elements(kept.map((a) => a.size))
  let count = elements(reduced.map((a) => a.size))
  const innerReduced = inside[0] !== undefined && inside[0].fold > 0
  const rows = innerReduced && count >= 64 && !cpu
  const inner = innerReduced ? reduced : kept
  const wide = inside[0] !== undefined && inside[0].size % 4 === 0 && inner[0]?.stride === 1
  if (wide) {
    inner[0]!.size /= 4
    for (const a of [...kept, ...reduced]) if (a !== inner[0]) a.stride /= 4
    if (innerReduced) count /= 4
    else outputs /= 4
  }
  // A second launch pays if the first has too few workgroups (2,048 or more elements each) or lanes (8 or more,
  // on a CPU driver 64); and no lane adds up more than 4,096 values, for the sake of rounding.
  const most = Math.ceil(count / (rows ? 16 * LANES : cpu ? 64 : 8))
  const useful = Math.ceil((rows || cpu ? 2048 : 16_384) / outputs)
  const splits = Math.max(1, Math.min(most, useful, 2048), rows ? 1 : Math.ceil(count / 4096))
  const run = Math.ceil(count / splits)
  return {
    form: rows
      ? wide
        ? 'rows_wide'
        : 'rows'
      : wide
        ? innerReduced
          ? 'strips_wide'
          : 'columns_wide'
        : 'columns',
    kept,
    reduced,
    outputs,
    count,
    splits: Math.max(1, Math.ceil(count / Math.max(1, run))),
    run,
  }
}

/** Which kernels a reduction takes; by default those that suit the adapter, or that the tuner chose. */
interface ReductionForm {
  readonly cpu: boolean
  readonly subgroups: boolean
}

/** Folds x over `axes` (normalised) and multiplies the result by `scale`. The result is float32. */
export function launchReduction(
  run: Run,
  fold: Fold,
  x: Tensor,
  axes: readonly number[],
  {
    keepDims = false,
    scale = 1,
    cpu,
    subgroups,
  }: { keepDims?: boolean; scale?: number } & Partial<ReductionForm> = {},
): Tensor {
  const y = run.empty(reducedShape(x.shape, axes, keepDims))
  const { adapter } = run.device
  const form =
    cpu === undefined && subgroups === undefined
      ? chosenForm(run.device, fold, x, axes)
      : { cpu: cpu ?? adapter.cpu, subgroups: subgroups ?? adapter.subgroups }
  launchInto(run, fold, x, axes, y, scale, form)
  return y
}

/** The forms that differ for these axes, that of the adapter first; the tuner takes one. */
function chosenForm(
  device: Device,
  fold: Fold,
  { shape, dtype }: Tensor,
  axes: readonly number[],
): ReductionForm {
  const { cpu, subgroups } = device.adapter
  const lanes = { name: 'lanes', cpu: true, subgroups: false }
  const workgroups = { name: 'workgroups', cpu: false, subgroups: false }
  const inSubgroups = subgroups ? [{ name: 'subgroups', cpu: false, subgroups: true }] : []
  const forms = cpu ? [lanes, workgroups, ...inSubgroups] : [...inSubgroups, workgroups, lanes]
  const walks = forms.map((f) => {
    const { form, splits } = planReduction(fold, shape, axes, f.cpu)
    return `${form} ${splits} ${f.subgroups && form.startsWith('rows')}`
  })
  return tunerOf(device).choose({
    key: `${fold} of ${dtype} ${shape.join('x')} over axes ${axes.join(',')}`,
    candidates: forms.filter((_, i) => walks.indexOf(walks[i]!) === i),
    kernelsOf: (f) => [(f.subgroups && reduceSubgroups) || reduce],
    rehearse: () => {
      const outer = new Run(device, 'tune reduction')
      const x = outer.zeros(shape, dtype)
      return {
        run: ({ cpu, subgroups }) => {
          const inner = new Run(device, 'tune reduction')
          launchReduction(inner, fold, x, axes, { cpu, subgroups })
          inner.finish([])
        },
        dispose: () => void outer.finish([]),
      }
    },
  })
}

function launchInto(
  run: Run,
  fold: Fold,
  x: Tensor,
  axes: readonly number[],
  y: Tensor,
  scale: number,
  requested: ReductionForm,
): void {
  if (y.size === 0) return
  const { cpu, subgroups } = requested
  const plan = planReduction(run.op, x.shape, axes, cpu)
  const { form, kept, reduced, outputs, splits } = plan
  const target = splits === 1 ? y : run.empty([splits, y.size])
  const groups = outputs * splits
  const rows = Math.ceil(groups / 65_535)
  run.launch({
    kernel: (subgroups && form.startsWith('rows') && reduceSubgroups) || reduce,
    entry: form,
    bindings: { x, wide_x: x, y: target, wide_y: target },
    overrides: {
      OP: FOLDS[fold].number,
      KEPT: Math.max(1, kept.length),
      REDUCED: Math.max(1, reduced.length),
    },
    params: {
      outputs,
      reduced: plan.count,
      splits,
      run: plan.run,
      start: FOLDS[fold].start,
      scale: splits === 1 ? scale : 1,
      k0: kept[0]?.size ?? 1,
      k1: kept[1]?.size ?? 1,
      p0: kept[0]?.stride ?? 0,
      p1: kept[1]?.stride ?? 0,
      p2: kept[2]?.stride ?? 0,
      r0: reduced[0]?.size ?? 1,
      r1: reduced[1]?.size ?? 1,
      q0: reduced[0]?.stride ?? 0,
      q1: reduced[1]?.stride ?? 0,
      q2: reduced[2]?.stride ?? 0,
    },
    ...(form.startsWith('rows')
      ? { workgroups: [Math.ceil(groups / rows), rows] as const }
      : { threads: groups }),
  })
  if (target !== y) launchInto(run, fold, target, [0], y, scale, requested)
}
