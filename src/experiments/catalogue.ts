import { METHODS } from '../runs/methods/index.ts'
import type { NetworkName } from '../runs/network-kinds.ts'
import type { AugmentationName } from '../runs/settings.ts'
import { BEYOND } from './beyond.ts'
import type { Experiment, Row, ScoreName, ThesisValue } from './experiment.ts'
import { AORTA, CROPS, DATA, DEPTH, END_TO_END, POLAR, SHARES } from './thesis.ts'

const NETWORKS: readonly { readonly network: NetworkName; readonly title: string }[] = [
  { network: 'unet', title: 'U-Net' },
  { network: 'unetplusplus', title: 'Res-U-Net++' },
  { network: 'deeplabv3plus', title: 'DeepLabV3+' },
]

const value = (v: number, sd?: number): ThesisValue => ({ value: v, ...(sd === undefined ? {} : { sd }) })
const dice = (v: number): Row['thesis'] => ({ dice: value(v) })

/** Where the origins of table 4.1 come from: the method and its arm. */
const ORIGINS = [
  { title: 'Cartesian', method: 'polar', arm: 'cartesian' },
  { title: 'polar, GT centres', method: 'polar', arm: 'polar-truth' },
  { title: 'polar, Cartesian centres (A)', method: 'polar', arm: 'polar-a' },
  { title: 'polar, model centres (B)', method: 'centre-heatmap', arm: 'polar-b' },
] as const

/** Table 4.1: for each data set and network, DSC by the origins above. */
const TABLE_4_1 = {
  polyp: [
    [0.8315, 0.9484, 0.8973, 0.9374],
    [0.8356, 0.9557, 0.9063, 0.9332],
    [0.8706, 0.9593, 0.9212, 0.9338],
  ],
  lesion: [
    [0.8256, 0.932, 0.8836, 0.9224],
    [0.8664, 0.9439, 0.9125, 0.9253],
    [0.8717, 0.9459, 0.9162, 0.9235],
  ],
  liver: [
    [0.8976, 0.9553, 0.9302, 0.9125],
    [0.8908, 0.9548, 0.9219, 0.9109],
    [0.8868, 0.9518, 0.9253, 0.9092],
  ],
  eat: [
    [0.7544, 0.8088, 0.7835, 0.784],
    [0.341, 0.803, 0.5466, 0.774],
    [0.638, 0.6952, 0.6696, 0.672],
  ],
} as const

const POLAR_SETS = ['polyp', 'lesion', 'liver', 'eat'] as const

/** Side of the networks' input where the thesis has images of 288×384 and 384×512 px: squares of 256. */
const POLAR_SIZE = 256

/** The row without polar coordinates, of the method that trains both. */
const CARTESIAN = { method: 'polar', arm: 'cartesian', variant: undefined } as const

/** The heatmaps of livers are Gaussians of 16 px at 256, not 8. */
const WIDE_HEATMAPS = { sigma: 16 } as Row['variant']

function originRows(): Row[] {
  const rows: Row[] = []
  for (const data of POLAR_SETS)
    for (const [n, { network, title }] of NETWORKS.entries())
      for (const [i, { title: origin, method, arm }] of ORIGINS.entries())
        rows.push({
          label: `${data}, ${title}, ${origin}`,
          ...{ data, method, arm, network, size: POLAR_SIZE },
          ...(data === 'liver' && arm === 'polar-b' ? { variant: WIDE_HEATMAPS } : {}),
          thesis: dice(TABLE_4_1[data][n]![i]!),
          ...(i === 0 ? {} : { baseline: CARTESIAN }),
        })
  return rows
}

/** The U-Net rows of some data sets, for the figures drawn from table 4.1. */
function unetRows(origins: readonly (typeof ORIGINS)[number][], sets: readonly string[] = POLAR_SETS): Row[] {
  return sets.flatMap((data) =>
    origins.map(({ title, method, arm }, i) => ({
      label: `${data}, ${title}`,
      ...{ data, method, arm, network: 'unet' as const, size: POLAR_SIZE },
      thesis: {},
      ...(i === 0 ? {} : { baseline: CARTESIAN }),
    })),
  )
}

