import type { Device } from '../../autograd/device.ts'
import type { Sample } from '../../data/dataset.ts'
import type { Module } from '../../nn/module.ts'
import type { Evaluated } from '../../pipelines/evaluate.ts'
import type { TrainingTask } from '../../pipelines/tasks.ts'
import type { NetworkOutput, TrainOptions } from '../../pipelines/training.ts'
import type { NetworkKind } from '../network-kinds.ts'
import type { OriginName, Settings } from '../settings.ts'

/** What a network is trained on, and by which score its best weights are chosen. */
export interface Measure extends Required<Pick<TrainOptions<NetworkOutput>, 'loss' | 'score'>> {
  /** Names them in charts and progress. */
  readonly lossName: string
  readonly scoreName: string
}

/** A network that a method trains. */
export interface NetworkPlan {
  readonly name: string
  readonly title: string
  readonly task: TrainingTask
  /** What is built; left out: the network of the settings. */
  readonly kind?: NetworkKind
  /** Left out: soft Dice loss, DSC. */
  readonly measure?: Measure
  /** Its loss, where that needs the network itself; goes before that of `measure`. */
  readonly lossOf?: (net: Module) => Measure['loss']
  /**
   * Name of an earlier network whose best weights it starts from; of a joint network, the earlier network of each of its
   * parts.
   */
  readonly from?: string | Readonly<Record<string, string>>
  /** How it takes those of one, where the two are not built alike; left out: all, by name. */
  readonly receive?: (net: Module, from: Module) => void
  /** Part of the settings' learning rate; left out: 1. */
  readonly learningRate?: number
  /** Images a step; left out: the settings'. */
  readonly batch?: number
  /** Times the settings' epochs; left out: 1. */
  readonly epochs?: number
  /** The training images as this network sees them, where that differs. */
  readonly trainOf?: (samples: readonly Sample[]) => Promise<readonly Sample[]>
  /** The validation images, likewise. */
  readonly validationOf?: (samples: readonly Sample[]) => readonly Sample[] | Promise<readonly Sample[]>
}

/** Mean scores over images at two thresholds of the fused map: a point of a precision–recall curve. */
export interface ThresholdScores {
  /** t₁ and t₂ of hysteresis thresholding. */
  readonly low: number
  readonly high: number
  readonly precision: number
  readonly recall: number
  readonly dice: number
}

/** What one way of using a method's networks made of the held-out images. */
export interface Scored {
  /** Names the arm in results: `cartesian`, `polar-truth`, `polar-a`, `rough`, `crops`. It never changes. */
  readonly key: string
  /** Names it in tables. */
  readonly label: string
  readonly images: readonly Evaluated[]
  /** The sweep over t₁ and t₂; several objects only. */
  readonly thresholds?: readonly ThresholdScores[]
  /** What was counted in each image, where it is not the area of its mask: EAT pixels. */
  readonly amounts?: {
    readonly title: string
    readonly measured: readonly number[]
    readonly truth: readonly number[]
  }
}

/** Networks by name. */
export type Networks = Readonly<Record<string, Module>>

/** A way to segment: which networks are trained, and what is made of them. A file each, and a line in the index. */
export interface Method {
  readonly title: string
  /** Keys of what `score` gives, in its order. */
  readonly arms: readonly string[]
  /** It sees images in the size of their files; others see them resized to the network's input. */
  readonly fullSize?: boolean
  /** Its networks see images as they are, so that these can go through in tiles; others transform a whole image. */
  readonly tiled?: true
  /** Origins that masks for a user are made with, where the method asks the settings; left out: ['cartesian']. */
  readonly userOrigins?: readonly OriginName[]
  /** Side of the images that it sees, px, where that is not the side of the networks' input. */
  readonly imageSize?: (settings: Settings) => number
  /** Its samples tell which pixels are in this range of intensities. */
  readonly range?: 'fat'
  /** The networks that it trains, in order. */
  readonly networks: (settings: Settings) => NetworkPlan[]
  /** Scores it on held-out images: first its baseline, last what a user gets. The signal ends it by its reason. */
  readonly score: (
    device: Device,
    nets: Networks,
    samples: readonly Sample[],
    settings: Settings,
    signal?: AbortSignal,
  ) => Promise<Scored[]>
}

/** Side of the images that a method sees, px; undefined where each keeps its own size. */
export function imageSizeOf(method: Method, settings: Settings): number | undefined {
  return method.fullSize || settings.slidingWindow
    ? undefined
    : (method.imageSize?.(settings) ?? settings.size)
}
