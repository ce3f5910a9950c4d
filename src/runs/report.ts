import type { RawSample, Sample } from '../data/dataset.ts'
import { resizeImage } from '../data/resize.ts'
import { formatBytes } from '../gpu/bytes.ts'
import { overlayPng, writeReport } from '../node/report.ts'
import type { Evaluated } from '../pipelines/evaluate.ts'
import { agreementChart } from '../report/agreement.ts'
import { precisionRecall, trainingCurves } from '../report/plots.ts'
import type { Report } from '../report/report.ts'
import type { Scored } from './methods/method.ts'
import { kindOf } from './network-kinds.ts'
import type { TrainedNetwork } from './networks.ts'
import { type DataResult, scoreTables } from './results.ts'
import type { Settings } from './settings.ts'

/** Longest side of a picture in the report, px. */
const PICTURE = 320

/** An image with its truth and a prediction outlined, at the size of its file or smaller. */
async function pictureOf(sample: Sample, evaluated: Evaluated): Promise<Uint8Array> {
  const { prediction, height, width } = evaluated
  const { image, mask, instances } = await originalOf(sample)
  const [channels, h, w] = image.shape
  const scale = Math.min(1, PICTURE / Math.max(h, w))
  const size = [Math.round(h * scale), Math.round(w * scale)] as const
  const truth = evaluated.truth
    ? resizeImage(evaluated.truth, [1, height, width], size)
    : resizeImage(mask ?? Float32Array.from(instances!, (v) => (v > 0 ? 1 : 0)), [1, h, w], size)
  return overlayPng(
    { image: resizeImage(image.data, image.shape, size), channels, height: size[0], width: size[1] },
    truth,
    resizeImage(prediction, [1, height, width], size),
    { minSide: PICTURE },
  )
}

/** What a sample was before it became a network's input; else that input, a scan's slice in its window. */
async function originalOf(sample: Sample): Promise<RawSample> {
  if (sample.original) return sample.original()
  const { image, mask, channels, height, width } = await sample.load()
  return { image: { data: image, shape: [channels, height, width], max: 1 }, mask }
}

/** The best with a mask (of an image rightly left empty there is nothing to see), the median and the worst by DSC. */
export async function casesOf({ plan }: DataResult, { label, images }: Scored) {
  const sorted = [...images].sort((a, b) => b.scores.dice - a.scores.dice)
  const picks = [
    ['best', sorted.find(({ prediction }) => prediction.some((v) => v > 0.5)) ?? sorted[0]!],
    ['median', sorted[Math.floor((sorted.length - 1) / 2)]!],
    ['worst', sorted.at(-1)!],
  ] as const
  const samples = new Map(plan.test.map((s) => [s.id, s]))
  const figures = await Promise.all(
    picks.map(async ([which, e]) => ({
      which,
      caption: `${which}: ${e.id}, DSC ${e.scores.dice.toFixed(3)}`,
      png: await pictureOf(samples.get(e.id)!, e),
    })),
  )
  return { title: `${plan.name}: ${label}`, figures }
}

/** How one network was trained, in a few words. */
function trainingOf({ title, history, bestEpoch, seconds, from }: TrainedNetwork): string {
  const names = typeof from === 'object' ? Object.values(from).join(' and ') : from
  return `${title} ${history.length} epochs in ${Math.round(seconds)} s, best ${bestEpoch}${names ? `, begun from ${names}` : ''}`
}

/** What the networks that were trained by this call held on the GPU. */
function memoryOf(results: readonly DataResult[]): [string, string][] {
  const each = results.flatMap(({ plan, networks }) =>
    networks.flatMap(({ title, memory }) =>
      memory ? [`${plan.name}, ${title}: ${formatBytes(memory.peak)}`] : [],
    ),
  )
  return each.length > 0 ? [['GPU memory', each.join('; ')]] : []
}

function factsOf(results: readonly DataResult[], settings: Settings, seconds: number): [string, string][] {
  const { network, size, features, batch, lr, schedule, seed, augment } = settings
  const losses = new Set(results.flatMap((r) => r.networks.map((n) => n.lossName)))
  return [
    ...results.map(({ plan, networks }): [string, string] => [
      plan.name,
      `${plan.dataset.samples.length} images: ${plan.train.length} training, ${plan.validation.length} validation, ` +
        `${plan.test.length} held out; method ${plan.method}; ${networks.map(trainingOf).join(', ')}`,
    ]),
    ['Networks', `${kindOf(network).title}, ${features} features, input ${size}×${size} px`],
    [
      'Training',
      `Adam, learning rate ${lr} (${schedule}), batch ${batch}, ${[...losses].join(', ')}, augmentation ${augment}`,
    ],
    ['Seed', String(seed)],
    ...memoryOf(results),
    ['Time', `${Math.round(seconds)} s for the last call of fovea train`],
  ]
}

const curvesOf = ({ plan, networks }: DataResult) =>
  trainingCurves(
    plan.name,
    networks.map(({ title, lossName, scoreName, history }) => ({
      ...{ title, lossName, scoreName },
      loss: history.map((m) => m.trainLoss),
      validation: history.map((m) => m.validationScore),
    })),
  )

/** Precision against recall where a method has thresholds: a line a t₁, along it t₂. */
async function thresholdCharts({ plan, scored }: DataResult) {
  const curves = scored.flatMap(({ label, thresholds }) => (thresholds ? [{ label, thresholds }] : []))
  return Promise.all(
    curves.map(async ({ label, thresholds }) => ({
      title: `${plan.name}: ${label}, precision and recall`,
      caption: 'A line for each t₁, along it t₂ from 0 to 0.9; mean over the held-out images.',
      svg: await precisionRecall(
        [...new Set(thresholds.map((p) => p.low))].map((low) => ({
          name: `t₁ = ${low}`,
          points: thresholds.filter((p) => p.low === low),
        })),
      ),
    })),
  )
}

/** Bland and Altman's plot where a method counts something. */
function agreementCharts({ plan, scored }: DataResult) {
  const counted = scored.flatMap(({ label, amounts }) =>
    amounts && amounts.truth.length > 1 ? [{ label, amounts }] : [],
  )
  return Promise.all(
    counted.map(({ label, amounts: { title, measured, truth } }) =>
      agreementChart(`${plan.name}: ${label}, agreement`, measured, truth, title),
    ),
  )
}

/** Writes the one page that shows a run. */
export async function writeRunReport(
  path: string,
  run: { adapter: string; seconds: number; settings: Settings; results: readonly DataResult[] },
): Promise<void> {
  const { adapter, seconds, settings, results } = run
  const overlays: Awaited<ReturnType<typeof casesOf>>[] = []
  for (const result of results)
    for (const scored of result.scored) overlays.push(await casesOf(result, scored))
  const names = results.map((r) => r.plan.name).join(', ')
  const report: Report = {
    title: `fovea: ${names}`,
    summary:
      'Segmentation networks trained and scored on held-out images. Scores of small samples and short trainings show that the software works; they are no basis to judge a method, nor for diagnosis.',
    adapter,
    facts: factsOf(results, settings, seconds),
    tables: results.flatMap(scoreTables),
    curves: results.flatMap(curvesOf),
    charts: (
      await Promise.all(results.flatMap((result) => [thresholdCharts(result), agreementCharts(result)]))
    ).flat(),
    distributions: results.map(({ plan, scored }) => ({
      title: `${plan.name}: DSC of the held-out images`,
      xLabel: 'DSC in Cartesian space',
      groups: scored.map(({ label, images }) => ({ name: label, values: images.map((e) => e.scores.dice) })),
    })),
    overlays,
  }
  await writeReport(path, report)
}
