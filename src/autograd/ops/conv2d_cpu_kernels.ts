import groups3x3 from '../../../kernels/conv2d_3x3_groups_lanes.wgsl'
import lanes3x3 from '../../../kernels/conv2d_3x3_lanes.wgsl'
import lanes3x3Wide from '../../../kernels/conv2d_3x3_lanes_wide.wgsl'
import tile3x3 from '../../../kernels/conv2d_3x3_tile.wgsl'
import weightGradGroups3x3 from '../../../kernels/conv2d_3x3_weight_grad_groups_lanes.wgsl'
import weightGradLanes3x3 from '../../../kernels/conv2d_3x3_weight_grad_lanes.wgsl'
import weightGradTile3x3 from '../../../kernels/conv2d_3x3_weight_grad_tile.wgsl'
import inputGradDepthwise from '../../../kernels/conv2d_depthwise_input_grad_lanes.wgsl'
import depthwise from '../../../kernels/conv2d_depthwise_lanes.wgsl'
import weightGradDepthwise from '../../../kernels/conv2d_depthwise_weight_grad_lanes.wgsl'
import groups from '../../../kernels/conv2d_groups_lanes.wgsl'
import headGradients from '../../../kernels/conv2d_head_gradients_lanes.wgsl'
import lanes from '../../../kernels/conv2d_lanes.wgsl'
import patches from '../../../kernels/conv2d_patches.wgsl'
import patchesSum from '../../../kernels/conv2d_patches_sum_lanes.wgsl'
import reduceBoth from '../../../kernels/conv2d_reduce_both.wgsl'
import tile from '../../../kernels/conv2d_tile.wgsl'
import weightGradLanes from '../../../kernels/conv2d_weight_grad_lanes.wgsl'
import weightGradTile from '../../../kernels/conv2d_weight_grad_tile.wgsl'
import winograd from '../../../kernels/conv2d_winograd_lanes.wgsl'
import product from '../../../kernels/matmul_lanes.wgsl'
import { dealing } from '../../gpu/deal.ts'
import { inFull } from '../../gpu/kernel.ts'
import { cpuPlans } from '../conv2d/cpu.ts'
import type { Device } from '../device.ts'
import { addConvKernels, loadedPlans } from './conv2d_kernels.ts'

/** The kernels of `batchNormMaxPool2d`, which saves CPU drivers launches: a page on a GPU does without. */
export { default as batchNormPooled } from '../../../kernels/batch_norm_pooled.wgsl'

const FULL = { a: ['elemA', 'elemA4'], b: ['elemB', 'elemB4'], y: ['elemY', 'elemY4'] } as const

/** The forms of the product that plans name, by the letters of what is float32 beside activations in halves. */
const productForms = Object.fromEntries(
  [['a'], ['y'], ['a', 'b'], ['a', 'y'], ['b', 'y']].map((full) => [
    `matmul_lanes@${full.join('')}`,
    inFull(product, ...full.flatMap((operand) => FULL[operand as keyof typeof FULL])),
  ]),
)

/**
 * The convolution kernels that are for CPU drivers alone, and the plans that name them; their files end in `_lanes`,
 * `_lanes_wide`, `_tile` or `_patches`. `openDevice` asks for them on such an adapter, so that a page on a GPU does not load them.
 */
export function addCpuConvKernels(): void {
  loadedPlans.cpuPlans = cpuPlans
  addConvKernels({
    conv2d_3x3_groups_lanes: groups3x3,
    conv2d_3x3_lanes: lanes3x3,
    conv2d_3x3_lanes_wide: lanes3x3Wide,
    conv2d_3x3_tile: tile3x3,
    conv2d_3x3_weight_grad_groups_lanes: weightGradGroups3x3,
    conv2d_3x3_weight_grad_lanes: weightGradLanes3x3,
    conv2d_3x3_weight_grad_tile: weightGradTile3x3,
    conv2d_depthwise_input_grad_lanes: inputGradDepthwise,
    conv2d_depthwise_lanes: depthwise,
    conv2d_depthwise_weight_grad_lanes: weightGradDepthwise,
    conv2d_groups_lanes: groups,
    conv2d_head_gradients_lanes: headGradients,
    conv2d_lanes: lanes,
    conv2d_patches: patches,
    conv2d_patches_sum_lanes: patchesSum,
    conv2d_tile: tile,
    conv2d_weight_grad_lanes: weightGradLanes,
    conv2d_weight_grad_tile: weightGradTile,
    conv2d_reduce_both: reduceBoth,
    conv2d_winograd_lanes: winograd,
    matmul_lanes: product,
    ...productForms,
  })
}

/** … and what else a device on such a driver is given: launches that are dealt out, where subgroups have eight lanes. */
export function addCpuKernels(device: Device): void {
  addCpuConvKernels()
  const { limits, adapterInfo } = device.native
  if (!device.adapter.lanes || adapterInfo?.subgroupMaxSize !== 8) return
  device.deal = dealing(device.allocatePersistent(4, 'deal'), limits.maxStorageBuffersPerShaderStage)
}
