import { type Curve, type Distribution, distributions, learningCurves, seriesStyle } from './plots.ts'
import { STYLE } from './style.ts'

/** What a report shows, in this order; plain data but for the pictures' bytes. */
export interface Report {
  title: string
  /** One or two sentences under the title. */
  summary?: string
  /** The line that says which adapter computed. */
  adapter: string
  /** Settings and the like: label and value. */
  facts?: readonly (readonly [label: string, value: string])[]
  tables?: readonly ReportTable[]
  /** Charts of learning curves. */
  curves?: readonly { title: string; yLabel: string; series: readonly Curve[] }[]
  /** Charts of the spread of a score over images. */
  distributions?: readonly { title: string; xLabel: string; groups: readonly Distribution[] }[]
  /** Further charts, as SVG elements of `renderPlot`. */
  charts?: readonly { title: string; svg: string; caption?: string }[]
  /** Pictures with outlines of truth and prediction, from `overlayPng`. */
  overlays?: readonly {
    title: string
    note?: string
    figures: readonly { caption: string; png: Uint8Array }[]
  }[]
}

/** A table; the numbers of a column share their decimals: three under 10, two under 100, else one. */
export interface ReportTable {
  title: string
  columns: readonly string[]
  rows: readonly (readonly (string | number)[])[]
  /** Said under the table: how to read it. */
  note?: string
}

/**
 * Renders a report as one HTML page that needs nothing else: style, charts (SVG) and pictures (data URLs)
 * are inside, there is no script, and its policy forbids the browser to fetch anything.
 *
 * @param report plain data
 * @returns the page
 * @throws FoveaError when vega is not installed and there are charts
 */
export async function renderReport(report: Report): Promise<string> {
  const charts = await Promise.all([
    ...(report.curves ?? []).map(async ({ title, yLabel, series }) =>
      chart(title, await learningCurves(series, yLabel), legend(series)),
    ),
    ...(report.distributions ?? []).map(async ({ title, xLabel, groups }) =>
      chart(title, await distributions(groups, xLabel), ''),
    ),
    ...(report.charts ?? []).map(({ title, svg, caption }) =>
      chart(title, svg, caption ? `<figcaption>${text(caption)}</figcaption>` : ''),
    ),
  ])
  const facts = [['Adapter', report.adapter] as const, ...(report.facts ?? [])]
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>${text(report.title)}</title>
<style>${STYLE}</style>
</head>
<body><main>
<h1>${text(report.title)}</h1>
${report.summary ? `<p>${text(report.summary)}</p>` : ''}
<dl>${facts.map(([label, value]) => `<dt>${text(label)}</dt><dd>${text(value)}</dd>`).join('\n')}</dl>
${(report.tables ?? []).map(table).join('\n')}
${charts.length > 0 ? `<h2>Curves and spread</h2>\n<div class="grid">${charts.join('\n')}</div>` : ''}
${(report.overlays ?? []).map(overlays).join('\n')}
</main></body>
</html>
`
}

function table({ title, columns, rows, note }: ReportTable): string {
  const numeric = columns.map((_, i) => rows.length > 0 && rows.every((row) => isNumeric(row[i])))
  const cell = (tag: string, i: number, value: string): string =>
    `<${tag}${numeric[i] ? ' class="number"' : ''}>${value}</${tag}>`
  const head = columns.map((column, i) => cell('th', i, text(column))).join('')
  const decimals = columns.map((_, i) => decimalsOf(rows.map((row) => row[i])))
  const body = rows.map((row) => {
    const cells = row.map((value, i) => cell('td', i, shown(value, decimals[i] ?? 3)))
    return `<tr>${cells.join('')}</tr>`
  })
  return `<section><h2>${text(title)}</h2>
<div class="wide"><table><thead><tr>${head}</tr></thead><tbody>${body.join('\n')}</tbody></table></div>
${note ? `<p class="note">${text(note)}</p>` : ''}</section>`
}

/** A number, or a text that begins with one (`0.912 ± 0.034`, `+0.05`, `< 0.001`), or a dash for none. */
function isNumeric(value: string | number | undefined): boolean {
  return typeof value === 'number' || (value !== undefined && /^([−+<-]? ?\d|[–—-]?$)/.test(value))
}

function decimalsOf(column: readonly (string | number | undefined)[]): number {
  const numbers = column.filter((value) => typeof value === 'number' && Number.isFinite(value)) as number[]
  if (numbers.every(Number.isInteger)) return 0
  const largest = Math.max(...numbers.map(Math.abs))
  return largest < 10 ? 3 : largest < 100 ? 2 : 1
}

function shown(value: string | number, decimals: number): string {
  if (typeof value === 'string') return text(value)
  return Number.isFinite(value) ? value.toFixed(decimals).replace('-', '−') : '–'
}

function chart(title: string, svg: string, below: string): string {
  const drawing = svg.replace('<svg', `<svg role="img" aria-label="${text(title)}"`)
  const classed = drawing.includes(' class="marks"')
    ? drawing.replace(' class="marks"', ' class="chart"')
    : drawing.replace('<svg', '<svg class="chart"')
  return `<figure><h3>${text(title)}</h3>${classed}${below}</figure>`
}

function legend(series: readonly Curve[]): string {
  const items = series.map(({ name }, i) => {
    const { colour, dash } = seriesStyle(i)
    const line = `<path d="M0 4H24" stroke="${colour}" stroke-width="2.5" stroke-dasharray="${dash.join(' ')}"/>`
    return `<li><svg width="24" height="8" aria-hidden="true">${line}</svg>${text(name)}</li>`
  })
  return `<ul class="legend">${items.join('')}</ul>`
}

function overlays({ title, note, figures }: NonNullable<Report['overlays']>[number]): string {
  const key = [
    ['rgb(40,220,90)', 'truth'],
    ['rgb(255,60,220)', 'prediction'],
    ['#fff', 'both'],
  ].map(([colour, name]) => `<li><span class="swatch" style="background:${colour}"></span>${name}</li>`)
  const pictures = figures.map(
    ({ caption, png }) =>
      `<figure><img alt="${text(caption)}" src="data:image/png;base64,${base64(png)}">` +
      `<figcaption>${text(caption)}</figcaption></figure>`,
  )
  return `<section><h2>${text(title)}</h2>
${note ? `<p class="soft">${text(note)}</p>` : ''}
<ul class="legend" style="margin-bottom:.9rem">${key.join('')}</ul>
<div class="images">${pictures.join('\n')}</div></section>`
}

const ESCAPES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

function text(raw: string): string {
  return raw.replace(/[&<>"']/g, (character) => ESCAPES[character]!)
}

/** Base64 in Node and in the browser. */
function base64(bytes: Uint8Array): string {
  let binary = ''
  for (let i = 0; i < bytes.length; i += 8192) binary += String.fromCharCode(...bytes.subarray(i, i + 8192))
  return btoa(binary)
}