const SHARE_STEPS = [0.25, 0.5, 0.75, 1] as const

const shareRows = (): Row[] =>
  POLAR_SETS.flatMap((data) =>
    SHARE_STEPS.flatMap((share) =>
      ORIGINS.slice(0, 3).map(({ title, method, arm }, i) => ({
        label: `${data}, ${title}, ${100 * share} %`,
        ...{ data, method, arm, network: 'unet' as const, size: POLAR_SIZE, share },
        thesis: {},
        ...(i === 0 ? {} : { baseline: CARTESIAN }),
      })),
    ),
  )

/** Table 4.3: what each part adds on polyps. */
const ABLATION: readonly Row[] = [
  { title: 'Cartesian', method: 'polar', arm: 'cartesian', probability: 0, augment: 'none', dsc: 0.8315 },
  {
    title: 'polar, Cartesian origins',
    method: 'polar',
    arm: 'polar-a',
    probability: 0,
    augment: 'none',
    dsc: 0.8918,
  },
  {
    title: 'polar, centre-point predictor',
    method: 'centre-heatmap',
    arm: 'polar-b',
    probability: 0,
    augment: 'none',
    dsc: 0.9094,
  },
  {
    title: '+ centre augmentation',
    method: 'centre-heatmap',
    arm: 'polar-b',
    probability: 0.3,
    augment: 'none',
    dsc: 0.9288,
  },
  {
    title: '+ training augmentation',
    method: 'centre-heatmap',
    arm: 'polar-b',
    probability: 0.3,
    augment: 'thesis',
    dsc: 0.9374,
  },
].map(({ title, method, arm, probability, augment, dsc }, i) => ({
  label: title,
  ...{ data: 'polyp', method, arm, network: 'unet' as const, size: POLAR_SIZE },
  variant: { originProbability: probability, augment: augment as AugmentationName },
  thesis: dice(dsc),
  ...(i === 0 ? {} : { baseline: { ...CARTESIAN, variant: { originProbability: 0, augment: 'none' } } }),
}))

const aorta = (title: string, arm: string, thesis: Row['thesis']): Row => ({
  label: title,
  ...{ data: 'aorta', method: 'several', arm, network: 'unet', size: 256 },
  thesis,
  ...(arm === 'cartesian' ? {} : { baseline: { arm: 'cartesian' } }),
})

const SEVERAL: readonly Row[] = [
  aorta('Cartesian', 'cartesian', { dice: value(0.886, 0.049), recall: value(0.893) }),
  aorta('polar by object, GT centres', 'several-truth', { dice: value(0.937, 0.053), recall: value(0.937) }),
  aorta('polar by object, fused', 'several', { dice: value(0.932, 0.027), recall: value(0.973) }),
]

interface CropLine {
  readonly data: string
  readonly size: number
  readonly network?: NetworkName
  readonly title?: string
  readonly uniform?: number
  readonly crops?: number
}

/** Two rows a line: the rough network alone, and crops. */
const cropRows = (lines: readonly CropLine[]): Row[] =>
  lines.flatMap(({ data, size, network = 'unet', title = 'U-Net', uniform, crops }) =>
    (
      [
        ['rough', title, uniform],
        ['crops', `${title}, segment-then-segment`, crops],
      ] as const
    ).map(([arm, what, dsc]) => ({
      label: `${data}, ${what}`,
      ...{ data, method: 'crops', arm, network, size },
      thesis: dsc === undefined ? {} : dice(dsc / 100),
      ...(arm === 'rough' ? {} : { baseline: { arm: 'rough' } }),
    })),
  )

