import { cartesian } from './cartesian.ts'
import { centreHeatmap } from './centre-heatmap.ts'
import { crops } from './crops.ts'
import { deformation } from './deformation.ts'
import { eat } from './eat.ts'
import { endToEnd } from './end-to-end.ts'
import { headOrigin } from './head-origin.ts'
import { learnedOrigin } from './learned-origin.ts'
import type { Method } from './method.ts'
import { polar } from './polar.ts'
import { several } from './several.ts'
import { weakOrigin } from './weak-origin.ts'

/** The methods that `--method` names. */
export const METHODS = {
  cartesian,
  polar,
  'centre-heatmap': centreHeatmap,
  several,
  crops,
  'end-to-end': endToEnd,
  eat,
  'learned-origin': learnedOrigin,
  'weak-origin': weakOrigin,
  'head-origin': headOrigin,
  deformation,
} as const satisfies Record<string, Method>

export type MethodName = keyof typeof METHODS

export const methodOf = (name: MethodName): Method => METHODS[name]
