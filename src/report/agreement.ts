import type { TopLevelSpec } from 'vega-lite'
import { blandAltman, pearson } from '../pipelines/statistics.ts'
import { renderPlot, seriesStyle } from './plots.ts'

/**
 * Bland and Altman's plot: differences of what was measured from the truth over their means, and in its caption bias, limits
 * of agreement and Pearson's r.
 *
 * @param unit of both, such as 'pixels an image'
 */
export async function agreementChart(
  title: string,
  measured: readonly number[],
  truth: readonly number[],
  unit: string,
) {
  const { bias, limits, points } = blandAltman(measured, truth)
  const text = (v: number): string => v.toFixed(1).replace('-', '−')
  const level = (y: number, name: string, dash: number[]) => ({
    data: { values: [{ y, name }] },
    layer: [
      {
        mark: { type: 'rule' as const, strokeDash: dash, color: 'currentColor', opacity: 0.7 },
        encoding: { y: { field: 'y', type: 'quantitative' as const } },
      },
      {
        mark: { type: 'text' as const, align: 'right' as const, dy: -6, fontSize: 11, color: 'currentColor' },
        encoding: {
          x: { value: 398 },
          y: { field: 'y', type: 'quantitative' as const },
          text: { field: 'name' },
        },
      },
    ],
  })
  const svg = await renderPlot({
    ...{ width: 400, height: 260 },
    layer: [
      {
        data: { values: points.map(([mean, difference]) => ({ mean, difference })) },
        mark: { type: 'point', filled: true, size: 22, opacity: 0.5, color: seriesStyle(0).colour },
        encoding: {
          x: { field: 'mean', type: 'quantitative', title: `mean of prediction and truth, ${unit}` },
          y: { field: 'difference', type: 'quantitative', title: `prediction − truth, ${unit}` },
        },
      },
      level(bias, `bias ${text(bias)}`, []),
      level(limits[0], `−1.96 SD: ${text(limits[0])}`, [5, 4]),
      level(limits[1], `+1.96 SD: ${text(limits[1])}`, [5, 4]),
    ],
  } as TopLevelSpec)
  const r = pearson(measured, truth)
  const caption =
    `Bias ${text(bias)}, limits of agreement ${text(limits[0])} to ${text(limits[1])} ${unit}; ` +
    `Pearson's r ${Number.isNaN(r) ? '–' : r.toFixed(3)} over ${points.length} images`
  return { title, svg, caption }
}
