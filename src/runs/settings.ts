import { type AugmentOptions, NO_AUGMENTATION, THESIS_AUGMENTATION } from '../pipelines/augment.ts'
import type { Precision } from '../pipelines/precision.ts'
import type { MethodName } from './methods/index.ts'
import type { HeatmapNetworkName, NetworkName } from './network-kinds.ts'

export type OriginName = 'truth' | 'cartesian'

/** What a run is, apart from its data and its adapter; kept in its config.json. */
export interface Settings {
  readonly method: 'auto' | MethodName
  /** Left out: a U-Net. */
  readonly network?: NetworkName
  /** A safetensors file from which each first network takes what fits. */
  readonly pretrained?: string
  /** Side of the networks' input, px. */
  readonly size: number
  readonly features: number
  /** null: from the number of training images, see `epochsFor`. */
  readonly epochs: number | null
  readonly batch: number
  readonly lr: number
  readonly weightDecay: number
  readonly seed: number
  readonly share: number
  /** null: no early stop. */
  readonly patience: number | null
  /** null: the learning rate stays. */
  readonly plateau: number | null
  /** How the learning rate falls over the epochs; with a plateau it is constant between its falls. */
  readonly schedule: 'constant' | 'cosine'
  readonly augment: AugmentationName
  readonly origins: readonly OriginName[]
  /** The second network starts from the weights of the first; null: as the method has it. */
  readonly transfer: boolean | null
  readonly depthChannel: boolean
  /** end-to-end: side of the images that crops are cut from, px; left out: 4 times the networks' input. */
  readonly resolution?: number
  /** end-to-end: part of the learning rate with which both networks are trained together; left out: a tenth. */
  readonly jointRate?: number
  /**
   * end-to-end: the coarse network is also trained on alone, for as many epochs as both together and at their learning
   * rate: a baseline that was trained as long. Left out: it is not.
   */
  readonly longBaseline?: true
  /** end-to-end: left out, 'hard'. */
  readonly box?: 'soft'
  /** Left out: float32. */
  readonly precision?: Precision
  /** Of scoring and predicting alone, never kept with a run: images go through in tiles of this side, px. */
  readonly slidingWindow?: { readonly size: number; readonly overlap: number }
  /** Shares of the groups (patients or images) that are held out. */
  readonly validation: number
  readonly test: number
  /** Of the split alone; left out: the seed. */
  readonly splitSeed?: number
  /** Cross-validation: the test part is fold `index`, from 0, of `of`. Left out: `test` is its share. */
  readonly fold?: { readonly index: number; readonly of: number }
  /** Part of the data set's groups that is used at all, before it is split; left out: 1. */
  readonly dataShare?: number
  /** Part of the groups that is passed over before `dataShare` is taken of all; left out: 0. */
  readonly dataSkip?: number
  /** Left out: the thesis's 0.3. */
  readonly originProbability?: number
  /** several: t₁ and t₂ of the fusion; left out: 0 and 0.4. */
  readonly hysteresis?: { readonly low: number; readonly high: number }
  /** centre-heatmap: the network of heatmaps; left out: an hourglass. */
  readonly heatmapNetwork?: HeatmapNetworkName
  /** centre-heatmap: images a step of the network of heatmaps; left out: as many as of the others. */
  readonly heatmapBatch?: number
  /** Of the hourglass; left out: 2. */
  readonly stacks?: number
  /** Of the Gaussians for images of 256 px a side; left out: 8. */
  readonly sigma?: number
}

/** Images that a network sees in all where no number of epochs is given. */
const IMAGES_SEEN = 900

export function epochsFor(trainImages: number, settings: Settings): number {
  return settings.epochs ?? Math.min(40, Math.max(4, Math.round(IMAGES_SEEN / trainImages)))
}

/** The thesis's augmentations, by the section that has them. */
const AUGMENTATIONS = {
  none: NO_AUGMENTATION,
  /** 4.3.3. */
  thesis: THESIS_AUGMENTATION,
  /** 4.4.1. */
  'thesis-aorta': { ...THESIS_AUGMENTATION, flip: 0.3, grid: 0 },
  /** 5.1.2. */
  'thesis-crops': { ...THESIS_AUGMENTATION, flip: 0.3, rotate: 14, grid: 0 },
  /** 6.4.1. */
  'thesis-depth': { ...THESIS_AUGMENTATION, affine: 0.3, rotate: 45, grid: 0.2 },
} satisfies Record<string, AugmentOptions>

export type AugmentationName = keyof typeof AUGMENTATIONS
export const AUGMENTATION_NAMES = Object.keys(AUGMENTATIONS) as AugmentationName[]

export const augmentationOf = ({ augment }: Settings): AugmentOptions => AUGMENTATIONS[augment]
