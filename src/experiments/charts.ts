import type { TopLevelSpec } from 'vega-lite'
import { summarize } from '../pipelines/scores.ts'
import { kernelDensity, quantile } from '../pipelines/statistics.ts'
import { coloursOf, renderPlot } from '../report/plots.ts'

/** Points of one method in a chart of one number against another. */
export interface Series {
  readonly name: string
  readonly points: readonly { readonly x: number; readonly y: number; readonly sd?: number }[]
}

const flat = (series: readonly Series[]) =>
  series.flatMap(({ name, points }) =>
    points.map((p) => ({ name, ...p, low: p.y - (p.sd ?? 0), high: p.y + (p.sd ?? 0) })),
  )

/** Lines over a number (share of the training set, input size), each point a mean with its SD as a bar. */
export function lines(series: readonly Series[], xLabel: string, yLabel: string): Promise<string> {
  const names = series.map((s) => s.name)
  const xs = [...new Set(series.flatMap((s) => s.points.map((p) => p.x)))].sort((a, b) => a - b)
  const x = {
    field: 'x',
    type: 'quantitative' as const,
    title: xLabel,
    // Without a precision it follows from the ticks' distance: 3e+1 for 32 beside 64.
    axis: { values: xs, grid: false, format: '.6~g' },
    scale: { zero: false },
  }
  return renderPlot({
    ...{ width: 400, height: 240, data: { values: flat(series) } },
    layer: [
      {
        mark: { type: 'line', strokeWidth: 2, point: { size: 40 } },
        encoding: {
          x,
          y: { field: 'y', type: 'quantitative', title: yLabel, scale: { zero: false, nice: true } },
          color: coloursOf(names),
        },
      },
      {
        mark: { type: 'rule', strokeWidth: 1.5, opacity: 0.5 },
        encoding: {
          x,
          y: { field: 'low', type: 'quantitative' },
          y2: { field: 'high' },
          color: coloursOf(names),
        },
      },
    ],
  } satisfies TopLevelSpec)
}

/** A dot an image: error of the centre against DSC. */
export function scatter(series: readonly Series[], xLabel: string, yLabel: string): Promise<string> {
  return renderPlot({
    ...{ width: 400, height: 240, data: { values: flat(series) } },
    mark: { type: 'point', filled: true, size: 26, opacity: 0.55 },
    encoding: {
      x: { field: 'x', type: 'quantitative', title: xLabel, scale: { zero: true, nice: true } },
      y: { field: 'y', type: 'quantitative', title: yLabel, scale: { zero: false, nice: true } },
      color: coloursOf(series.map((s) => s.name)),
    },
  } satisfies TopLevelSpec)
}

/** Silverman's rule of thumb, at least a hundredth: of values that are all alike the band is a spike. */
function bandwidthOf(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const spread = Math.min(summarize(values).sd, (quantile(sorted, 0.75) - quantile(sorted, 0.25)) / 1.34)
  return Math.max(0.01, 0.9 * spread * values.length ** -0.2)
}

/** Violins: the density of a score over images, a band a method, mirrored; its median a line. */
export function violins(
  groups: readonly { name: string; values: readonly number[] }[],
  xLabel: string,
): Promise<string> {
  const names = groups.map((g) => g.name)
  const places = Array.from({ length: 201 }, (_, i) => i / 200)
  const bands = groups.map(({ name, values }) => {
    const density = kernelDensity(values, places, bandwidthOf(values))
    // As wide as its row at its densest, whatever the others are.
    const most = Math.max(...density)
    return { name, median: summarize(values).median, half: density.map((d) => d / most) }
  })
  return renderPlot({
    data: {
      values: bands.flatMap(({ name, median, half }) => [
        ...places.map((value, i) => ({ name, value, low: -half[i]!, high: half[i]! })),
        { name, median },
      ]),
    },
    config: { facet: { spacing: 2 } },
    facet: {
      row: {
        field: 'name',
        sort: [...names],
        header: {
          labelAngle: 0,
          labelOrient: 'top',
          labelAnchor: 'start',
          title: null,
          labelColor: 'currentColor',
          labelFontSize: 12,
          // Without a canvas widths of text are guessed, half as wide again as they are.
          labelLimit: 800,
          labelPadding: 2,
        },
      },
    },
    spec: {
      ...{ width: 400, height: 46 },
      layer: [
        {
          transform: [{ filter: 'isValid(datum.value)' }],
          mark: { type: 'area', orient: 'vertical', opacity: 0.65 },
          encoding: {
            x: { field: 'value', type: 'quantitative', title: xLabel, scale: { domain: [0, 1] } },
            y: { field: 'low', type: 'quantitative', axis: null, scale: { domain: [-1, 1] } },
            y2: { field: 'high' },
            color: { ...coloursOf(names), legend: null },
          },
        },
        {
          transform: [{ filter: 'isValid(datum.median)' }],
          mark: { type: 'rule', color: 'currentColor', strokeWidth: 2 },
          encoding: { x: { field: 'median', type: 'quantitative' } },
        },
      ],
    },
  } satisfies TopLevelSpec)
}