const TABLE_5_2: readonly CropLine[] = [
  { data: 'cells', size: 64, uniform: 75.7, crops: 84.28 },
  { data: 'cells', size: 128, uniform: 84.52, crops: 84.54 },
  { data: 'cells', size: 256, uniform: 87.62, crops: 84.91 },
  { data: 'kvasir', size: 64, uniform: 81.76, crops: 83.82 },
  { data: 'kvasir', size: 128, uniform: 82.86, crops: 81.36 },
  { data: 'kvasir', size: 256, uniform: 83.8, crops: 84.68 },
  { data: 'aorta', size: 128, uniform: 81.03, crops: 88.5 },
  { data: 'aorta', size: 256, uniform: 72.3, crops: 80.1 },
  { data: 'aorta', size: 512, uniform: 89.34, crops: 85.51 },
]

/** Table 5.4: ms an image of the U-Net and of crops, and of a U-Net at a larger size that scores alike. */
const TABLE_5_4 = [
  { data: 'cells', small: 64, large: 128, ms: [24, 122, 24] },
  { data: 'kvasir', small: 48, large: 128, ms: [16, 29, 16] },
  { data: 'aorta', small: 128, large: 512, ms: [13, 26, 16] },
] as const

const timeRows = (): Row[] =>
  TABLE_5_4.flatMap(({ data, small, large, ms }) =>
    (
      [
        ['rough', small],
        ['crops', small],
        ['rough', large],
      ] as const
    ).map(([arm, size], i) => ({
      label: `${data}, ${arm === 'rough' ? 'U-Net' : 'U-Net, segment-then-segment'}`,
      ...{ data, method: 'crops', arm, network: 'unet' as const, size },
      ...{ thesis: {}, thesisMs: ms[i]! },
    })),
  )

const SIZES = [32, 64, 96, 128, 192, 256, 512]

/** Table 5.5: thresholded Jaccard, U-Net and end-to-end crops. */
const TABLE_5_5: readonly {
  readonly size: number
  readonly on?: string
  readonly values: readonly [number, number]
}[] = [
  { size: 64, values: [70.31, 74.57] },
  { size: 128, values: [72.21, 75.84] },
  { size: 256, values: [73.58, 77.04] },
  { size: 512, values: [81.32, 83.4] },
  { size: 64, on: 'dermquest', values: [43.4, 54.56] },
]

const END_TO_END_ARMS = [
  { arm: 'coarse', title: 'U-Net' },
  { arm: 'coarse-long', title: 'U-Net, trained as long', baseline: 'coarse' },
  { arm: 'end-to-end', title: 'end-to-end crops', baseline: 'coarse' },
] as const

/** The pair goes on from the U-Net, so a U-Net that goes on alone stands between the thesis's two. */
const endToEndRows = (score: boolean): Row[] =>
  TABLE_5_5.flatMap(({ size, on, values }) =>
    END_TO_END_ARMS.map(({ arm, title, ...rest }) => ({
      label: `DermIS${on ? ' → DermQuest' : ''}, ${title}`,
      ...{ data: 'dermis', method: 'end-to-end', arm, network: 'unet' as const, size },
      ...(on ? { on } : {}),
      variant: { longBaseline: true } as const,
      thesis:
        score && arm !== 'coarse-long'
          ? { thresholdedJaccard: value(values[arm === 'coarse' ? 0 : 1] / 100) }
          : {},
      ...('baseline' in rest ? { baseline: { arm: rest.baseline } } : {}),
      ...(arm === 'end-to-end' ? { baselines: [{ arm: 'coarse-long' }] } : {}),
    })),
  )

/** Without and with depth, pericardium and EAT. The thesis gives the U-Net with depth alone. */
const depthRows = (
  { network, title }: (typeof NETWORKS)[number],
  thesis: { readonly pericardium: Row['thesis']; readonly eat: Row['thesis'] },
): Row[] =>
  (['pericardium', 'eat'] as const).flatMap((arm) =>
    [false, true].map((depthChannel) => ({
      label: `${arm === 'eat' ? 'EAT' : arm}, ${title}, ${depthChannel ? 'depth channel' : 'without depth'}`,
      ...{ data: 'pericardium', method: 'eat', arm, network, size: 128 },
      variant: { depthChannel },
      thesis: depthChannel ? thesis[arm] : {},
      ...(depthChannel ? { baseline: { variant: { depthChannel: false } } } : {}),
    })),
  )

