/**
 * Runs the peers one after another, each in a process of its own, and gathers what they measured.
 *
 *     node bench/peers/run.mjs [--json] [--quick] [--only tfjs,jaxjs,ort,pytorch] [--adapter FILE]
 *
 * Installs nothing: `npm ci --prefix bench/peers` does, and PyTorch is whichever a python3 here has.
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { ITEMS } from './workload.mjs'

/** The peers by the name of their file. PyTorch runs on the processor, the others on the adapter. */
export const PEERS = ['tfjs', 'jaxjs', 'ort', 'pytorch']
export { ITEMS }

export const INSTALL = 'npm ci --prefix bench/peers'
const HERE = fileURLToPath(new URL('.', import.meta.url))
/** jax-js alone traces and compiles for minutes on a CPU driver. */
const LIMIT_S = { quick: 420, full: 600 }

/**
 * @typedef {object} PeerResult
 * @property {string} name one of ITEMS
 * @property {number} [ms] median of the runs
 * @property {number} [min]
 * @property {number} [first] the first run, compilation included
 * @property {number} [runs]
 * @property {number} [dispatches] of one run; absent where the peer does not go through JavaScript's WebGPU
 * @property {number} [submissions]
 * @property {number} [newBuffers]
 * @property {number[]} [check] mean absolute values of the results, or the first two losses: equal across peers
 * @property {string} [error] why this item has no numbers
 *
 * @typedef {object} PeerReport
 * @property {string} peer
 * @property {string} [version]
 * @property {string} [adapter]
 * @property {PeerResult[]} results
 * @property {string} [error] why the peer gave nothing, or not all
 */

/**
 * Never throws: a peer that fails is a report with `error`.
 * @param {object} [options]
 * @param {string[]} [options.only] of PEERS
 * @param {string} [options.adapter] 'lavapipe', or a Vulkan driver manifest; without it, VK_ICD_FILENAMES or the
 *   Vulkan loader's choice. An adapter choice that is neither (such as 'auto') is left to the loader.
 * @param {Record<string, string>} [options.env] more environment for the peers' processes
 * @param {boolean} [options.quick] one warm-up and up to three runs an item
 * @param {(report: PeerReport) => void} [options.onReport] called as each peer ends
 * @returns {Promise<PeerReport[]>}
 */
export async function runPeers({ only = PEERS, adapter, env = {}, quick = false, onReport } = {}) {
  const reports = []
  for (const peer of only) {
    const report = await runPeer(peer, { ...process.env, ...driver(adapter), ...env }, quick)
    reports.push(report)
    onReport?.(report)
  }
  flagDisagreement(reports)
  return reports
}

async function runPeer(peer, env, quick) {
  const failed = (error) => ({ peer, results: [], error })
  if (!PEERS.includes(peer)) return failed(`no such peer; there are ${PEERS.join(', ')}`)
  const python = peer === 'pytorch' ? pythonWithTorch() : undefined
  if (peer === 'pytorch' && !python) return failed('no python3 here has torch (Debian: python3-torch)')
  if (!python && !existsSync(`${HERE}node_modules`)) return failed(`not installed: run ${INSTALL}`)
  const program = python ? [python, `${HERE}${peer}.py`] : [process.execPath, `${HERE}${peer}.mjs`]
  const { stdout, stderr, code, signal, late } = await run(program, env, quick)
  const report = lastReport(stdout)
  if (report && code === 0) return report
  const how = late ? `stopped after ${late} s` : signal ? `ended by ${signal}` : `exit code ${code}`
  const error = `${how}${late ? '' : `: ${reason(stderr)}`}`
  return report ? { ...report, error } : failed(error)
}

/** The first Python of the path, or the system's own, that imports PyTorch. */
function pythonWithTorch() {
  const imports = (python) => spawnSync(python, ['-c', 'import torch'], { stdio: 'ignore' }).status === 0
  return ['python3', '/usr/bin/python3'].find(imports)
}

