// Writes the tables of docs/beyond.md from results of `fovea train --json`: node scripts/beyond.mjs FOLDER
// FOLDER holds highres-{hard,soft}-{32,64}.json; the page says which commands make them.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const [folder] = process.argv.slice(2)
if (!folder) throw new Error('usage: node scripts/beyond.mjs FOLDER')
const page = fileURLToPath(new URL('../docs/beyond.md', import.meta.url))

const methodsOf = (name) => {
  const [data] = JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8')).datasets
  return Object.fromEntries(data.methods.map((m) => [m.key, m.cartesian]))
}
const cell = ({ dice, thresholdedJaccard: t }) =>
  `${dice.mean.toFixed(3)} ± ${dice.sd.toFixed(3)} / ${t.mean.toFixed(3)}`

const rows = [32, 64].map((size) => {
  const [hard, soft] = ['hard', 'soft'].map((box) => methodsOf(`highres-${box}-${size}`))
  return `| ${size} | ${[hard.coarse, hard['end-to-end'], soft['end-to-end']].map(cell).join(' | ')} |`
})
const table = ['| S | coarse net alone | hard box | soft box |', '|---|---|---|---|', ...rows].join('\n')

const [begin, end] = ['<!-- measured: end-to-end -->', '<!-- end -->']
const text = readFileSync(page, 'utf8')
const [from, to] = [text.indexOf(begin), text.indexOf(end)]
if (from < 0 || to < from) throw new Error(`${page}: the marks ${begin} and ${end} are missing`)
writeFileSync(page, `${text.slice(0, from + begin.length)}\n${table}\n${text.slice(to)}`)
