/** Convolutions by kernels/matmul_lanes.wgsl: of images as they lie, and of patches. Loaded with the CPU drivers' kernels. */
import { patchesForward, patchesInputGrad, patchesWeightGrad, suitsPatches } from './patches.ts'
import { isProduct, productForward, productInputGrad, productWeightGrad } from './pointwise.ts'
import type { ProductPlans } from './variant.ts'

const FORMS = {
  forward: [productForward, patchesForward],
  inputGrad: [productInputGrad, patchesInputGrad],
  weightGrad: [productWeightGrad, patchesWeightGrad],
} as const

export const products: ProductPlans = {
  variants: (part, s, adapter, epilogue) => FORMS[part].map((form) => form(s, adapter, epilogue)),
  best(part, s, adapter) {
    if (isProduct(s, adapter)) return 'product'
    return suitsPatches(part, s, adapter) ? 'patches' : undefined
  },
}
