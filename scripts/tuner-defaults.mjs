// Writes src/gpu/tuner-defaults.ts, the choices of kernels that fovea ships, from what `fovea tune` measured:
//
//   fovea tune --adapter lavapipe --network hourglass,deeplabv3plus --features 32 --again --json > a.json   (and again > b.json)
//   node scripts/tuner-defaults.mjs llvmpipe a.json,b.json swiftshader c.json,d.json
//
// Each pair of arguments is a part of the adapter's name in lower case, and files of timings of several runs. A
// choice is shipped where another candidate than the first was faster by MARGIN in each of them; the rest follows the plans.
// To be run anew when kernels change: a choice may stand in the way of a better candidate that is new.
import { readFileSync, writeFileSync } from 'node:fs'

/** A machine of another kind than the one measured on must not lose by it. */
const MARGIN = 0.85

const [, , ...rest] = process.argv
if (rest.length === 0 || rest.length % 2 === 1) {
  console.error('usage: node scripts/tuner-defaults.mjs PART TIMINGS.json[,TIMINGS.json …] [PART …]')
  process.exit(2)
}

/** By question, the time of each candidate over that of the first; in the order of the plan. */
function ratiosOf(file) {
  const { timings } = JSON.parse(readFileSync(file, 'utf8'))
  const questions = new Map()
  for (const { key, variant, ms } of timings) {
    const known = questions.get(key) ?? { first: variant, ms, ratios: new Map() }
    questions.set(key, known)
    known.ratios.set(variant, ms / known.ms)
  }
  return questions
}

/** The choices that all files agree on. */
function choicesOf(files) {
  const [one, ...others] = files.split(',').map(ratiosOf)
  return [...one.keys()].sort().flatMap((key) => {
    const { first, ratios } = one.get(key)
    if (others.some((run) => run.get(key)?.first !== first)) return []
    const worst = (variant) =>
      Math.max(...[one, ...others].map((run) => run.get(key).ratios.get(variant) ?? 1))
    const best = [...ratios.keys()].reduce((a, b) => (worst(b) < worst(a) ? b : a))
    return worst(best) < MARGIN ? [[key, best]] : []
  })
}

const tables = {}
for (let i = 0; i < rest.length; i += 2) {
  const part = rest[i]
  tables[part] = { ...tables[part], ...Object.fromEntries(choicesOf(rest[i + 1])) }
}

const quoted = (text) => `'${text.replaceAll("'", "\\'")}'`
const lines = Object.entries(tables).flatMap(([part, choices]) => [
  `  ${quoted(part)}: {`,
  ...Object.entries(choices).map(([key, variant]) => `    ${quoted(key)}: ${quoted(variant)},`),
  '  },',
])
const text = `/**
 * Choices that fovea ships, by a part of the adapter's name and by key: where a measurement found another
 * candidate clearly faster than the first. Written by scripts/tuner-defaults.mjs.
 */
export const TUNER_DEFAULTS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
${lines.join('\n')}
}
`
writeFileSync(new URL('../src/gpu/tuner-defaults.ts', import.meta.url), text)
console.log(
  Object.entries(tables)
    .map(([part, c]) => `${part}: ${Object.keys(c).length} choices`)
    .join('\n'),
)
