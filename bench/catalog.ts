import type { Device } from '../src/autograd/device.ts'
import { diceLoss } from '../src/autograd/ops/dice-loss.ts'
import type { Shape, Tensor } from '../src/autograd/tensor.ts'
import type { Module } from '../src/nn/module.ts'
import { UNet } from '../src/nn/networks/unet.ts'

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

/** Every network that `fovea bench --network` takes: a new one is a line here. */
export const NETWORKS: Readonly<Record<string, BenchNetwork>> = {
  unet: {
    title: ({ features }) => `unet${features}`,
    hasWidth: true,
    multiple: 16,
    make: (device, size) => new UNet(device, size),
    target: (batch, side) => [batch, 1, side, side],
    loss: ([y], target) => diceLoss(y!, target),
  },
}
