/**
 * Everything that is to be known of a machine with a graphics processor, in one run:
 *
 *     node bench/gpu/measure.mjs [--adapter hardware] [--device cuda] [--python python3] [--out bench/results/gpu.json]
 *                                [--features 32] [--channels 3] [--batch 8] [--size 256] [--only tests,conv,training,objects]
 *                                [--convs TEXT]
 *
 * tests     the test suite in Node on that adapter
 * conv      convolutions (--convs: those whose name contains TEXT), tuned, against the multiply-adds measured in the
 *           same process
 * training  the U-Net's training step in eager PyTorch (float32 without TF32; float16) and in fovea (float32, mixed
 *           precision), one after another; what an adapter does not offer is skipped and said
 *
 * objects   segment-then-segment and polar fusion on an image of 154 objects, against a pass of the rough network
 *
 * Writes JSON and, from it, the section of docs/performance.md. Wants `npm run build` and a python3 with PyTorch; a bare
 * machine gets all but PyTorch and the graphics driver from bench/gpu/pack.sh. Try it anywhere with
 * `--adapter lavapipe --device cpu --features 4 --batch 1 --size 32 --convs 'conv2d 3×3 4×32→32' --only conv,training
 * --out FILE`.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { parseArgs } from 'node:util'

process.chdir(new URL('../..', import.meta.url).pathname)
const PARTS = ['tests', 'conv', 'training', 'objects']
const { values: given } = parseArgs({
  options: {
    adapter: { type: 'string', default: 'hardware' },
    device: { type: 'string', default: 'cuda' },
    python: { type: 'string', default: 'python3' },
    out: { type: 'string', default: 'bench/results/gpu.json' },
    features: { type: 'string', default: '32' },
    channels: { type: 'string', default: '3' },
    batch: { type: 'string', default: '8' },
    size: { type: 'string', default: '256' },
    only: { type: 'string', default: PARTS.join(',') },
    convs: { type: 'string', default: 'conv2d' },
  },
})
const asked = given.only.split(',')
const unknown = asked.filter((part) => !PARTS.includes(part))
if (unknown.length > 0)
  fail(`--only ${unknown.join(',')}: there is no such part; choose from ${PARTS.join(', ')}`)
if (!existsSync('dist/cli.js')) fail('dist/cli.js is not there: run npm run build')

function fail(message) {
  console.error(`bench/gpu/measure.mjs: ${message}`)
  process.exit(2)
}

/** Runs a program and gives what it printed. Its messages go to this terminal, too, where `show`. */
function run(command, args, { env = {}, show = false } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let [out, err] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (text) => {
      out += text
      if (show) process.stderr.write(text)
    })
    child.stderr.setEncoding('utf8').on('data', (text) => {
      err += text
      if (show) process.stderr.write(text)
    })
    child.on('error', (error) => resolve({ status: 1, out, err: error.message }))
    child.on('close', (status) => resolve({ status, out, err }))
  })
}

/** The sentence among what a failed program said. */
const sentence = (text) => {
  const lines = text.split('\n').filter((line) => line.trim() && !/^(Warning|\(add --help)/.test(line))
  return (
    lines.find((line) => /^(fovea: |error: |\w*Error: )/.test(line)) ??
    lines.at(-1) ??
    'no message'
  ).trim()
}

async function bench(...args) {
  const { status, out, err } = await run(process.execPath, [
    'dist/cli.js',
    'bench',
    '--json',
    '--adapter',
    given.adapter,
    ...args,
  ])
  return status === 0 ? JSON.parse(out) : { error: sentence(err) }
}

/** The last line of scripts/test.mjs, in numbers; what fails is shown as it happens. */
async function tests() {
  const env = { FOVEA_ADAPTER: given.adapter }
  const { out } = await run(process.execPath, ['scripts/test.mjs', 'node'], { env, show: true })
  const counts = /(\d+) passed, (\d+) failed(?:, (\d+) skipped)?\s*$/.exec(out)
  if (!counts) return { passed: 0, failed: 1, skipped: 0 }
  const [passed, failed, skipped = 0] = counts.slice(1).map((n) => Number(n ?? 0))
  return { passed, failed, skipped }
}

async function pytorch(precision) {
  const size = ['features', 'channels', 'batch', 'size'].flatMap((name) => [`--${name}`, given[name]])
  const args = ['bench/gpu/pytorch_unet.py', '--device', given.device, '--precision', precision, ...size]
  const { status, out, err } = await run(given.python, args)
  if (status !== 0) return { name: `PyTorch ${precision}`, skipped: sentence(err) }
  return { name: `PyTorch ${precision}`, ...JSON.parse(out) }
}

const size = ['features', 'channels', 'batch', 'size'].flatMap((name) => [`--${name}`, given[name]])

async function fovea(name, ...flags) {
  const result = await bench('--no-kernels', '--tune', ...size, ...flags)
  if (result.error) {
    const missing = /unknown option '([^']+)'/.exec(result.error)
    return { name, skipped: missing ? `this fovea has no ${missing[1]}` : result.error }
  }
  const row = result.networks.find((r) => r.name.includes('training step'))
  return { ...row, name, where: environment(result) }
}

