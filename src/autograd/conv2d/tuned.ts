/** What GPUs take only where a tuner has measured it to be faster: loaded with its kernels. CPU drivers have some of it as defaults. */
import { directForward, directInputGrad } from './direct.ts'
import { gemmTiles, weightGradTiles } from './gemm-tiles.ts'
import { planesWeightGrad } from './planes-weight-grad.ts'
import type { ConvForm, ConvPart, TunedPlans } from './variant.ts'
import { winogradPlans } from './winograd.ts'

const OTHERS: Readonly<Record<ConvPart, ConvForm>> = {
  forward: directForward,
  inputGrad: directInputGrad,
  // Of CPU drivers' own plans, too.
  weightGrad: (s, adapter, epilogue) => (adapter.cpu ? undefined : planesWeightGrad(s, adapter, epilogue)),
}

export const tunedPlans: TunedPlans = {
  best: winogradPlans.best,
  variants: (part, ...rest) => [...winogradPlans.variants(part, ...rest), OTHERS[part](...rest)],
  tiles: (part, ...rest) => (part === 'weightGrad' ? weightGradTiles : gemmTiles)(...rest),
}
