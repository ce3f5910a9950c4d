import type { Experiment, Row } from './experiment.ts'
import { DATA, POLAR as FULL } from './thesis.ts'

const LESION = DATA.lesion

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

const ORIGINS = ['learning-curves', 'spread', 'centre-error', 'overlays'] as const

/** What the thesis's last chapter proposes, each against what the thesis does: it has no numbers of these. */
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
