import type { Device } from '../src/autograd/device.ts'
import { add } from '../src/autograd/ops/add.ts'
import { diceLoss } from '../src/autograd/ops/dice-loss.ts'
import { mseLoss } from '../src/autograd/ops/mse-loss.ts'
import type { Shape, Tensor } from '../src/autograd/tensor.ts'
import type { Module } from '../src/nn/module.ts'
import { DeepLabV3Plus } from '../src/nn/networks/deeplab-v3-plus.ts'
import { StackedHourglass } from '../src/nn/networks/stacked-hourglass.ts'
import { UNet } from '../src/nn/networks/unet.ts'
import { UNetPlusPlus } from '../src/nn/networks/unet-plus-plus.ts'

/** What is asked of a network's constructor. */
export interface BenchSize {
  readonly features: number
  readonly inChannels: number
}

/** A network that the bench can run. */
export interface BenchNetwork {
  /** As tables name it, with its width where it has one. */
  title(size: BenchSize): string
  /** Whether `features` changes it; a network without runs once, whatever widths are asked for. */
  readonly hasWidth: boolean
  /** Sides of the image are multiples of this. */
  readonly multiple: number
  make(device: Device, size: BenchSize): Module
  /** Shape of the target for a batch of images with this side. */
  target(batch: number, side: number): Shape
  /** `results` is what forward gives: one tensor, or one a stack. */
  loss(results: readonly Tensor[], target: Tensor): Tensor
}

/** A segmentation network: probabilities in the size of the image, Dice loss. */
const segmentation = {
  target: (batch: number, side: number): Shape => [batch, 1, side, side],
  loss: ([y]: readonly Tensor[], target: Tensor): Tensor => diceLoss(y!, target),
}

/** Every network that `fovea bench --network` takes: a new one is a line here. */
export const NETWORKS: Readonly<Record<string, BenchNetwork>> = {
  unet: {
    title: ({ features }) => `unet${features}`,
    hasWidth: true,
    multiple: 16,
    make: (device, size) => new UNet(device, size),
    ...segmentation,
  },
  unetplusplus: {
    title: () => 'unet++ (resnet34)',
    hasWidth: false,
    multiple: 32,
    make: (device, { inChannels }) => new UNetPlusPlus(device, { inChannels }),
    ...segmentation,
  },
  deeplabv3plus: {
    title: () => 'deeplabv3+ (resnet34)',
    hasWidth: false,
    multiple: 16,
    make: (device, { inChannels }) => new DeepLabV3Plus(device, { inChannels }),
    ...segmentation,
  },
  hourglass: {
    title: ({ features }) => `hourglass 2×${features}`,
    hasWidth: true,
    multiple: 64,
    make: (device, size) => new StackedHourglass(device, { ...size, stacks: 2 }),
    target: (batch, side) => [batch, 1, side / 4, side / 4],
    loss: (heatmaps, target) => heatmaps.map((y) => mseLoss(y, target)).reduce((sum, each) => add(sum, each)),
  },
}
