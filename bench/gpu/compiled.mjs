/**
 * What a compiler for GPUs makes of the matrix products, on a machine without one:
 *
 *     node bench/gpu/compiled.mjs [--family polaris10] [--json]
 *
 * Mesa's driver for AMD (package mesa-vulkan-drivers) compiles for a chip that is not there, if it is told which
 * (RADV_FORCE_FAMILY), and prints registers and instructions. Nothing runs and nothing is timed: the table says how many
 * vector instructions a thread issues while it multiplies a slice, how many of them multiply and add, and whether anything
 * lies in memory that belongs in registers. Chips newer than GCN 4 (polaris10) open no device without hardware.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { build } from 'esbuild'
import { readKernel } from '../../scripts/wgsl.mjs'

process.chdir(new URL('../..', import.meta.url).pathname)
const { values: given } = parseArgs({
  options: {
    family: { type: 'string', default: 'polaris10' },
    json: { type: 'boolean', default: false },
    compile: { type: 'string' },
  },
})
const DRIVERS = ['radeon_icd.json', 'radeon_icd.x86_64.json'].map((file) => `/usr/share/vulkan/icd.d/${file}`)

if (given.compile) await compile(JSON.parse(given.compile))
else await main()

/** In a process of its own, since the driver writes to its error stream: compiles one entry point. */
async function compile({ file, entry, overrides }) {
  const { create, globals } = await import('webgpu')
  Object.assign(globalThis, globals)
  const gpu = create([])
  const adapter = await gpu.requestAdapter()
  const { maxComputeWorkgroupStorageSize, maxStorageBuffersPerShaderStage } = adapter.limits
  const device = await adapter.requestDevice({
    requiredLimits: { maxComputeWorkgroupStorageSize, maxStorageBuffersPerShaderStage },
  })
  const module = device.createShaderModule({ code: readKernel(`kernels/${file}.wgsl`) })
  await device.createComputePipelineAsync({
    layout: 'auto',
    compute: { module, entryPoint: entry, constants: overrides },
  })
  // How the driver ends without its chip does not matter.
  console.log('compiled')
  process.exit(0)
}

async function main() {
  const driver = DRIVERS.find((path) => existsSync(path))
  if (!driver) fail('no Mesa driver for AMD: install mesa-vulkan-drivers')
  const rows = []
  for (const { name, ...dispatch } of await cases()) {
    const { stdout, stderr } = spawnSync(
      process.execPath,
      ['bench/gpu/compiled.mjs', '--compile', JSON.stringify(dispatch)],
      {
        encoding: 'utf8',
        maxBuffer: 2 ** 28,
        env: {
          ...process.env,
          VK_ICD_FILENAMES: driver,
          RADV_FORCE_FAMILY: given.family,
          RADV_DEBUG: 'shaders,shaderstats,nocache',
        },
      },
    )
    if (!stdout.includes('compiled'))
      fail(
        `${name}: ${stderr.split('\n').findLast((line) => /Error/.test(line)) ?? `no device for ${given.family}`}`,
      )
    rows.push({ name, ...read(stderr, dispatch) })
  }
  if (given.json) console.log(JSON.stringify({ family: given.family, rows }, null, 1))
  else print(rows)
}

function fail(message) {
  console.error(`bench/gpu/compiled.mjs: ${message}`)
  process.exit(2)
}

