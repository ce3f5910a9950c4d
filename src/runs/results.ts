import { type Scores, type Summary, summarize, summarizeScores } from '../pipelines/scores.ts'
import { blandAltman, meanOf, pearson } from '../pipelines/statistics.ts'
import { type SurfaceSummary, summarizeSurfaces } from '../pipelines/surface.ts'
import type { Scored } from './methods/method.ts'
import type { TrainedNetwork } from './networks.ts'
import type { DataPlan } from './plan.ts'

/** What a run found on one data set. */
export interface DataResult {
  readonly plan: DataPlan
  readonly networks: readonly TrainedNetwork[]
  readonly scored: readonly Scored[]
}

type Summaries = Record<keyof Scores, Summary>

/** One method's line: scores of the masks in the images' own space, and in polar space where there is one. */
export interface MethodSummary {
  readonly key: string
  readonly label: string
  readonly cartesian: Summaries
  /** The same over patients or scans, each the mean over its slices; where images are slices of them. */
  readonly byPatient?: Summaries
  /** Outlines in the same space. */
  readonly surface: SurfaceSummary
  readonly polar?: Summaries
  /** Distance of the origins from the true centres, px of the network's input. */
  readonly originError?: Summary
  /** Mean of its squares, px². */
  readonly originMse?: number
  /** What was counted in each image against the truth. */
  readonly agreement?: Agreement
}

/** How counts agree with the truth over images. */
interface Agreement {
  readonly title: string
  /** Pearson's r; null where one side does not vary or there is one image. */
  readonly pearson: number | null
  /** Mean of measured − truth, and its limits ± 1.96 SD (Bland and Altman). */
  readonly bias: number
  readonly limits: readonly [number, number]
  readonly measured: readonly number[]
  readonly truth: readonly number[]
}

function agreementOf({ title, measured, truth }: NonNullable<Scored['amounts']>): Agreement {
  if (truth.length < 2) {
    const bias = measured[0]! - truth[0]!
    return { title, pearson: null, bias, limits: [bias, bias], measured, truth }
  }
  const { bias, limits } = blandAltman(measured, truth)
  const r = pearson(measured, truth)
  return { title, pearson: Number.isNaN(r) ? null : r, bias, limits, measured, truth }
}

/** Means over the images of each group, summed up over the groups; nothing where every image stands alone. */
function byPatient(images: Scored['images']): Pick<MethodSummary, 'byPatient'> {
  const groups = new Map<string, Scores[]>()
  for (const { group, scores } of images) groups.set(group, [...(groups.get(group) ?? []), scores])
  if (groups.size === images.length) return {}
  const means = [...groups.values()].map((scores) => {
    const of = summarizeScores(scores)
    return Object.fromEntries(Object.entries(of).map(([name, { mean }]) => [name, mean])) as unknown as Scores
  })
  return { byPatient: summarizeScores(means) }
}

export function summaryOf({ key, label, images, amounts }: Scored): MethodSummary {
  const polar = images.flatMap((e) => e.polarScores ?? [])
  const errors = images.flatMap((e) => e.originError ?? [])
  return {
    key,
    label,
    cartesian: summarizeScores(images.map((e) => e.scores)),
    surface: summarizeSurfaces(images),
    ...byPatient(images),
    ...(polar.length > 0 ? { polar: summarizeScores(polar) } : {}),
    ...(errors.length > 0
      ? { originError: summarize(errors), originMse: meanOf(errors.map((e) => e ** 2)) }
      : {}),
    ...(amounts ? { agreement: agreementOf(amounts) } : {}),
  }
}

const spread = ({ mean, sd }: Summary): string => `${mean.toFixed(3)} ± ${sd.toFixed(3)}`
const SCORES = ['DSC', 'median DSC', 'IoU', 'precision', 'recall']

const cells = (s: Summaries): string[] => [
  spread(s.dice),
  s.dice.median.toFixed(3),
  spread(s.iou),
  spread(s.precision),
  spread(s.recall),
]

/** A table's title, columns and rows, for the terminal and for the report. */
export interface ScoreTable {
  readonly title: string
  readonly columns: readonly string[]
  readonly rows: readonly (readonly string[])[]
  readonly note: string
}

/** The tables of one data set: masks in the images' own space, then polar space. */
export function scoreTables({ plan, scored }: Pick<DataResult, 'plan' | 'scored'>): ScoreTable[] {
  const lines = scored.map(summaryOf)
  const withOrigins = lines.some((l) => l.originError)
  const where = plan.dataset.size
    ? `at ${plan.dataset.size[1]}×${plan.dataset.size[0]} px`
    : "at each image's full resolution"
  const held = `${scored[0]?.images.length ?? 0} held-out images`
  const tables: ScoreTable[] = [
    {
      title: `${plan.name}: scores in Cartesian space, ${held}, ${where}`,
      columns: ['method', ...SCORES, ...(withOrigins ? ['origin error, px'] : [])],
      rows: lines.map((l) => [
        l.label,
        ...cells(l.cartesian),
        ...(withOrigins ? [l.originError ? spread(l.originError) : '–'] : []),
      ]),
      note: 'Mean ± standard deviation over images, threshold 0.5. These are the scores of the masks that a user gets. Where truth and prediction are both empty, an image scores 1; where one of them is, 0.',
    },
  ]
  const patients = lines.flatMap((l) => (l.byPatient ? [[l.label, ...cells(l.byPatient)]] : []))
  if (patients.length > 0)
    tables.push({
      title: `${plan.name}: the same by patient or scan, ${lines[0]!.byPatient!.dice.count} of them`,
      columns: ['method', ...SCORES],
      rows: patients,
      note: 'Mean over the slices of each, then mean ± standard deviation over patients or scans: slices of one are not independent.',
    })
  tables.push(outlineTable(plan.name, lines))
  const polar = lines.flatMap((l) => (l.polar ? [[l.label, ...cells(l.polar)]] : []))
  if (polar.length > 0) {
    tables.push({
      title: `${plan.name}: scores in polar space, the same images`,
      columns: ['method', ...SCORES],
      rows: polar,
      note: "Prediction against the truth warped about the same origin: as the thesis's tables have it. Pixels near the origin weigh more here, so these are higher.",
    })
  }
  for (const { label, agreement } of lines)
    if (agreement) tables.push(agreementTable(plan.name, label, agreement))
  return tables
}

