/** fovea's table of contents: everything that runs in a browser as it does in Node. */
export { type CompiledStep, Device, type TensorOptions } from './autograd/device.ts'
export { gradcheck } from './autograd/gradcheck.ts'
export { noGrad } from './autograd/no-grad.ts'
export {
  defineOp,
  defineUnaryResult,
  type OpRule,
  type Run,
  registeredOps,
} from './autograd/op.ts'
export * from './autograd/ops/index.ts'
export { splitTiles, type TileGrid, tileGrid } from './autograd/ops/join-tiles.ts'
export { generatorOf, manualSeed, Prng, RandomGenerator } from './autograd/random.ts'
export { recompute } from './autograd/recompute.ts'
export { concatSlots, Slot } from './autograd/slots.ts'
export type { Cotangents } from './autograd/tape.ts'
export { type DType, type Shape, Tensor, type TypedArray } from './autograd/tensor.ts'
export type { Dataset, Sample, SampleData } from './data/dataset.ts'
export { windowHu } from './data/normalize.ts'
export { kFold, shareOf, splitDataset } from './data/split.ts'
export { assertSameGrid, resampleVolume, type Volume } from './data/volume.ts'
export type { MemoryReport } from './gpu/allocator.ts'
export * from './gpu/errors.ts'
export type { AdapterDescription, DebugOptions } from './gpu/gpu.ts'
export { Kernel, kernelAsIs as kernel } from './gpu/kernel.ts'
export { formatProfile, type KernelProfile, type Profile } from './gpu/profile.ts'
export { tune, type VariantTiming } from './gpu/tune.ts'
export { type Question, type Rehearsal, type TuneMode, Tuner, tunerOf, type Variant } from './gpu/tuner.ts'
export type { TunerTable } from './gpu/tuner-table.ts'
export { BatchNorm2d, Conv2d, ConvTranspose2d } from './nn/layers.ts'
export { Module } from './nn/module.ts'
export { DeepLabV3Plus, type DeepLabV3PlusOptions } from './nn/networks/deeplab-v3-plus.ts'
export { ParameterHead, type ParameterHeadOptions } from './nn/networks/parameter-head.ts'
export { StackedHourglass, type StackedHourglassOptions } from './nn/networks/stacked-hourglass.ts'
export { UNet, type UNetOptions } from './nn/networks/unet.ts'
export { UNetPlusPlus, type UNetPlusPlusOptions } from './nn/networks/unet-plus-plus.ts'
export { Adam, type AdamOptions, AdamW } from './nn/optim/adam.ts'
export { clipGradNorm, clipGradValue } from './nn/optim/clip.ts'
export { GradScaler, type GradScalerOptions } from './nn/optim/grad-scaler.ts'
export { Optimizer, type OptimizerState, type StepOptions } from './nn/optim/optimizer.ts'
export {
  cosineSchedule,
  LRScheduler,
  type PlateauOptions,
  polynomialSchedule,
  ReduceLROnPlateau,
  type Schedule,
  stepSchedule,
  warmUp,
} from './nn/optim/schedulers.ts'
export { SGD, type SgdOptions } from './nn/optim/sgd.ts'
export { formatSafetensors, parseSafetensors, type SafeArray } from './nn/safetensors.ts'
export { safetensorsFrom, type TensorRecord, tensorsFromSafetensors } from './nn/state.ts'
export { loadPretrained, type TransferOptions, type TransferReport, transferWeights } from './nn/transfer.ts'
export { exportOnnx, type OnnxOptions } from './onnx/export.ts'
export type { OnnxGraph } from './onnx/graph.ts'
export type { Translate } from './onnx/operators.ts'
export type { Step, Value } from './onnx/trace.ts'
export { type OpenOptions, openDevice } from './open.ts'
export {
  type AugmentOptions,
  CENTRE_AUGMENTATION,
  NO_AUGMENTATION,
  THESIS_AUGMENTATION,
} from './pipelines/augment.ts'
export {
  fillHolesInVolume,
  keepLargestInVolume,
  type VolumeConnectivity,
} from './pipelines/components.ts'
export {
  cropEndToEnd,
  EndToEndCrops,
  type EndToEndOptions,
  type EndToEndResult,
} from './pipelines/end-to-end.ts'
export {
  type Evaluated,
  evaluateCartesian,
  evaluateCrops,
  evaluateEndToEnd,
  evaluatePolar,
  evaluateSeveral,
} from './pipelines/evaluate.ts'
export { normaliseFusion, type SweepPoint, sweepThresholds, weighPolar } from './pipelines/fuse.ts'
export { type HeatmapTaskOptions, heatmapTask } from './pipelines/heatmap-task.ts'
export {
  flipAveraged,
  type Segment,
  type SlidingWindowOptions,
  slidingWindow,
} from './pipelines/inference.ts'
export {
  type LocalisedResult,
  type LocalisedSegmentation,
  segmentLocalised,
} from './pipelines/localise.ts'
export { LocalisedNetwork, type LocalisedNetworkParts } from './pipelines/localised-network.ts'
export { centreScore, diceScore, meanOverStacks, originLoss, originScore } from './pipelines/losses.ts'
export type { EpochMetrics } from './pipelines/metrics.ts'
export { perObject } from './pipelines/per-object.ts'
export { fillHoles, keepLargest } from './pipelines/postprocess.ts'
export type { Precision } from './pipelines/precision.ts'
export { type PredictorLossOptions, predictorLoss } from './pipelines/predictor.ts'
export { type MaskScores, type ScoreMasksOptions, scoreMasks } from './pipelines/score-masks.ts'
export { centreMse, type Scores, scoreMask, summarize, summarizeScores } from './pipelines/scores.ts'
export {
  type SegmentSeveralOptions,
  type SegmentSeveralResult,
  segmentSeveral,
} from './pipelines/segment-several.ts'
export { segmentThenSegment } from './pipelines/segment-then-segment.ts'
export {
  type SurfaceOptions,
  type SurfaceScores,
  type SurfaceSummary,
  summarizeSurfaces,
  surfaceScores,
} from './pipelines/surface.ts'
export {
  cartesianTask,
  cropTask,
  polarTask,
  shrunkenTask,
  type TrainingTask,
  type TransformedTaskOptions,
  transformedTask,
} from './pipelines/tasks.ts'
export {
  type NetworkOutput,
  type Progress,
  type Startup,
  type TrainOptions,
  type TrainResult,
  train,
} from './pipelines/training.ts'
export * from './pipelines/transforms/index.ts'
export { type WeakLabel, type WeakTaskOptions, weakTask } from './pipelines/weak-task.ts'
