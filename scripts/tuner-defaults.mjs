// Writes src/gpu/tuner-defaults.ts, the choices of kernels that fovea ships, from what `fovea tune` measured:
//
//   fovea tune --adapter lavapipe --features 8,16 --again --json > lavapipe.json
//   node scripts/tuner-defaults.mjs llvmpipe lavapipe.json swiftshader swiftshader.json
//
// Each pair of arguments is a part of the adapter's name in lower case, and a file of timings. A
// choice is shipped where another candidate than the first was faster by MARGIN; the rest follows the plans.
// To be run anew when kernels change: a choice may stand in the way of a better candidate that is new.
import { readFileSync, writeFileSync } from 'node:fs'

/** A machine of another kind than the one measured on must not lose by it. */
const MARGIN = 0.85

const [, , ...rest] = process.argv
if (rest.length === 0 || rest.length % 2 === 1) {
  console.error('usage: node scripts/tuner-defaults.mjs PART TIMINGS.json [PART TIMINGS.json …]')
  process.exit(2)
}

/** The choices of one file that differ from the first candidate. */
function choicesOf(file) {
  const { timings } = JSON.parse(readFileSync(file, 'utf8'))
  const keys = [...new Set(timings.map((t) => t.key))].sort()
  return keys.flatMap((key) => {
    const [first, ...others] = timings.filter((t) => t.key === key)
    const best = others.reduce((a, b) => (b.ms < a.ms ? b : a), first)
    return best.ms < MARGIN * first.ms ? [[key, best.variant]] : []
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
