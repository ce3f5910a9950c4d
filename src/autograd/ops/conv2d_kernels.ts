import addUp from '../../../kernels/add_up.wgsl'
import planes3x3 from '../../../kernels/conv2d_3x3_planes.wgsl'
import weightGradPlanes3x3 from '../../../kernels/conv2d_3x3_weight_grad_planes.wgsl'
import biasGrad from '../../../kernels/conv2d_bias_grad.wgsl'
import gemm from '../../../kernels/conv2d_gemm.wgsl'
import planes from '../../../kernels/conv2d_planes.wgsl'
import reduce from '../../../kernels/conv2d_reduce.wgsl'
import weightGradDirect from '../../../kernels/conv2d_weight_grad_direct.wgsl'
import weightGradGemm from '../../../kernels/conv2d_weight_grad_gemm.wgsl'
import { inFull, type Kernel, kernel } from '../../gpu/kernel.ts'
import type { ConvAdapter } from '../conv2d/variant.ts'

/**
 * The kernel files that plans of `planConv2d` name, but for those of conv2d_cpu_kernels.ts and conv2d_tuned_kernels.ts,
 * which a page loads when its adapter wants them. A new file needs an import and a line here or there, in the same
 * commit as the plan that names it: test/ops/conv2d-kernels.test.ts.
 */
const sources: Readonly<Record<string, string>> = {
  conv2d_3x3_planes: planes3x3,
  conv2d_3x3_weight_grad_planes: weightGradPlanes3x3,
  conv2d_bias_grad: biasGrad + addUp,
  conv2d_gemm: gemm,
  'conv2d_gemm@sums': inFull(gemm, 'elemY', 'elemY4'),
  conv2d_planes: planes,
  conv2d_reduce: reduce,
  conv2d_weight_grad_direct: weightGradDirect,
  conv2d_weight_grad_gemm: weightGradGemm,
}

const known = new Map<string, Kernel>()

/** Every kernel that may be launched by now, by the name of its file. */
export const convKernels: ReadonlyMap<string, Kernel> = known

export function addConvKernels(texts: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(texts)) if (!known.has(name)) known.set(name, kernel(name, text))
}

addConvKernels(sources)

/** Plans that were loaded with their kernels. */
export const loadedPlans: Pick<ConvAdapter, 'cpuPlans' | 'tuned'> = {}
