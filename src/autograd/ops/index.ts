/** Every op, one line each: the table of contents of the autograd. */

export type { ArgumentOptions } from '../argument.ts'
export type { LossOptions } from '../loss.ts'
export { abs } from './abs.ts'
export { type AddOptions, add } from './add.ts'
export { type AffineWarpOptions, affineWarp } from './affine-warp.ts'
export { argmax } from './argmax.ts'
export { argmax2d } from './argmax2d.ts'
export { argmin } from './argmin.ts'
export {
  type AdaptiveAvgPool2dOptions,
  type AvgPool2dOptions,
  adaptiveAvgPool2d,
  avgPool2d,
} from './avg-pool2d.ts'
export { type BatchNormOptions, batchNorm, batchNormMaxPool2d } from './batch-norm.ts'
export { bceWithLogits } from './bce-with-logits.ts'
export { type BoundingBoxesOptions, boundingBoxes, type SquareBoxesOptions, squareBoxes } from './boxes.ts'
export { cast } from './cast.ts'
export { centerOfMass } from './center-of-mass.ts'
export { type ChannelsOptions, channels } from './channels.ts'
export { clamp } from './clamp.ts'
export { eq, ge, gt, le, logicalAnd, logicalNot, logicalOr, lt, ne } from './comparison.ts'
export { concat, stack } from './concat.ts'
export {
  type ComponentOptions,
  type Components,
  type ConnectedComponentsOptions,
  connectedComponents,
} from './connected-components.ts'
export { type ConvTranspose2dOptions, convTranspose2d } from './conv-transpose2d.ts'
export { type Conv2dOptions, conv2d } from './conv2d.ts'
export { type CropResizeOptions, cropResize } from './crop-resize.ts'
export { diceLoss } from './dice-loss.ts'
export { div } from './div.ts'
export { type DropoutOptions, dropout } from './dropout.ts'
export { exp } from './exp.ts'
export { type FusePolarOptions, fusePolar } from './fuse-polar.ts'
export { type GaussianHeatmapOptions, gaussianHeatmap } from './gaussian-heatmap.ts'
export { type GridSampleOptions, gridSample } from './grid-sample.ts'
export { type GridWarpOptions, gridWarp } from './grid-warp.ts'
export { type HysteresisOptions, hysteresisThreshold } from './hysteresis-threshold.ts'
export { type InterpolateOptions, interpolate } from './interpolate.ts'
export { joinTiles } from './join-tiles.ts'
export { log } from './log.ts'
export { type MatmulForm, matmul } from './matmul.ts'
export { max } from './max.ts'
export { type MaxPool2dOptions, maxPool2d } from './max-pool2d.ts'
export { maximum } from './maximum.ts'
export { mean } from './mean.ts'
export { min } from './min.ts'
export { minimum } from './minimum.ts'
export { mseLoss } from './mse-loss.ts'
export { mul } from './mul.ts'
export { neg } from './neg.ts'
export { type PadOptions, pad } from './pad.ts'
export { type PasteBoxesOptions, pasteBoxes } from './paste-boxes.ts'
export { permute, transpose } from './permute.ts'
export {
  type InversePolarWarpOptions,
  inversePolarWarp,
  type PolarLayout,
  type PolarWarpOptions,
  polarWarp,
} from './polar-warp.ts'
export { pow, square } from './pow.ts'
export { relu } from './relu.ts'
export { flatten, reshape, squeeze, unsqueeze } from './reshape.ts'
export { componentContaining, largestComponent } from './select-component.ts'
export { sigmoid } from './sigmoid.ts'
export { type SliceOptions, slice } from './slice.ts'
export { softmax } from './softmax.ts'
export { sqrt } from './sqrt.ts'
export { sub } from './sub.ts'
export { type ReduceOptions, sum } from './sum.ts'
export { tanh } from './tanh.ts'
export type { Connectivity } from './union_find.ts'
export type { PaddingMode, SampleMode } from './warp.ts'
export { where } from './where.ts'