/** The dispatches that a GPU takes by default. */
async function cases() {
  const outfile = join(tmpdir(), `fovea-plan-${process.pid}.mjs`)
  await build({
    entryPoints: ['src/autograd/conv2d/plan.ts'],
    ...{ bundle: true, format: 'esm', platform: 'node', logLevel: 'warning', outfile },
  })
  const { planConv2d } = await import(pathToFileURL(outfile).href)
  rmSync(outfile)
  const adapter = {
    cpu: false,
    subgroups: true,
    lanes: true,
    maxInvocations: 1024,
    maxWorkgroupStorage: 2 ** 16,
  }
  const of = (window, stride, pad, size) => ({
    ...{
      n: 8,
      cin: 64,
      h: size,
      w: size,
      cout: 64,
      kh: window,
      kw: window,
      strideH: stride,
      strideW: stride,
    },
    ...{ padH: pad, padW: pad, dilationH: 1, dilationW: 1, groups: 1 },
    ...{
      outH: Math.floor((size + 2 * pad - window) / stride) + 1,
      outW: Math.floor((size + 2 * pad - window) / stride) + 1,
    },
  })
  const shapes = {
    '3×3': of(3, 1, 1, 64),
    '1×1': of(1, 1, 0, 64),
    '2×2 stride 2': of(2, 2, 0, 64),
    '5×5': of(5, 1, 2, 64),
    '3×3 stride 2': of(3, 2, 1, 64),
  }
  const parts = { forward: 'forward', inputGrad: 'gradient of x', weightGrad: 'gradient of weight' }
  const convolutions = Object.entries(shapes).flatMap(([window, shape]) => {
    const plan = planConv2d(shape, adapter)
    return Object.entries(parts).map(([part, words]) => {
      const { file, entry, overrides } = plan[part].find((v) => v.name === 'gemm').dispatches[0]
      return { name: `conv2d ${window}, ${words}`, file, entry, overrides }
    })
  })
  const wide = { WIDE_A: 1, WIDE_B: 1, EVEN_K: 1 }
  const matmul = { file: 'matmul', entry: 'tiles_wide' }
  return [
    ...convolutions,
    { name: 'matmul A·B', ...matmul, overrides: wide },
    { name: 'matmul A·Bᵀ', ...matmul, overrides: { ...wide, TRANSPOSE_B: 1 } },
  ]
}

/** The numbers in what the driver printed. */
function read(text, { overrides }) {
  const stat = (name) => Number(text.match(new RegExp(`^${name}: (\\d+)`, 'm'))?.[1])
  const lines = text.split('\n')
  const labels = new Map(
    lines.flatMap((line, i) => (/^BB\d+:\s*$/.test(line) ? [[line.trim().slice(0, -1), i]] : [])),
  )
  // A loop: from a label to a branch back to it, in the listing that has the instructions' bits behind a semicolon.
  const loops = lines.flatMap((line, i) => {
    const from = labels.get(line.match(/^\s*s_c?branch\w*\s+(BB\d+).*;/)?.[1])
    return from < i ? [count(lines.slice(from, i))] : []
  })
  const multiplies = loops.filter(({ multiplyAdds }) => multiplyAdds > 0)
  if (multiplies.length === 0)
    fail('the driver printed no loop that multiplies: another Mesa may write it otherwise')
  const inner = multiplies.reduce((a, b) => (b.all < a.all ? b : a))
  const outer = multiplies.reduce((a, b) => (b.all > a.all ? b : a))
  // Written out in full, or once for four k.
  const turns = inner === outer ? 1 : (overrides.DEPTH ?? 16) / 4
  const multiplyAdds = inner.multiplyAdds * turns
  const others = outer.vector - outer.multiplyAdds - (inner.vector - inner.multiplyAdds) * (1 - turns)
  return {
    registers: stat('VGPRs'),
    scratch: stat('Scratch size'),
    workgroupBytes: stat('LDS size'),
    multiplyAdds,
    others,
    share: multiplyAdds / (multiplyAdds + others),
  }
}

function count(lines) {
  const names = lines.flatMap((line) => line.match(/^\s+([a-z]\w*)\s.*;/)?.[1] ?? [])
  return {
    all: names.length,
    vector: names.filter((name) => name.startsWith('v_')).length,
    multiplyAdds: names.filter((name) => /^v_(mac|fma|mad)_f32/.test(name)).length,
  }
}

function print(rows) {
  console.log(
    '| product | vector registers | scratch bytes | workgroup memory | multiply-adds a slice | other vector instructions | share |',
  )
  console.log('|---|---:|---:|---:|---:|---:|---:|')
  for (const r of rows) {
    console.log(
      `| ${r.name} | ${r.registers} | ${r.scratch} | ${r.workgroupBytes} | ${r.multiplyAdds} | ${r.others} | ${Math.round(100 * r.share)} % |`,
    )
  }
}
