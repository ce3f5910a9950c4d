import type { Sample } from '../data/dataset.ts'
import { DataError } from '../gpu/errors.ts'
import { summarizeSurfaces } from '../pipelines/surface.ts'
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
  /** Outlines in the same space; distances are null where one of the two masks is empty. Results of before lack them. */
  readonly surface?: {
    readonly unit: 'mm' | 'px'
    readonly hausdorff95: readonly (number | null)[]
    readonly meanSurfaceDistance: readonly (number | null)[]
    readonly boundaryIou: readonly number[]
  }
  /** DSC in polar space against the polar truth. */
  readonly polarDice?: readonly number[]
  /** Distance of the origin from the true centre, px of the networks' input. */
  readonly originError?: readonly number[]
  /** Foreground pixels of prediction and truth. */
  readonly pixels: { readonly measured: readonly number[]; readonly truth: readonly number[] }
  /** Of several objects, a point a pair of t₁ and t₂. */
  readonly thresholds?: NonNullable<Scored['thresholds']>
  /** Over all pixels of all images, a point a threshold of the map. */
  readonly precisionRecall: readonly {
    readonly threshold: number
    readonly precision: number
    readonly recall: number
  }[]
}

/** Thresholds of the precision–recall curve: 0.05, 0.10 … 0.95. */
const STEPS = 20

/** To the five digits that results keep. */
export const rounded = (v: number): number => Math.round(1e5 * v) / 1e5

/**
 * Scores of an arm's images as the results keep them.
 *
 * @param samples the same images in the same order
 */
export async function armOf(
  { key, label, images, amounts, thresholds }: Scored,
  samples: readonly Sample[],
): Promise<ArmResult> {
  const below = { true: new Float64Array(STEPS), false: new Float64Array(STEPS) }
  const scores = Object.fromEntries(SCORE_NAMES.map((name) => [name, [] as number[]])) as Record<
    ScoreName,
    number[]
  >
  const pixels = { measured: [] as number[], truth: [] as number[] }
  for (const [i, e] of images.entries()) {
    const { mask: truth, height, width } = await samples[i]!.load()
    if (e.id !== samples[i]!.id || e.height !== height || e.width !== width)
      throw new DataError(`${e.id}: scored at ${e.width}×${e.height} px, but the image is ${width}×${height}`)
    for (const name of SCORE_NAMES) scores[name].push(rounded(e.scores[name]))
    let [measured, actual] = [0, 0]
    for (let k = 0; k < truth.length; k++) {
      const is = truth[k]! > 0.5
      if (is) actual++
      if (e.prediction[k]! > 0.5) measured++
      below[`${is}`][Math.min(STEPS - 1, Math.floor(e.prediction[k]! * STEPS))]!++
    }
    pixels.measured.push(amounts ? amounts.measured[i]! : measured)
    pixels.truth.push(amounts ? amounts.truth[i]! : actual)
  }
  const distances = (name: 'hausdorff95' | 'meanSurfaceDistance') =>
    images.map(({ scores: { [name]: v } }) => (Number.isFinite(v) ? rounded(v) : null))
  const polar = images.flatMap((e) => (e.polarScores ? [rounded(e.polarScores.dice)] : []))
  const errors = images.flatMap((e) => (e.originError === undefined ? [] : [rounded(e.originError)]))
  return {
    key,
    label,
    ids: images.map((e) => e.id),
    scores,
    surface: {
      unit: summarizeSurfaces(images).unit,
      hausdorff95: distances('hausdorff95'),
      meanSurfaceDistance: distances('meanSurfaceDistance'),
      boundaryIou: images.map((e) => rounded(e.scores.boundaryIou)),
    },
    ...(polar.length > 0 ? { polarDice: polar } : {}),
    ...(errors.length > 0 ? { originError: errors } : {}),
    pixels,
    ...(thresholds ? { thresholds } : {}),
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