const environment = ({ date, adapter, features, cpu, platform, node, webgpu, ceiling }) => ({
  date,
  adapter,
  features,
  cpu,
  platform,
  node,
  webgpu,
  ceiling,
})

const say = (text) => process.stderr.write(`${text}\n`)
const result = existsSync(given.out) ? JSON.parse(readFileSync(given.out, 'utf8')) : {}

if (asked.includes('conv')) {
  say('convolutions, tuned …')
  const measured = await bench('--only', given.convs, '--no-networks', '--tune', '--large')
  if (measured.error) fail(measured.error)
  Object.assign(result, environment(measured), { conv: measured.kernels })
  for (const { name, gflops } of measured.kernels)
    say(
      `  ${name.padEnd(48)}${gflops.toFixed(0).padStart(8)} GFLOP/s, ${((100 * gflops) / measured.ceiling.gflops).toFixed(0)} %`,
    )
}
if (asked.includes('training')) {
  const rows = []
  for (const once of [
    () => pytorch('float32'),
    () => fovea('fovea float32'),
    () => fovea('fovea mixed', '--precision', 'mixed'),
    () => fovea('fovea mixed, subgroup matrices', '--precision', 'mixed', '--subgroup-matrices'),
    () => pytorch('tf32'),
    () => pytorch('float16'),
  ]) {
    const { where, ...row } = await once()
    if (where) Object.assign(result, where)
    rows.push(row)
    say(
      `  ${row.name.padEnd(34)}${row.ms === undefined ? `skipped: ${row.skipped}` : `${row.ms.toFixed(2)} ms`}`,
    )
  }
  const at = (name) => rows.find((r) => r.name === name)?.ms
  const ratio = (a, b) => (a && b ? `${(a / b).toFixed(2)}×` : 'not measured')
  say(`fovea float32 is ${ratio(at('PyTorch float32'), at('fovea float32'))} as fast as PyTorch float32`)
  const fastest = Math.min(...rows.filter((r) => r.name.startsWith('fovea mixed') && r.ms).map((r) => r.ms))
  if (Number.isFinite(fastest))
    say(`fovea mixed is ${ratio(at('fovea float32'), fastest)} as fast as fovea float32`)
  const work = `unet${given.features} ${given.batch}×${given.channels}×${given.size}²`
  result.training = { size: work, device: given.device, rows }
}
if (asked.includes('objects')) {
  say('an image of many objects …')
  const network = ['--features', given.features, '--channels', given.channels]
  const measured = await bench('--objects', '--batch', '1', '--size', '64', ...network)
  if (measured.error) fail(measured.error)
  Object.assign(result, environment(measured), { objects: measured.objects })
  for (const { method, ms, passes } of measured.objects)
    say(
      `  ${method.padEnd(60)}${ms.toFixed(1).padStart(8)} ms, ${passes.toFixed(1)} passes of the rough network`,
    )
}
if (asked.includes('tests')) {
  say('the test suite …')
  result.tests = await tests()
  say(`tests: ${result.tests.passed} passed, ${result.tests.failed} failed, ${result.tests.skipped} skipped`)
}

mkdirSync(dirname(given.out), { recursive: true })
writeFileSync(given.out, `${JSON.stringify(result, null, 1)}\n`)
say(`written: ${given.out}`)
const { status, err } = await run(process.execPath, ['scripts/performance.mjs'])
say(status === 0 ? 'written: docs/performance.md' : sentence(err))
