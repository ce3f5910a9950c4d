import addUp from '../../kernels/add_up.wgsl'
import { type Kernel, kernel } from './kernel.ts'

/** kernels/add_up_subgroups.wgsl, from when an adapter was opened that has subgroups. */
let addUpInSubgroups: string | undefined

export function setSubgroupSums(text: string): void {
  addUpInSubgroups = text
}

/** A kernel in the form for an adapter. */
export type KernelFor = (adapter: { readonly cpu: boolean; readonly subgroups: boolean }) => Kernel

/**
 * Declares a kernel whose workgroups sum over their lanes by `add_up`: of kernels/add_up.wgsl, or of add_up_subgroups.wgsl
 * on GPUs with subgroups. On CPU drivers give it eight lanes (override `WG`), which sum without subgroups.
 */
export function summing(name: string, source: string): KernelFor {
  const plain = kernel(name, source + addUp)
  let inSubgroups: Kernel | undefined
  return ({ cpu, subgroups }) => {
    if (cpu || !subgroups || !addUpInSubgroups) return plain
    inSubgroups ??= kernel(`${name}_subgroups`, `enable subgroups; ${source + addUpInSubgroups}`)
    return inSubgroups
  }
}
