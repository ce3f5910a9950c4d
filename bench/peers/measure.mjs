/** Timing and counting for one peer's process, and the one JSON line that it prints. */
import { execFile } from 'node:child_process'
import { createRequire } from 'node:module'
import { promisify } from 'node:util'

const counts = { dispatches: 0, submissions: 0, newBuffers: 0 }

function count(prototype, method, key) {
  const original = prototype[method]
  prototype[method] = function (...args) {
    counts[key]++
    return original.apply(this, args)
  }
}

/**
 * Gives Node the browser's WebGPU (Dawn, npm `webgpu`, the version that fovea uses), with dispatches, submissions
 * and new buffers counted. `ready()` resolves once all submitted work is done; `adapter` names the adapter.
 */
export async function openWebGPU() {
  const { create, globals } = await import('webgpu')
  // Dawn crashes when what create() returned is collected, also at exit.
  const gpu = create([])
  globalThis.foveaBenchGpu = gpu
  Object.assign(globalThis, globals)
  Object.defineProperty(globalThis, 'navigator', {
    value: { gpu, userAgent: 'Node', platform: process.platform },
  })

  failOnGpuErrors(globals.GPUAdapter.prototype)
  count(globals.GPUComputePassEncoder.prototype, 'dispatchWorkgroups', 'dispatches')
  count(globals.GPUComputePassEncoder.prototype, 'dispatchWorkgroupsIndirect', 'dispatches')
  count(globals.GPUQueue.prototype, 'submit', 'submissions')
  count(globals.GPUDevice.prototype, 'createBuffer', 'newBuffers')

  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' })
  if (!adapter) throw new Error('no WebGPU adapter: see `fovea devices` for what to install')
  return { adapter: adapterName(adapter.info), counts }
}

/** Names the adapter that Dawn chooses here, in a process of its own: for a peer that brings its own Dawn. */
export async function probeAdapter() {
  const script = `import(${JSON.stringify(import.meta.url)})
    .then(({ openWebGPU }) => openWebGPU()).then(({ adapter }) => process.stdout.write(adapter))`
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', script])
  return stdout
}

/** The first GPU error of the process; a peer that errs computes nothing, and does that fast. */
let gpuError

function failOnGpuErrors(prototype) {
  const original = prototype.requestDevice
  prototype.requestDevice = async function (...args) {
    const device = await original.apply(this, args)
    device.addEventListener('uncapturederror', (event) => {
      gpuError ??= event.error.message
      event.preventDefault()
    })
    return device
  }
}

const adapterName = ({ vendor, architecture, device, description }) =>
  [device || [vendor, architecture].filter(Boolean).join(' '), description].filter(Boolean).join(', ')

/** The version of an installed package. */
export function packageVersion(name) {
  const require = createRequire(import.meta.url)
  const folder = require.resolve.paths(name)[0]
  return require(`${folder}/${name}/package.json`).version
}

const quick = process.argv.includes('--quick')
/** Runs a measured item until it has `runs` samples, or `seconds` are spent and it has `atLeast`. */
const PLAN = quick
  ? { warmUps: 1, runs: 3, atLeast: 1, seconds: 3 }
  : { warmUps: 2, runs: 9, atLeast: 3, seconds: 12 }

/**
 * Times `step`, which resolves when the GPU is done: median and least ms. `counted` are openWebGPU's counts, and the
 * result's are those of the last run. `first` is the first warm-up's ms, with all that is compiled in it.
 */
export async function measure(name, step, counted = undefined) {
  let first
  for (let i = 0; i < PLAN.warmUps; i++) {
    const start = performance.now()
    await step()
    first ??= performance.now() - start
  }
  const times = []
  let spent = 0
  let before
  while (times.length < PLAN.runs && (times.length < PLAN.atLeast || spent < PLAN.seconds * 1000)) {
    before = { ...counted }
    const start = performance.now()
    await step()
    const ms = performance.now() - start
    times.push(ms)
    spent += ms
  }
  await new Promise((resolve) => setTimeout(resolve, 20))
  if (gpuError) throw new Error(`GPU error: ${gpuError}`)
  const sorted = times.toSorted((a, b) => a - b)
  const middle = (sorted.length - 1) / 2
  const median = (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2
  const used =
    counted && Object.fromEntries(Object.keys(counted).map((key) => [key, counted[key] - before[key]]))
  return { name, ms: round(median), min: round(sorted[0]), first: round(first), runs: times.length, ...used }
}

const round = (ms) => Number(ms.toPrecision(4))

/**
 * Runs a peer's items and prints its JSON line, anew after each item: the last line counts, so that a peer which
 * crashes or runs out of time keeps what it had. `work` yields `[name, function]` pairs; the function returns a
 * result of `measure`. An item that fails is reported as `{ name, error }` and the next one runs.
 */
export async function report(peer, version, adapter, work) {
  const results = []
  for (const [name, run] of work) {
    try {
      results.push(await run(name))
    } catch (error) {
      results.push({ name, error: String(error?.message ?? error) })
      process.stderr.write(`${error?.stack ?? error}\n`)
    }
    process.stdout.write(`${JSON.stringify({ peer, version, adapter, results })}\n`)
  }
}
