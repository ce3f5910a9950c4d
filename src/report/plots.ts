import type { TopLevelSpec } from 'vega-lite'
import { FoveaError } from '../gpu/errors.ts'

/** One line of a chart of learning curves; values that are not finite are left out. */
export interface Curve {
  name: string
  epochs: readonly number[]
  values: readonly number[]
}

/** Values of one method, for a chart of distributions. */
export interface Distribution {
  name: string
  values: readonly number[]
}

/** Precision and recall at one threshold after another. */
export interface PrecisionRecall {
  readonly name: string
  readonly points: readonly { readonly precision: number; readonly recall: number }[]
}

/** Colour and dash of the n-th series: apart on light and dark ground, and without colour. */
export const SERIES: readonly { colour: string; dash: readonly number[] }[] = [
  { colour: '#1f83d6', dash: [] },
  { colour: '#e0701a', dash: [6, 3] },
  { colour: '#2a9d63', dash: [2, 2] },
  { colour: '#c2408f', dash: [8, 3, 2, 3] },
  { colour: '#8a6fd1', dash: [10, 4] },
  { colour: '#9a8430', dash: [1, 3] },
]

/** The style of the n-th series; it repeats after the sixth. */
export function seriesStyle(index: number): { colour: string; dash: readonly number[] } {
  return SERIES[index % SERIES.length]!
}

/**
 * Learning curves: one line a series over epochs.
 *
 * @param curves at least one, each with as many epochs as values
 * @param yLabel what the values are
 * @returns an SVG element as text, without a legend: the page draws that beside it from `seriesStyle`
 */
export function learningCurves(curves: readonly Curve[], yLabel: string): Promise<string> {
  const values = curves.flatMap(({ name, epochs, values }) =>
    values.flatMap((value, i) => (Number.isFinite(value) ? [{ name, epoch: epochs[i]!, value }] : [])),
  )
  const names = curves.map((curve) => curve.name)
  const few = curves.every((curve) => curve.values.length < 3)
  return renderPlot({
    width: 400,
    height: 230,
    data: { values },
    mark: { type: 'line', strokeWidth: 2, interpolate: 'linear', point: few },
    encoding: {
      x: { field: 'epoch', type: 'quantitative', title: 'epoch', axis: { tickMinStep: 1, grid: false } },
      y: { field: 'value', type: 'quantitative', title: yLabel, scale: { zero: false, nice: true } },
      color: {
        field: 'name',
        type: 'nominal',
        scale: { domain: names, range: names.map((_, i) => seriesStyle(i).colour) },
        legend: null,
      },
      strokeDash: {
        field: 'name',
        type: 'nominal',
        scale: { domain: names, range: names.map((_, i) => [...seriesStyle(i).dash]) },
        legend: null,
      },
    },
  })
}

/** A network's training, a value an epoch. */
export interface TrainingHistory {
  readonly title: string
  readonly lossName: string
  readonly scoreName: string
  readonly loss: readonly number[]
  readonly validation: readonly number[]
}

/**
 * Learning curves of networks: training loss and validation score, those of networks that were measured alike in one
 * chart.
 *
 * @param heading begins the titles
 * @returns what `Report.curves` takes
 */
export function trainingCurves(
  heading: string,
  networks: readonly TrainingHistory[],
): { title: string; yLabel: string; series: Curve[] }[] {
  const of = (name: 'lossName' | 'scoreName', values: 'loss' | 'validation') =>
    [...new Set(networks.map((n) => n[name]))].map((measure) => ({
      title: `${heading}: ${values === 'loss' ? 'training loss' : 'validation'}`,
      yLabel: measure === 'DSC' ? 'DSC, each network in its own space' : measure,
      series: networks
        .filter((n) => n[name] === measure)
        .map((n) => ({ name: n.title, epochs: n[values].map((_, i) => i + 1), values: n[values] })),
    }))
  return [...of('lossName', 'loss'), ...of('scoreName', 'validation')]
}

