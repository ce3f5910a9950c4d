import { cartesian } from './cartesian.ts'
import { centreHeatmap } from './centre-heatmap.ts'
import { crops } from './crops.ts'
import { eat } from './eat.ts'
import { endToEnd } from './end-to-end.ts'
import type { Method } from './method.ts'
import { polar } from './polar.ts'
import { several } from './several.ts'

/** The methods that `--method` names. */
export const METHODS = {
  cartesian,
  polar,
  'centre-heatmap': centreHeatmap,
  several,
  crops,
  'end-to-end': endToEnd,
  eat,
} as const satisfies Record<string, Method>

export type MethodName = keyof typeof METHODS

export const methodOf = (name: MethodName): Method => METHODS[name]
