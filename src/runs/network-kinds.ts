import type { Device } from '../autograd/device.ts'
import type { Module } from '../nn/module.ts'
import { DeepLabV3Plus } from '../nn/networks/deeplab-v3-plus.ts'
import { UNet } from '../nn/networks/unet.ts'
import { UNetPlusPlus } from '../nn/networks/unet-plus-plus.ts'

interface Options {
  readonly inChannels: number
  readonly features: number
  readonly seed: number
}

export interface NetworkKind {
  readonly title: string
  /** Its class, as a run's config.json names it. */
  readonly network: string
  /** Sides of its input are multiples of this, px. */
  readonly step: number
  readonly build: (device: Device, options: Options) => Module
}

const RESNET34 = [3, 4, 6, 3] as const

/** The networks that `--network` names: those that give masks. (The hourglass gives heatmaps of centres.) */
export const NETWORK_KINDS = {
  unet: { title: 'U-Net', network: 'UNet', step: 16, build: (device, options) => new UNet(device, options) },
  unetplusplus: {
    title: 'Res-U-Net++',
    network: 'UNetPlusPlus',
    step: 32,
    build: (device, { features, ...rest }) =>
      new UNetPlusPlus(device, { ...rest, encoder: { blocks: RESNET34, features } }),
  },
  deeplabv3plus: {
    title: 'DeepLabV3+',
    network: 'DeepLabV3Plus',
    step: 16,
    build: (device, { features, ...rest }) =>
      new DeepLabV3Plus(device, { ...rest, encoder: { blocks: RESNET34, features } }),
  },
} as const satisfies Record<string, NetworkKind>

export type NetworkName = keyof typeof NETWORK_KINDS

/** What `--network` names; runs made before there was a choice have a U-Net. */
export const kindOf = (network: NetworkName = 'unet'): NetworkKind => NETWORK_KINDS[network]
