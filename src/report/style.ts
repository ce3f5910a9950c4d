/** The report's style sheet: system fonts, one column, light and dark by the reader's setting. */
export const STYLE = `
:root { color-scheme: light dark; --ink: #1c2126; --soft: #5d6873; --line: #d9dee3; --ground: #fff; --band: #f5f7f9 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ec; --soft: #9aa5b0; --line: #353d45; --ground: #14181c; --band: #1c2227 }
}
* { box-sizing: border-box }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; -webkit-text-size-adjust: 100% }
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem }
h1 { font-size: 1.75rem; line-height: 1.2; letter-spacing: -0.01em; margin: 0 0 .4rem }
h2 { font-size: 1.15rem; margin: 2.75rem 0 .9rem }
p { margin: .4rem 0; max-width: 44rem }
.soft, figcaption, .note { color: var(--soft); font-size: .875rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: 1.25rem 0 0; font-size: .875rem }
dt { color: var(--soft) }
dd { margin: 0; overflow-wrap: anywhere }
.wide { overflow-x: auto; margin: 0 -1.25rem; padding: 0 1.25rem }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; min-width: 60% }
th { text-align: left; font-weight: 600; font-size: .8125rem; color: var(--soft); vertical-align: bottom }
th, td { padding: .45rem 1rem .45rem 0; border-bottom: 1px solid var(--line) }
th:last-child, td:last-child { padding-right: 0 }
th.number, td.number { text-align: right }
td.number { white-space: nowrap }
tbody td:first-child { min-width: 11rem }
tbody tr:last-child td { border-bottom-color: var(--soft) }
.grid { display: grid; gap: 1.75rem; grid-template-columns: repeat(auto-fit, minmax(min(21rem, 100%), 1fr)) }
.images { display: grid; gap: 1.25rem; grid-template-columns: repeat(auto-fill, minmax(min(15rem, 100%), 1fr)) }
@media (max-width: 34rem) { .images { grid-template-columns: 1fr 1fr; gap: .75rem } }
figure { margin: 0; min-width: 0 }
figure svg.chart { display: block; max-width: 100%; height: auto }
figure img { display: block; width: 100%; height: auto; border-radius: 3px; background: var(--band) }
figure h3 { font-size: .9375rem; margin: 0 0 .35rem; font-weight: 600 }
figcaption { margin-top: .4rem; line-height: 1.35 }
.legend { display: flex; flex-wrap: wrap; gap: .15rem 1.1rem; margin: .25rem 0 0; padding: 0; list-style: none;
  font-size: .8125rem }
.legend svg { vertical-align: middle; margin-right: .4rem }
.swatch { display: inline-block; width: .8rem; height: .8rem; border-radius: 2px; vertical-align: -1px;
  margin-right: .4rem; border: 1px solid var(--soft) }
@media print { main { max-width: none; padding: 0 } figure, tr { break-inside: avoid } }
`