function run([command, ...args], env, quick) {
  return new Promise((resolve) => {
    const child = spawn(command, [...args, ...(quick ? ['--quick'] : [])], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const text = { stdout: '', stderr: '' }
    for (const stream of ['stdout', 'stderr'])
      child[stream].setEncoding('utf8').on('data', (chunk) => {
        text[stream] += chunk
      })
    const limit = quick ? LIMIT_S.quick : LIMIT_S.full
    let late
    const timer = setTimeout(() => {
      late = limit
      child.kill('SIGKILL')
    }, limit * 1000)
    const end = (code, signal) => {
      clearTimeout(timer)
      resolve({ ...text, code, signal, late })
    }
    child.on('error', (error) => {
      text.stderr += error.message
      end(1, null)
    })
    child.on('close', end)
  })
}

/** The last line on standard output that is a peer's report; each replaces the one before it. */
function lastReport(stdout) {
  for (const line of stdout.trimEnd().split('\n').reverse()) {
    try {
      const report = JSON.parse(line)
      if (Array.isArray(report?.results)) return report
    } catch {}
  }
}

function reason(stderr) {
  const lines = stderr.split('\n').filter((line) => line.trim() && !line.startsWith('Warning:'))
  return (
    lines.find((line) => /^(Uncaught )?\w*Error: /.test(line))?.trim() ?? lines.at(-1)?.trim() ?? 'no message'
  )
}

/** The environment that makes a Vulkan loader open only the driver asked for. */
function driver(adapter) {
  const file = adapter === 'lavapipe' ? lavapipe() : adapter
  return file?.endsWith('.json') ? { VK_ICD_FILENAMES: file, VK_DRIVER_FILES: file } : {}
}

function lavapipe() {
  for (const folder of ['/etc/vulkan/icd.d', '/usr/local/share/vulkan/icd.d', '/usr/share/vulkan/icd.d']) {
    const file = existsSync(folder) && readdirSync(folder).find((name) => /^lvp_icd.*\.json$/.test(name))
    if (file) return `${folder}/${file}`
  }
}

/** A peer whose result differs from the first peer's by over 0.1 % has not done the same work: says so as its error. */
function flagDisagreement(reports) {
  for (const name of Object.values(ITEMS)) {
    const all = reports.flatMap((report) =>
      report.results.filter((result) => result.name === name && result.check),
    )
    const [first, ...rest] = all
    for (const result of rest)
      if (
        result.check.some(
          (value, i) => !(Math.abs(value - first.check[i]) <= 1e-3 * Math.abs(first.check[i])),
        )
      )
        result.error = `computes ${result.check} where the first peer computes ${first.check}`
  }
}

function table(reports) {
  const lines = []
  for (const { peer, version = '', adapter, results, error } of reports) {
    lines.push(`${peer} ${version}${adapter ? ` on ${adapter}` : ''}`)
    for (const { name, ms, min, first, runs, dispatches, submissions, newBuffers, error } of results) {
      const time = `${String(ms).padStart(7)} ms (least ${min}, first ${first}, ${runs} runs)`
      const counts = `, ${dispatches} dispatches, ${submissions} submissions, ${newBuffers} new buffers`
      const measured = ms === undefined ? '' : `${time}${dispatches === undefined ? '' : counts}`
      lines.push(`  ${name.padEnd(34)}${[measured, error && `error: ${error}`].filter(Boolean).join('; ')}`)
    }
    if (error) lines.push(`  error: ${error}`)
  }
  return lines.join('\n')
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      json: { type: 'boolean' },
      quick: { type: 'boolean' },
      only: { type: 'string' },
      adapter: { type: 'string' },
    },
  })
  const onReport = values.json ? undefined : ({ peer }) => process.stderr.write(`${peer}: done\n`)
  const reports = await runPeers({
    quick: values.quick,
    adapter: values.adapter,
    only: values.only?.split(','),
    onReport,
  })
  process.stdout.write(`${values.json ? JSON.stringify(reports, undefined, 2) : table(reports)}\n`)
}
