export { affineTransform, rescaleTransform, translateTransform } from './affine.ts'
export { composeTransforms } from './compose.ts'
export { cropTransform } from './crop.ts'
export { type DeformationOptions, deformationTransform, fieldRoughness } from './deformation.ts'
export {
  boxOfMap,
  brightestOfMap,
  centreOfMap,
  joinParameters,
  type ParameterFunction,
  scaleToFill,
  softArgmaxOfMap,
  softBoxOfMap,
  softCentreOfMap,
  windowOfMap,
} from './parameters.ts'
export { type PolarOptions, polarTransform } from './polar.ts'
export type { ImageSize, Transform } from './transform.ts'
export { windowTransform } from './window.ts'
