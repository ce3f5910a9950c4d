/** The variants of a convolution whose kernels are for CPU drivers alone. Loaded with those kernels. */
import { isPointwise } from './correlation.ts'
import { lanes3x3, lanes3x3WeightGrad, tile3x3, tile3x3WeightGrad } from './dense3x3.ts'
import {
  depthwiseForward,
  depthwiseInputGrad,
  depthwiseWeightGrad,
  groupsWeightGrad,
  suitsDepthwise,
} from './depthwise.ts'
import {
  groups3x3Forward,
  groups3x3InputGrad,
  groups3x3WeightGrad,
  groupsForward,
  groupsInputGrad,
  suitsGroups,
  suitsGroups3x3,
} from './groups.ts'
import { headGradients } from './head-gradients.ts'
import { lanesForward, lanesInputGrad, lanesWeightGrad } from './lanes.ts'
import { patchesForward, patchesInputGrad, patchesWeightGrad, suitsPatches } from './patches.ts'
import { planesWeightGrad } from './planes-weight-grad.ts'
import { isProduct, productForward, productInputGrad, productWeightGrad } from './pointwise.ts'
import { tileForward, tileInputGrad, tileWeightGrad } from './tile.ts'
import type { ConvForm, ConvPart, CpuPlans } from './variant.ts'
import { forward3x3, inputGrad3x3 } from './window3x3.ts'
import { winogradGradients } from './winograd-gradients.ts'

const FORMS: Readonly<Record<ConvPart, readonly ConvForm[]>> = {
  forward: [
    (s, ...rest) => lanes3x3(forward3x3(s), ...rest),
    productForward,
    lanesForward,
    patchesForward,
    (s, _, epilogue) => tile3x3(forward3x3(s), epilogue),
    (s, _, epilogue) => tileForward(s, epilogue),
    groups3x3Forward,
    groupsForward,
    depthwiseForward,
  ],
  inputGrad: [
    (s, ...rest) => lanes3x3(inputGrad3x3(s), ...rest),
    productInputGrad,
    lanesInputGrad,
    patchesInputGrad,
    (s, _, epilogue) => tile3x3(inputGrad3x3(s), epilogue),
    (s, _, epilogue) => tileInputGrad(s, epilogue),
    groups3x3InputGrad,
    groupsInputGrad,
    depthwiseInputGrad,
  ],
  weightGrad: [
    lanes3x3WeightGrad,
    productWeightGrad,
    lanesWeightGrad,
    patchesWeightGrad,
    (s, _, epilogue) => tile3x3WeightGrad(s, epilogue),
    (s, _, epilogue) => tileWeightGrad(s, epilogue),
    groups3x3WeightGrad,
    groupsWeightGrad,
    depthwiseWeightGrad,
    planesWeightGrad,
  ],
}

export const cpuPlans: CpuPlans = {
  variants: (part, s, adapter, epilogue) =>
    adapter.cpu ? FORMS[part].map((form) => form(s, adapter, epilogue)) : [],
  best(part, s, adapter) {
    if (isProduct(s, adapter)) return 'product'
    // A 1×1 head; the short sums of few pixels are faster by lanes.
    const few = Math.min(s.cin, s.cout) <= 2
    if (part === 'weightGrad' && isPointwise(s) && few && s.n * s.h * s.w >= 4096) return 'planes'
    const depthwise = suitsDepthwise(part, s, adapter)
    if (depthwise) return depthwise
    if (suitsGroups3x3(part, s, adapter)) return 'groups3x3'
    if (suitsGroups(part, s, adapter)) return 'groups'
    return suitsPatches(part, s, adapter) ? 'patches' : undefined
  },
  gradients: (...rest) => winogradGradients(...rest) ?? headGradients(...rest),
}
