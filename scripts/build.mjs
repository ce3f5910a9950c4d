// Builds dist/: the Node library, the command, the browser bundle, and their types.
import { execFileSync } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { shortener } from './shorten-wgsl.mjs'

/** An esbuild plugin that loads kernels as text, each through `change`. */
const kernels = (change) => ({
  name: 'wgsl',
  setup(b) {
    b.onLoad({ filter: /\.wgsl$/ }, ({ path }) => ({
      contents: change(readFileSync(path, 'utf8')),
      loader: 'text',
    }))
  },
})

/** For Node: an error of the driver can quote what is in the file. */
export const wgsl = kernels((text) => text)
/** For pages, which load it: short. */
export const wgslForPages = kernels(shortener(fileURLToPath(new URL('../kernels', import.meta.url))))

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