const TABLE_6_1 = {
  pericardium: { dice: value(0.9264), iou: value(0.8819), precision: value(0.9319), recall: value(0.9345) },
  eat: { dice: value(0.8646), iou: value(0.7807), precision: value(0.8787), recall: value(0.869) },
}
const UNET_DEPTH = depthRows(NETWORKS[0]!, TABLE_6_1)
/** Depth is a channel that any network can take. */
const OTHERS_DEPTH = NETWORKS.slice(1).flatMap((network) => depthRows(network, { pericardium: {}, eat: {} }))

const ALL_SCORES: readonly ScoreName[] = ['dice', 'iou', 'precision', 'recall']
const polarData = POLAR_SETS.map((key) => DATA[key])
const cropData = [DATA.cells, DATA.kvasir, DATA.aorta]
const dermData = [DATA.dermis, DATA.dermquest]

/** Every table and figure of the thesis that trains networks, as data, and what lies beyond it. */
export const EXPERIMENTS: readonly Experiment[] = [
  {
    id: 'fig-4.4',
    title: 'Decision boundaries of a small network over points (figures 4.2–4.4)',
    section: '4.1',
    data: [],
    rows: [],
    scores: ['dice'],
    points: true,
    figures: [],
    full: POLAR,
  },
  {
    id: 'table-4.1',
    title: 'Cartesian and polar networks by where the origin comes from',
    section: '4.3',
    data: polarData,
    rows: originRows(),
    scores: ALL_SCORES,
    polarSpace: true,
    figures: ['learning-curves', 'spread', 'centre-error', 'overlays'],
    full: POLAR,
  },
  {
    id: 'fig-4.11',
    of: 'table-4.1',
    title: 'Learning curves in polar and Cartesian space',
    section: '4.3',
    data: polarData,
    rows: unetRows(ORIGINS.slice(0, 2)),
    scores: ['dice'],
    polarSpace: true,
    figures: ['learning-curves'],
    full: POLAR,
  },
  {
    id: 'fig-4.12',
    of: 'table-4.1',
    title: 'Error of the centre against DSC',
    section: '4.3',
    data: polarData,
    rows: unetRows(ORIGINS),
    scores: ['dice'],
    polarSpace: true,
    figures: ['centre-error'],
    full: POLAR,
  },
  {
    id: 'fig-4.13',
    title: 'DSC by the share of the training set',
    section: '4.3',
    data: polarData,
    rows: shareRows(),
    scores: ['dice'],
    polarSpace: true,
    figures: ['share', 'spread'],
    full: SHARES,
  },
  {
    id: 'table-4.3',
    title: 'What the parts of the polar method add, on polyps',
    section: '4.3',
    data: [DATA.polyp],
    rows: ABLATION,
    scores: ['dice'],
    polarSpace: true,
    figures: ['spread', 'overlays'],
    full: POLAR,
  },
  {
    id: 'table-4.4',
    title: 'Several objects by polar fusion, on the aorta',
    section: '4.4',
    data: [DATA.aorta],
    rows: SEVERAL,
    scores: ['dice', 'recall', 'precision'],
    figures: ['spread', 'violins', 'precision-recall', 'overlays'],
    folds: 3,
    full: AORTA,
  },
  {
    id: 'fig-4.19',
    of: 'table-4.4',
    title: 'Spread of DSC over slices of the aorta',
    section: '4.4',
    data: [DATA.aorta],
    rows: SEVERAL.map((row) => ({ ...row, thesis: {} })),
    scores: ['dice'],
    figures: ['spread', 'violins'],
    folds: 3,
    full: AORTA,
  },
  {
    id: 'table-5.2',
    title: 'Segment-then-segment by input size',
    section: '5.1',
    data: cropData,
    rows: cropRows(TABLE_5_2),
    scores: ['dice', 'iou', 'precision', 'recall'],
    bySize: true,
    figures: ['size', 'spread', 'overlays'],
    full: CROPS,
  },
  {
    id: 'fig-5.2',
    of: 'table-5.2',
    title: 'DSC by input size',
    section: '5.1',
    data: cropData,
    rows: cropRows(cropData.flatMap(({ key }) => SIZES.map((size) => ({ data: key, size })))),
    scores: ['dice'],
    bySize: true,
    figures: ['size'],
    full: CROPS,
  },
  {
    id: 'fig-5.3',
    of: 'table-5.2',
    title: 'Spread of DSC, uniform against crops',
    section: '5.1',
    data: cropData,
    rows: cropRows(TABLE_5_2.map(({ data, size }) => ({ data, size }))),
    scores: ['dice'],
    bySize: true,
    figures: ['violins', 'spread'],
    full: CROPS,
  },
  {
    id: 'table-5.3',
    title: 'Segment-then-segment with other networks, on cells at 64²',
    section: '5.1',
    data: [DATA.cells],
    rows: cropRows([
      {
        data: 'cells',
        size: 64,
        network: 'unetplusplus',
        title: 'Res-U-Net++',
        uniform: 75.18,
        crops: 86.63,
      },
      {
        data: 'cells',
        size: 64,
        network: 'deeplabv3plus',
        title: 'DeepLabV3+',
        uniform: 66.93,
        crops: 80.41,
      },
    ]),
    scores: ['dice', 'iou', 'precision', 'recall'],
    bySize: true,
    figures: ['spread', 'overlays'],
    full: CROPS,
  },
  {
    id: 'table-5.4',
    title: 'Time an image of segment-then-segment',
    section: '5.1',
    data: cropData,
    rows: timeRows(),
    scores: [],
    timed: true,
    bySize: true,
    figures: [],
    full: CROPS,
  },
  {
    id: 'table-5.5',
    title: 'End-to-end crops on skin lesions, in and out of sample',
    section: '5.2',
    data: dermData,
    rows: endToEndRows(true),
    scores: ['thresholdedJaccard', 'dice'],
    bySize: true,
    figures: ['size', 'spread', 'overlays'],
    folds: 5,
    full: END_TO_END,
  },
  {
    id: 'fig-5.10',
    of: 'table-5.5',
    title: 'Spread of the thresholded Jaccard, end-to-end crops',
    section: '5.2',
    data: dermData,
    rows: endToEndRows(false),
    scores: ['thresholdedJaccard'],
    bySize: true,
    figures: ['violins', 'spread'],
    folds: 5,
    full: END_TO_END,
  },
  {
    id: 'table-6.1',
    title: 'Pericardium and EAT with the depth of the slice',
    section: '6',
    data: [DATA.pericardium],
    rows: [...UNET_DEPTH, ...OTHERS_DEPTH],
    scores: ALL_SCORES,
    figures: ['spread', 'bland-altman', 'overlays'],
    folds: 2,
    full: DEPTH,
  },
  {
    id: 'fig-6.6',
    of: 'table-6.1',
    title: 'EAT pixels a slice against truth',
    section: '6',
    data: [DATA.pericardium],
    rows: UNET_DEPTH.slice(2).map((row) => ({ ...row, thesis: {} })),
    scores: ['dice'],
    figures: ['bland-altman'],
    folds: 2,
    full: DEPTH,
  },
  ...BEYOND,
]

/** Why a row's method cannot be run, or undefined where it can. */
export function unavailable({ method, arm }: Pick<Row, 'method' | 'arm'>): string | undefined {
  const known: Readonly<Record<string, { readonly arms: readonly string[] }>> = METHODS
  if (!Object.hasOwn(known, method)) return `method ${method} is not available`
  if (!known[method]!.arms.includes(arm)) return `method ${method} gives no ${arm}`
  return undefined
}
