import type { Device } from '../autograd/device.ts'
import type { Module } from '../nn/module.ts'
import { DeepLabV3Plus } from '../nn/networks/deeplab-v3-plus.ts'
import { StackedHourglass } from '../nn/networks/stacked-hourglass.ts'
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

/** The networks that `--network` names: those that give masks. The hourglass gives heatmaps, see `heatmapKindOf`. */
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

/** A network that gives heatmaps of centres. */
export interface HeatmapKind extends NetworkKind {
  /** Pixels of the image a pixel of the heatmap. */
  readonly stride: number
}

/** The networks that `--heatmap-network` names. */
export const HEATMAP_NETWORKS = ['hourglass', 'unet', 'unetplusplus', 'deeplabv3plus'] as const

export type HeatmapNetworkName = (typeof HEATMAP_NETWORKS)[number]

/** What the size of a heatmap network follows from. */
interface HeatmapSettings {
  readonly heatmapNetwork?: HeatmapNetworkName
  readonly stacks?: number
  readonly size: number
}

/** Stacks of the hourglass where no number is given; the thesis takes 8. */
export const STACKS = 2

/** How often an hourglass can halve a quarter of a side, 4 times at most as in the thesis. */
const depthFor = (size: number): number =>
  Math.max(1, [4, 3, 2].find((depth) => size % (4 * 2 ** depth) === 0) ?? 1)

/**
 * The network of heatmaps. The hourglass has eight times the width that a U-Net has at its first level, its stem twice:
 * the thesis's 256 and 64 beside its U-Net's 32.
 */
export function heatmapKindOf({
  heatmapNetwork = 'hourglass',
  stacks = STACKS,
  size,
}: HeatmapSettings): HeatmapKind {
  if (heatmapNetwork !== 'hourglass') return { ...kindOf(heatmapNetwork), stride: 1 }
  return {
    title: 'hourglass',
    network: 'StackedHourglass',
    step: 8,
    stride: 4,
    build: (device, { features, ...rest }) =>
      new StackedHourglass(device, {
        ...rest,
        stacks,
        features: 8 * features,
        stemFeatures: 2 * features,
        depth: depthFor(size),
      }),
  }
}
