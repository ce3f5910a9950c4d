import direct from '../../../kernels/conv2d_direct.wgsl'
import inputGradDirect from '../../../kernels/conv2d_input_grad_direct.wgsl'
import weightGradPlanes from '../../../kernels/conv2d_weight_grad_planes.wgsl'
import winograd from '../../../kernels/conv2d_winograd.wgsl'
import product from '../../../kernels/matmul.wgsl'
import { tunedPlans } from '../conv2d/tuned.ts'
import { addConvKernels, loadedPlans } from './conv2d_kernels.ts'

/** What measurements on known adapters chose between these and the others. */
export { TUNER_DEFAULTS } from '../../gpu/tuner-defaults.ts'

/**
 * The convolution kernels that GPUs take only where a tuner has measured them to be faster. `openDevice` asks for them
 * where it may choose what was measured, and on CPU drivers, for which some of them are defaults.
 */
export function addTunedConvKernels(): void {
  loadedPlans.tuned = tunedPlans
  addConvKernels({
    conv2d_direct: direct,
    conv2d_input_grad_direct: inputGradDirect,
    conv2d_weight_grad_planes: weightGradPlanes,
    conv2d_winograd: winograd,
    matmul: product,
  })
}
