// Builds dist/: the Node library, the command, the browser bundle, and their types.
import { execFileSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { shortKernels } from './shorten-wgsl.mjs'
import { wgsl } from './wgsl.mjs'

/**
 * Kernels that pages load when their adapter wants them: on CPU drivers (conv2d_cpu_kernels.ts), on adapters with subgroups
 * (subgroup-kernels.ts), where a tuner may have chosen them (conv2d_tuned_kernels.ts), and where they were asked for
 * (subgroup_matrices.ts).
 */
const LATER = {
  'kernels-for-cpu':
    /^(conv2d_(\w+_)?(lanes(_wide)?|tile|patches)|conv2d_reduce_both|matmul_lanes|batch_norm_pooled)\.wgsl$/,
  'kernels-for-subgroups': /(_subgroups|^add_up_lanes)\.wgsl$/,
  'kernels-for-tuner':
    /^(conv2d_(input_grad_)?direct|conv2d_winograd|conv2d_weight_grad_planes|matmul)\.wgsl$/,
  'kernels-for-matrices': /^matrix_\w+\.wgsl$/,
}

const moduleOf = (file) => Object.keys(LATER).find((module) => LATER[module].test(file)) ?? 'kernels'

/** All kernels as pages have them: texts by file name. What pages load first has the shortest names. */
export const kernelsForPages = () =>
  shortKernels(fileURLToPath(new URL('../kernels', import.meta.url)), (file) => moduleOf(file) === 'kernels')

/** Characters that a kernel is compared with: gzip looks back four times as far, which sorts no better. */
const COMPARED = 2 ** 13

/** Kernels in an order that compresses well: each is the one of those left that has most in common with those before it. */
function byLikeness(kernels) {
  const gzipped = (text) => gzipSync(text, { level: 9 }).length
  const alone = new Map(kernels.map(([file, text]) => [file, gzipped(text)]))
  const left = [...kernels]
  const ordered = []
  let before = ''
  while (left.length > 0) {
    const saved = left.map(([file, text]) => alone.get(file) - gzipped(before + text))
    const [next] = left.splice(saved.indexOf(Math.max(...saved)), 1)
    ordered.push(next)
    before = (before + next[1]).slice(-COMPARED)
  }
  return ordered
}

/**
 * Kernels for pages: short, and in a module for all adapters and those of LATER, since gzip finds what they share only where
 * they lie close together.
 */
export const wgslForPages = {
  name: 'wgsl',
  setup(b) {
    const kernels = [...kernelsForPages()]
    const identifier = (file) => `kernel_${file.replace('.wgsl', '')}`
    b.onResolve({ filter: /^kernels(-for-\w+)?$/ }, ({ path }) => ({
      path,
      namespace: 'kernels',
      sideEffects: false,
    }))
    b.onLoad({ filter: /./, namespace: 'kernels' }, ({ path }) => ({
      contents: byLikeness(kernels.filter(([file]) => moduleOf(file) === path))
        .map(([file, text]) => `export const ${identifier(file)} = ${JSON.stringify(text)}`)
        .join('\n'),
    }))
    b.onLoad({ filter: /\.wgsl$/ }, ({ path }) => ({
      contents: `export { ${identifier(basename(path))} as default } from '${moduleOf(basename(path))}'`,
    }))
  },
}

const common = { bundle: true, format: 'esm', target: 'es2022', logLevel: 'warning' }

export async function buildAll() {
  rmSync('dist', { recursive: true, force: true })
  const node = { ...common, plugins: [wgsl], platform: 'node', packages: 'external' }
  await Promise.all([
    build({
      ...node,
      entryPoints: { node: 'src/node.ts', cli: 'src/cli/main.ts' },
      outdir: 'dist',
      splitting: true,
      chunkNames: 'chunks/[name]-[hash]',
    }),
    build({
      ...common,
      plugins: [wgslForPages],
      platform: 'browser',
      entryPoints: { browser: 'src/index.ts' },
      outdir: 'dist',
      // What is imported when it is asked for (ONNX export's protobuf) is a file of its own.
      splitting: true,
      chunkNames: 'chunks/browser-[name]-[hash]',
      sourcemap: true,
    }),
  ])
  execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'], {
    stdio: 'inherit',
  })
}

if (process.argv[1] === import.meta.filename || process.argv[1]?.endsWith('scripts/build.mjs'))
  await buildAll()
