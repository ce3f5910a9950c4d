import type { NetworkName } from '../runs/network-kinds.ts'
import type { Settings } from '../runs/settings.ts'

/** A score by which an experiment is compared. */
export type ScoreName = 'dice' | 'iou' | 'precision' | 'recall' | 'thresholdedJaccard'

export const SCORE_TITLES: Readonly<Record<ScoreName, string>> = {
  dice: 'DSC',
  iou: 'Jaccard',
  precision: 'precision',
  recall: 'recall',
  thresholdedJaccard: 'thresholded Jaccard',
}

/** A data set that an experiment wants a folder for. */
export interface DataSlot {
  /** As `--data KEY=FOLDER` names it. */
  readonly key: string
  /** The thesis's data set, and what may stand for it. */
  readonly title: string
  /** Part of the folder, where it holds several data sets. */
  readonly collection?: string
}

/** What a row of results is in one table of the thesis: a value of 0…1, and its standard deviation where it is given. */
export interface ThesisValue {
  readonly value: number
  readonly sd?: number
}

/** A row of an experiment: a way to segment one data set with one network at one size. */
export interface Row {
  /** Without the size. */
  readonly label: string
  /** Key of the data set that is trained on. */
  readonly data: string
  /** Key of the data set that is scored, whole, where it is another one: out of sample. */
  readonly on?: string
  /** As the registry of methods has it, or will have it. */
  readonly method: string
  /** Key of what the method scores. */
  readonly arm: string
  readonly network: NetworkName
  /** Side of the networks' input, px: the thesis's, or what `--sizes` asks for. */
  readonly size: number
  /** Part of the training images; left out: all. */
  readonly share?: number
  /** What else sets the row apart, in the settings of its runs. */
  readonly variant?: Partial<Omit<Settings, 'method'>>
  readonly thesis: Readonly<Partial<Record<ScoreName, ThesisValue>>>
  /** Milliseconds an image, in a table of times. */
  readonly thesisMs?: number
  /** The row that this one is tested against: the one that differs in this alone. */
  readonly baseline?: Baseline
  /** More rows that it is tested against, named alike. */
  readonly baselines?: readonly Baseline[]
}

/** In what a row's baseline differs from it. */
export type Baseline = Partial<Pick<Row, 'method' | 'arm' | 'variant'>>

export type Figure =
  | 'learning-curves'
  | 'spread'
  | 'violins'
  | 'centre-error'
  | 'share'
  | 'size'
  | 'overlays'
  | 'bland-altman'
  | 'precision-recall'

/** The settings with which the thesis ran it: `--full`. */
export type FullSettings = Pick<Settings, 'features' | 'batch' | 'lr' | 'augment'> & {
  readonly epochs: number
  /** Epochs without a better validation score after which the learning rate falls to a tenth; left out: it stays. */
  readonly plateau?: number
  /** Where a data set was trained otherwise. */
  readonly sets?: TrainingOf
  /** Images a step at inputs of this side, px, where memory allowed no more. */
  readonly batchAt?: Readonly<Record<number, number>>
}

/** What differs by data set, by its key. */
export type TrainingOf = Readonly<
  Record<
    string,
    | Partial<
        Pick<FullSettings, 'epochs' | 'batch' | 'lr'> & Pick<Settings, 'heatmapBatch' | 'validation' | 'test'>
      >
    | undefined
  >
>

/** A table or a figure of the thesis. */
export interface Experiment {
  readonly id: string
  readonly title: string
  /** Of the thesis. */
  readonly section: string
  /** The table whose runs it is drawn from. */
  readonly of?: string
  readonly data: readonly DataSlot[]
  readonly rows: readonly Row[]
  /** The first is the one that rows are tested by. */
  readonly scores: readonly ScoreName[]
  /** The thesis scored polar predictions in polar space: ours beside them are polar, too. */
  readonly polarSpace?: boolean
  /** Arms that stand beside the others for comparison alone: another experiment is about them. */
  readonly references?: readonly string[]
  /** Its rows differ by size: a value of the thesis stands at its own size alone. */
  readonly bySize?: boolean
  readonly figures: readonly Figure[]
  /** It trains perceptrons on points and needs no data: it has no rows of its own here. */
  readonly points?: true
  /** It measures how long its rows take an image, and trains nothing. */
  readonly timed?: true
  /** Folds of the thesis; left out: one split, 80/10/10. */
  readonly folds?: number
  readonly full: FullSettings
}
