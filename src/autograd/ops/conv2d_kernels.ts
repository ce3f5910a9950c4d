import planes3x3 from '../../../kernels/conv2d_3x3_planes.wgsl'
import tile3x3 from '../../../kernels/conv2d_3x3_tile.wgsl'
import weightGradPlanes3x3 from '../../../kernels/conv2d_3x3_weight_grad_planes.wgsl'
import weightGradTile3x3 from '../../../kernels/conv2d_3x3_weight_grad_tile.wgsl'
import biasGrad from '../../../kernels/conv2d_bias_grad.wgsl'
import direct from '../../../kernels/conv2d_direct.wgsl'
import gemm from '../../../kernels/conv2d_gemm.wgsl'
import inputGradDirect from '../../../kernels/conv2d_input_grad_direct.wgsl'
import planes from '../../../kernels/conv2d_planes.wgsl'
import reduce from '../../../kernels/conv2d_reduce.wgsl'
import tile from '../../../kernels/conv2d_tile.wgsl'
import weightGradDirect from '../../../kernels/conv2d_weight_grad_direct.wgsl'
import weightGradGemm from '../../../kernels/conv2d_weight_grad_gemm.wgsl'
import weightGradTile from '../../../kernels/conv2d_weight_grad_tile.wgsl'
import winograd from '../../../kernels/conv2d_winograd.wgsl'
import tilesProduct from '../../../kernels/matmul.wgsl'
import { type Kernel, kernel } from '../../gpu/kernel.ts'

/**
 * The kernel files that plans of `planConv2d` name. A new file needs an import and a line here, in the same
 * commit as the plan that names it: test/ops/conv2d-kernels.test.ts.
 */
const sources: Readonly<Record<string, string>> = {
  conv2d_3x3_planes: planes3x3,
  conv2d_3x3_tile: tile3x3,
  conv2d_3x3_weight_grad_planes: weightGradPlanes3x3,
  conv2d_3x3_weight_grad_tile: weightGradTile3x3,
  conv2d_bias_grad: biasGrad,
  conv2d_direct: direct,
  conv2d_gemm: gemm,
  conv2d_input_grad_direct: inputGradDirect,
  conv2d_planes: planes,
  conv2d_reduce: reduce,
  conv2d_tile: tile,
  conv2d_weight_grad_direct: weightGradDirect,
  conv2d_weight_grad_gemm: weightGradGemm,
  conv2d_weight_grad_tile: weightGradTile,
  conv2d_winograd: winograd,
  matmul: tilesProduct,
}

/** By file name. Those for CPU drivers with subgroups of eight are added in Node (lane_kernels.ts). */
export const convKernels: Map<string, Kernel> = new Map(
  Object.entries(sources).map(([name, source]) => [name, kernel(name, source)]),
)
