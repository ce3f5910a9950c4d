/** One line of metrics.jsonl. */
export interface EpochMetrics {
  readonly epoch: number
  readonly trainLoss: number
  /** Mean score of the validation images: the DSC, in the space the network works in, unless `train` was given another. */
  readonly validationScore: number
  readonly lr: number
  readonly seconds: number
  readonly imagesPerSecond: number
  /** Of the seconds, those in which training waited for images to be read and decoded. Runs before 0.2 lack it. */
  readonly waitSeconds?: number
}
