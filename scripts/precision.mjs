// Mixed precision beside float32: time and memory of the U-Net's training step, and the DSC that both learn.
//
//   node scripts/precision.mjs steps                      the step, at two sizes
//   node scripts/precision.mjs errors                     predictions and gradients against float32's
//   node scripts/precision.mjs train --seeds 1,2,3        fovea train with each seed in both precisions
//   node scripts/precision.mjs train --seeds 1 -- --size 128 --data data/lesion     options of fovea train
//
// Runs go to runs/precision (--out changes that); those that are there already are read, not trained again.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { build } from 'esbuild'
import { wgsl } from './wgsl.mjs'

process.chdir(join(import.meta.dirname, '..'))

const cut = process.argv.indexOf('--')
const given = process.argv.slice(2, cut < 0 ? undefined : cut)
const passed =
  cut < 0 ? ['--data', 'data/lesion', 'data/nuclei', '--method', 'cartesian'] : process.argv.slice(cut + 1)
const { positionals, values } = parseArgs({
  args: given,
  allowPositionals: true,
  options: {
    seeds: { type: 'string', default: '1,2,3' },
    out: { type: 'string', default: 'runs/precision' },
    adapter: { type: 'string', default: 'auto' },
  },
})
const parts = positionals.length > 0 ? positionals : ['steps', 'errors', 'train']

mkdirSync('.fovea', { recursive: true })
const outfile = '.fovea/bench-precision.mjs'
const node = { bundle: true, format: 'esm', target: 'es2022', platform: 'node', packages: 'external' }
await build({ ...node, entryPoints: ['bench/precision.ts'], outfile, plugins: [wgsl], logLevel: 'warning' })
const bench = await import(pathToFileURL(outfile).href)

if (parts.includes('steps')) {
  const sizes = [
    { features: 16, batch: 4, side: 64 },
    { features: 16, batch: 4, side: 128 },
  ]
  const rows = []
  for (const size of sizes) rows.push(...(await bench.benchSteps(values.adapter, size)))
  console.log(bench.stepTable(rows))
}
if (parts.includes('errors')) {
  const rows = []
  for (const size of [
    { features: 8, batch: 4, side: 64 },
    { features: 4, batch: 2, side: 256 },
  ])
    rows.push(...(await bench.benchErrors(values.adapter, size)))
  console.log(bench.errorTable(rows))
}
if (parts.includes('train')) {
  const seeds = values.seeds.split(',').map(Number)
  const args = [...passed, '--adapter', values.adapter]
  const rows = await bench.benchTraining(values.out, seeds, args, (text) => process.stderr.write(text))
  console.log(bench.diceTable(rows))
}
process.exit()