function outlineTable(name: string, lines: readonly MethodSummary[]): ScoreTable {
  const { unit } = lines[0]!.surface
  const distance = (s: Summary | null): string => (s ? `${s.mean.toFixed(2)} ± ${s.sd.toFixed(2)}` : '–')
  return {
    title: `${name}: outlines in Cartesian space, the same images`,
    columns: [
      'method',
      `Hausdorff 95 %, ${unit}`,
      `mean surface distance, ${unit}`,
      'boundary IoU',
      'images with distances',
    ],
    rows: lines.map(({ label, surface: { hausdorff95, meanSurfaceDistance, boundaryIou } }) => [
      label,
      distance(hausdorff95),
      distance(meanSurfaceDistance),
      spread(boundaryIou),
      `${hausdorff95?.count ?? 0} of ${boundaryIou.count}`,
    ]),
    note: `Distances between the outlines of prediction and truth, in ${unit === 'mm' ? 'mm by the spacing that the files tell' : 'px of the scored images, as their files tell no spacing'}; Hausdorff 95 %: of each outline the 95th percentile, the larger of the two. An image has no distance where one of the two masks is empty, and 0 where both are. Boundary IoU: of bands inside the masks along both outlines, 2 % of the image's diagonal wide.`,
  }
}

function agreementTable(name: string, label: string, { title, ...a }: Agreement): ScoreTable {
  const mean = (values: readonly number[]) => summarize(values).mean.toFixed(1)
  return {
    title: `${name}: ${label}, ${title}`,
    columns: ['mean', 'mean of the truth', "Pearson's r", 'bias', 'limits of agreement'],
    rows: [
      [
        mean(a.measured),
        mean(a.truth),
        a.pearson?.toFixed(4) ?? '–',
        a.bias.toFixed(1),
        `${a.limits[0].toFixed(1)} to ${a.limits[1].toFixed(1)}`,
      ],
    ],
    note: 'Bias is measured less truth; the limits are bias ± 1.96 standard deviations (Bland and Altman).',
  }
}

/** results.json, and what --json prints. */
export function resultsJson(adapter: string, seconds: number, results: readonly DataResult[]) {
  return {
    adapter,
    seconds: Math.round(seconds),
    datasets: results.map(({ plan, networks, scored }) => ({
      name: plan.name,
      folder: plan.folder,
      method: plan.method,
      images: {
        train: plan.train.length,
        validation: plan.validation.length,
        test: scored[0]?.images.length ?? 0,
      },
      networks: networks.map(({ name, bestEpoch, bestScore, scoreName, history, seconds, memory }) => ({
        name,
        epochs: history.length,
        bestEpoch,
        ...(scoreName === 'DSC'
          ? { bestValidationDice: bestScore }
          : { bestValidationScore: bestScore, scoreName }),
        seconds: Math.round(seconds),
        /** Bytes on the GPU in training; null if it was done before. */
        gpuBytes: memory?.peak ?? null,
        /** Of the seconds, those in which training waited for images. */
        waitSeconds: Math.round(1000 * history.reduce((sum, m) => sum + (m.waitSeconds ?? 0), 0)) / 1000,
      })),
      methods: scored.map((s) => ({
        ...summaryOf(s),
        ...(s.thresholds ? { thresholds: s.thresholds } : {}),
      })),
    })),
  }
}

const FIELDS = ['dice', 'iou', 'precision', 'recall', 'accuracy', 'thresholdedJaccard'] as const
const SURFACES = ['hausdorff95', 'meanSurfaceDistance', 'boundaryIou'] as const
const quoted = (text: string): string => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)

/** Scores of every image, a line each, as CSV; no value where there is none. */
export function scoresCsv(results: readonly DataResult[]): string {
  const head = [
    'dataset',
    'method',
    'image',
    'group',
    ...FIELDS,
    ...SURFACES,
    'distanceUnit',
    'polarDice',
    'originError',
  ]
  const rows = results.flatMap(({ plan, scored }) =>
    scored.flatMap(({ label, images }) =>
      images.map((e) =>
        [
          ...[plan.name, label, e.id, e.group].map(quoted),
          ...FIELDS.map((f) => e.scores[f].toFixed(6)),
          ...SURFACES.map((f) => (Number.isFinite(e.scores[f]) ? e.scores[f].toFixed(6) : '')),
          e.spacing ? 'mm' : 'px',
          e.polarScores?.dice.toFixed(6) ?? '',
          e.originError?.toFixed(4) ?? '',
        ].join(','),
      ),
    ),
  )
  return `${[head.join(','), ...rows].join('\n')}\n`
}
