// Writes the tables of docs/beyond.md.
//
//   node scripts/beyond.mjs           the tables of proposals and heatmaps, from docs/results/beyond-*.json of `fovea reproduce`
//   node scripts/beyond.mjs FOLDER    that of end-to-end crops, too, from results of `fovea train --json`
//
// FOLDER holds highres-{hard,soft}-{32,64}.json; the page says which commands make them.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const [folder] = process.argv.slice(2)
const page = fileURLToPath(new URL('../docs/beyond.md', import.meta.url))
const results = fileURLToPath(new URL('../docs/results', import.meta.url))
const read = (file) => JSON.parse(readFileSync(file, 'utf8'))
const spread = ({ mean, sd }) => `${mean.toFixed(3)} ± ${sd.toFixed(3)}`
const tableOf = (head, rows) =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')

/** Puts a table between its marks. */
function fill(name, table) {
  const [begin, end] = [`<!-- measured: ${name} -->`, '<!-- end -->']
  const text = readFileSync(page, 'utf8')
  const from = text.indexOf(begin)
  const to = text.indexOf(end, from)
  if (from < 0 || to < 0) throw new Error(`${page}: the marks ${begin} and ${end} are missing`)
  writeFileSync(page, `${text.slice(0, from + begin.length)}\n${table}\n${text.slice(to)}`)
}

function endToEnd() {
  const methodsOf = (name) => {
    const [data] = read(join(folder, `${name}.json`)).datasets
    return Object.fromEntries(data.methods.map((m) => [m.key, m.cartesian]))
  }
  const cell = ({ dice, thresholdedJaccard: t }) => `${spread(dice)} / ${t.mean.toFixed(3)}`
  const rows = [32, 64].map((size) => {
    const [hard, soft] = ['hard', 'soft'].map((box) => methodsOf(`highres-${box}-${size}`))
    return [size, ...[hard.coarse, hard['end-to-end'], soft['end-to-end']].map(cell)]
  })
  return tableOf(['S', 'coarse net alone', 'hard box', 'soft box'], rows)
}

/** Rows of four experiments; the baselines, which they share, once. */
function proposals() {
  const rows = new Map()
  for (const id of ['origin', 'weak', 'head', 'deformation'])
    for (const row of read(join(results, `beyond-${id}.json`)).rows)
      if (!rows.has(row.label)) rows.set(row.label, row)
  const p = (value) => (value < 0.001 ? '< 0.001' : value.toFixed(3))
  return tableOf(
    ['', 'DSC', 'of each seed', 'origin off by, px', 'against', 'p'],
    [...rows.values()].map(({ label, arm, scores, runs, originError, test }) => [
      arm === 'head' ? `${label} (other images)` : label,
      spread(scores.dice),
      runs.map((run) => run.means.dice.toFixed(3)).join(', '),
      originError ? originError.mean.toFixed(2) : '–',
      ...(test ? [test.against, p(test.p)] : ['–', '–']),
    ]),
  )
}

/** Approach B by the network of its heatmaps. */
function heatmaps() {
  const { rows } = read(join(results, 'beyond-heatmap.json'))
  return tableOf(
    ['', 'DSC', 'DSC in polar space', 'origin off by, px', 'DSC of each run'],
    rows.map(({ label, arm, scores, polarDice, originError, runs }) => [
      label,
      spread(scores.dice),
      polarDice ? spread(polarDice) : '–',
      originError && arm !== 'polar-truth'
        ? `${originError.mean.toFixed(2)} ± ${originError.sd.toFixed(2)}`
        : '–',
      runs.map((run) => run.means.dice.toFixed(3)).join(', '),
    ]),
  )
}

fill('proposals', proposals())
fill('heatmaps', heatmaps())
if (folder) fill('end-to-end', endToEnd())