/** Precision against recall: a line a series, its points joined in their order. */
export function precisionRecall(series: readonly PrecisionRecall[]): Promise<string> {
  const names = series.map((s) => s.name)
  return renderPlot({
    width: 400,
    height: 260,
    data: { values: series.flatMap(({ name, points }) => points.map((p, step) => ({ name, step, ...p }))) },
    mark: { type: 'line', strokeWidth: 2, point: { size: 24 } },
    encoding: {
      x: {
        field: 'recall',
        type: 'quantitative',
        scale: { zero: false, nice: true },
        axis: { format: '~g' },
      },
      y: {
        field: 'precision',
        type: 'quantitative',
        scale: { zero: false, nice: true },
        axis: { format: '~g' },
      },
      order: { field: 'step', type: 'quantitative' },
      color: coloursOf(names),
    },
  })
}

/** A colour a name, with a legend under the chart. */
export const coloursOf = (names: readonly string[]) => ({
  field: 'name',
  type: 'nominal' as const,
  scale: { domain: [...names], range: names.map((_, i) => seriesStyle(i).colour) },
  legend: { title: null, orient: 'bottom' as const, columns: 1, labelLimit: 380, labelColor: 'currentColor' },
})

/**
 * Distributions: for each method a box (quartiles, whiskers to 1.5 times their distance) over its values,
 * every value a dot.
 *
 * @param groups at least one
 * @param xLabel what the values are
 * @returns an SVG element as text
 */
export function distributions(groups: readonly Distribution[], xLabel: string): Promise<string> {
  const values = groups.flatMap(({ name, values }) =>
    values.filter(Number.isFinite).map((value) => ({ name, value })),
  )
  const names = groups.map((group) => group.name)
  return renderPlot({
    width: 400,
    height: { step: 54 },
    data: { values },
    encoding: {
      y: { field: 'name', type: 'nominal', sort: names, axis: null },
      x: { field: 'value', type: 'quantitative', title: xLabel, scale: { zero: false, nice: true } },
      color: {
        field: 'name',
        type: 'nominal',
        scale: { domain: names, range: names.map((_, i) => seriesStyle(i).colour) },
        legend: null,
      },
    },
    layer: [
      { mark: { type: 'point', filled: true, size: 18, opacity: 0.4, yOffset: 18 } },
      {
        mark: {
          type: 'boxplot',
          size: 14,
          outliers: false,
          median: { color: 'currentColor', strokeWidth: 2 },
          box: { fillOpacity: 0.6 },
          rule: { color: 'currentColor', strokeOpacity: 0.6 },
        },
      },
      {
        // Names stand over their boxes: beside the axis, long ones would take the chart's room.
        data: { values: names.map((name) => ({ name })) },
        mark: { type: 'text', align: 'left', yOffset: -17, fontSize: 12, color: 'currentColor' },
        encoding: { x: { value: 0 }, text: { field: 'name' }, color: { value: 'currentColor' } },
      },
    ],
  })
}

/**
 * Renders a Vega-Lite chart without a display. Text and axes take the page's text colour, so that a chart
 * fits light and dark pages; it scales down with its column.
 *
 * @param spec any Vega-Lite chart with its data inside
 * @returns an SVG element as text, without links
 * @throws FoveaError when vega is not installed
 */
export async function renderPlot(spec: TopLevelSpec): Promise<string> {
  const { vega, vegaLite } = await loadVega()
  const themed = { ...spec, background: 'transparent', padding: 4, config: { ...THEME, ...spec.config } }
  const view = new vega.View(vega.parse(vegaLite.compile(themed as TopLevelSpec).spec), { renderer: 'none' })
  try {
    const svg = await view.toSVG()
    return svg.replace(/ xmlns(:xlink)?="[^"]*"/g, '')
  } finally {
    view.finalize()
  }
}

const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif'
const THEME = {
  font: FONT,
  view: { stroke: null },
  axis: {
    labelColor: 'currentColor',
    titleColor: 'currentColor',
    domainColor: 'currentColor',
    tickColor: 'currentColor',
    gridColor: 'currentColor',
    gridOpacity: 0.12,
    domainOpacity: 0.4,
    tickOpacity: 0.4,
    labelFontSize: 12,
    titleFontSize: 12,
    titleFontWeight: 'normal',
    titlePadding: 8,
    labelPadding: 5,
    tickSize: 4,
  },
} as const

async function loadVega() {
  try {
    const [vega, vegaLite] = await Promise.all([import('vega'), import('vega-lite')])
    return { vega, vegaLite }
  } catch (cause) {
    throw new FoveaError('plots need the packages vega and vega-lite: run `npm install vega vega-lite`', {
      cause,
    })
  }
}
