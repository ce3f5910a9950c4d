import lanes3x3 from '../../../kernels/conv2d_3x3_lanes.wgsl'
import weightGradLanes3x3 from '../../../kernels/conv2d_3x3_weight_grad_lanes.wgsl'
import lanes from '../../../kernels/conv2d_lanes.wgsl'
import weightGradLanes from '../../../kernels/conv2d_weight_grad_lanes.wgsl'
import lanesProduct from '../../../kernels/matmul_lanes.wgsl'
import { kernel } from '../../gpu/kernel.ts'
import { convKernels } from './conv2d_kernels.ts'

const sources: Readonly<Record<string, string>> = {
  conv2d_3x3_lanes: lanes3x3,
  conv2d_3x3_weight_grad_lanes: weightGradLanes3x3,
  conv2d_lanes: lanes,
  conv2d_weight_grad_lanes: weightGradLanes,
  matmul_lanes: lanesProduct,
}

/**
 * Adds the kernels for CPU drivers with subgroups of eight, lavapipe that is: in Node. Browsers bring SwiftShader,
 * whose subgroups have four lanes, so a web page is spared 9 kB of text that it cannot run.
 */
export function addLaneKernels(): void {
  for (const [name, source] of Object.entries(sources))
    if (!convKernels.has(name)) convKernels.set(name, kernel(name, source))
}
