import addUp from '../../kernels/add_up.wgsl'
import { type Kernel, kernel } from './kernel.ts'

/** The forms of `add_up` by subgroups, from when an adapter was opened that has them. */
interface SubgroupSums {
  /** kernels/add_up_subgroups.wgsl. */
  readonly addUp: string
  /** kernels/add_up_lanes.wgsl. */
  readonly addUpInLanes: string
}
let subgroupSums: SubgroupSums | undefined

export function setSubgroupSums(texts: SubgroupSums): void {
  subgroupSums = texts
}

/** A kernel in the form for an adapter. */
export type KernelFor = (adapter: {
  readonly cpu: boolean
  readonly subgroups: boolean
  readonly lanes: boolean
}) => Kernel

/**
 * Declares a kernel whose workgroups sum over their lanes by `add_up`: of kernels/add_up.wgsl, or by subgroups of
 * add_up_subgroups.wgsl on GPUs. On CPU drivers give it eight lanes (override `WG`), which sum without subgroups; with
 * `eightOnCpu`, for kernels that are never launched otherwise there, by add_up_lanes.wgsl where eight lanes lie in one.
 */
export function summing(name: string, source: string, eightOnCpu = false): KernelFor {
  const plain = kernel(name, source + addUp)
  const forms = new Map<string, Kernel>()
  return ({ cpu, subgroups, lanes }) => {
    if (!subgroups || !subgroupSums || (cpu && !(lanes && eightOnCpu))) return plain
    const text = cpu ? subgroupSums.addUpInLanes : subgroupSums.addUp
    const known = forms.get(text)
    if (known) return known
    const made = kernel(cpu ? name : `${name}_subgroups`, `enable subgroups; ${source + text}`)
    forms.set(text, made)
    return made
  }
}
