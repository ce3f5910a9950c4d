import type { Sample } from '../data/dataset.ts'
import { DataError } from '../gpu/errors.ts'
import { scoreMask } from '../pipelines/scores.ts'
import type { Scored } from '../runs/methods/method.ts'
import { SCORE_TITLES, type ScoreName } from './experiment.ts'

export const SCORE_NAMES = Object.keys(SCORE_TITLES) as ScoreName[]

/** Scores of every held-out image by one arm, a column a score, to five digits. */
export interface ArmResult {
  readonly key: string
  readonly label: string
  readonly ids: readonly string[]
  /** In the space of the images. */
  readonly scores: Readonly<Record<ScoreName, readonly number[]>>
  /** DSC in polar space against the polar truth. */
  readonly polarDice?: readonly number[]
  /** Distance of the origin from the true centre, px of the networks' input. */
  readonly originError?: readonly number[]
  /** Foreground pixels of prediction and truth. */
  readonly pixels: { readonly measured: readonly number[]; readonly truth: readonly number[] }
  /** Over all pixels of all images, a point a threshold of the map. */
  readonly precisionRecall: readonly {
    readonly threshold: number
    readonly precision: number
    readonly recall: number
  }[]
}

/** Over this a pixel of a windowed slice lies within the window; the normalisation takes 0.1 from [0, 1]. */
const WINDOW = -0.1 + 0.5 / 255

/** Thresholds of the precision–recall curve: 0.05, 0.10 … 0.95. */
const STEPS = 20

const rounded = (v: number): number => Math.round(1e5 * v) / 1e5

/** The key of an arm whose scores count only what lies in the image's window. */
export const windowKey = (arm: string): string => `${arm}@window`

/**
 * Scores of an arm's images as the results keep them.
 *
 * @param samples the same images in the same order
 * @param options `inWindow`: only pixels whose intensity lies in the window of the image's first channel count
 */
export async function armOf(
  { key, label, images, amounts }: Scored,
  samples: readonly Sample[],
  { inWindow = false } = {},
): Promise<ArmResult> {
  const below = { true: new Float64Array(STEPS), false: new Float64Array(STEPS) }
  const scores = Object.fromEntries(SCORE_NAMES.map((name) => [name, [] as number[]])) as Record<
    ScoreName,
    number[]
  >
  const pixels = { measured: [] as number[], truth: [] as number[] }
  for (const [i, e] of images.entries()) {
    const { image, mask, height, width } = await samples[i]!.load()
    if (e.id !== samples[i]!.id || e.height !== height || e.width !== width)
      throw new DataError(`${e.id}: scored at ${e.width}×${e.height} px, but the image is ${width}×${height}`)
    const kept = (v: number, k: number): number => (inWindow && !(image[k]! > WINDOW) ? 0 : v)
    const [prediction, truth] = [e.prediction.map(kept), mask.map(kept)]
    const own = inWindow ? scoreMask(prediction, truth) : e.scores
    for (const name of SCORE_NAMES) scores[name].push(rounded(own[name]))
    let [measured, actual] = [0, 0]
    for (let k = 0; k < truth.length; k++) {
      const is = truth[k]! > 0.5
      if (is) actual++
      if (prediction[k]! > 0.5) measured++
      below[`${is}`][Math.min(STEPS - 1, Math.floor(prediction[k]! * STEPS))]!++
    }
    pixels.measured.push(amounts && !inWindow ? amounts.measured[i]! : measured)
    pixels.truth.push(amounts && !inWindow ? amounts.truth[i]! : actual)
  }
  const polar = images.flatMap((e) => (e.polarScores ? [rounded(e.polarScores.dice)] : []))
  const errors = images.flatMap((e) => (e.originError === undefined ? [] : [rounded(e.originError)]))
  return {
    key: inWindow ? windowKey(key) : key,
    label: inWindow ? `${label}, in the window` : label,
    ids: images.map((e) => e.id),
    scores,
    ...(polar.length > 0 && !inWindow ? { polarDice: polar } : {}),
    ...(errors.length > 0 && !inWindow ? { originError: errors } : {}),
    pixels,
    precisionRecall: curveOf(below.true, below.false),
  }
}

/** From histograms of the map over true and over other pixels. */
function curveOf(inside: Float64Array, outside: Float64Array): ArmResult['precisionRecall'] {
  const total = inside.reduce((sum, n) => sum + n, 0)
  return Array.from({ length: STEPS - 1 }, (_, i) => {
    const from = i + 1
    const hit = inside.subarray(from).reduce((sum, n) => sum + n, 0)
    const wrong = outside.subarray(from).reduce((sum, n) => sum + n, 0)
    return {
      threshold: rounded(from / STEPS),
      precision: rounded(hit + wrong === 0 ? 1 : hit / (hit + wrong)),
      recall: rounded(total === 0 ? 1 : hit / total),
    }
  })
}
