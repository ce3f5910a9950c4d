import type { Experiment, Row } from './experiment.ts'
import { DATA, POLAR as FULL } from './thesis.ts'

const LESION = DATA.lesion

const ORIGINS = ['learning-curves', 'spread', 'centre-error', 'overlays'] as const

/** A U-Net's row on skin lesions: its label, the arm and what it is tested against. */
type Line = readonly [label: string, arm: string, against?: string]

const rowsOf = (method: string, lines: readonly Line[]): Row[] =>
  lines.map(([label, arm, against]) => ({
    label,
    ...{ data: LESION.key, method, arm, network: 'unet', size: 256 },
    thesis: {},
    ...(against ? { baseline: { arm: against } } : {}),
  }))

const POLAR: readonly Line[] = [
  ['Cartesian', 'cartesian'],
  ['polar, GT centres', 'polar-truth', 'cartesian'],
  ['polar, Cartesian centres (A)', 'polar-a', 'cartesian'],
]

const experiment = (
  id: string,
  title: string,
  method: string,
  lines: readonly Line[],
  figures: Experiment['figures'],
): Experiment => ({
  ...{ id, title, section: '7', data: [LESION], rows: rowsOf(method, lines) },
  ...{ references: POLAR.map(([, arm]) => arm), scores: ['dice', 'iou'], figures, full: FULL },
})

const CARTESIAN = { method: 'polar', arm: 'cartesian', variant: undefined } as const
const APPROACH_A = { ...CARTESIAN, arm: 'polar-a' } as const

/** Approach B as in the thesis and with a U-Net, whose heatmaps are as large as its input. */
const heatmapRow = (title: string, rest: Partial<Row>): Row => ({
  label: `polar, heatmaps of ${title} (B)`,
  ...{ data: LESION.key, method: 'centre-heatmap', arm: 'polar-b', network: 'unet', size: 256, thesis: {} },
  ...{ baseline: APPROACH_A, ...rest },
})

const HEATMAPS: Experiment = {
  ...{ id: 'beyond-heatmap', title: 'Beyond the thesis: a U-Net as the network of heatmaps', section: '4.3' },
  ...{ data: [LESION], references: POLAR.map(([, arm]) => arm), scores: ['dice', 'iou'], polarSpace: true },
  rows: [
    ...rowsOf('polar', POLAR),
    heatmapRow('an hourglass', { baselines: [CARTESIAN] }),
    heatmapRow('a U-Net', {
      variant: { heatmapNetwork: 'unet' },
      baselines: [{ variant: undefined }, CARTESIAN],
    }),
  ],
  figures: ORIGINS,
  full: FULL,
}

/**
 * What the thesis's last chapter proposes, and approach B with another network, each against what the thesis does: it has
 * no numbers of these.
 */
export const BEYOND: readonly Experiment[] = [
  experiment(
    'beyond-origin',
    'Beyond the thesis: a polar origin learned end to end',
    'learned-origin',
    [
      ...POLAR,
      ['origin learned from nothing', 'learned', 'polar-a'],
      ['A, tuned by the final mask, origin held', 'tuned-held', 'polar-a'],
      ['A, tuned by the final mask through the origin', 'tuned', 'tuned-held'],
    ],
    ORIGINS,
  ),
  experiment(
    'beyond-weak',
    'Beyond the thesis: origins from weak labels',
    'weak-origin',
    [
      ...POLAR,
      ['origins learned from points', 'weak-point', 'polar-a'],
      ['origins learned from boxes', 'weak-box', 'polar-a'],
    ],
    ORIGINS,
  ),
  experiment(
    'beyond-head',
    'Beyond the thesis: a regression head for the origin',
    'head-origin',
    [...POLAR, ['origins of a regression head', 'head', 'polar-a']],
    ORIGINS,
  ),
  HEATMAPS,
  experiment(
    'beyond-deformation',
    'Beyond the thesis: a learned deformation of the image',
    'deformation',
    [
      ['Cartesian', 'cartesian'],
      ['behind a learned deformation', 'deformation', 'cartesian'],
    ],
    ['learning-curves', 'spread', 'overlays'],
  ),
]
