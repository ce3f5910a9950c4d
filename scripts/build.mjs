// Builds dist/: the Node library, the command, the browser bundle, and their types.
import { execFileSync } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { build } from 'esbuild'

/** Kernels as text, without comments and indentation. */
export const wgsl = {
  name: 'wgsl',
  setup(b) {
    b.onLoad({ filter: /\.wgsl$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8')
        .replace(/\/\*[\s\S]*?\*\//g, '')
        .replace(/[ \t]*\/\/[^\n]*/g, '')
        .replace(/\n\s+/g, '\n'),
      loader: 'text',
    }))
  },
}

const common = { bundle: true, format: 'esm', target: 'es2022', plugins: [wgsl], logLevel: 'warning' }

export async function buildAll() {
  rmSync('dist', { recursive: true, force: true })
  const node = { ...common, platform: 'node', packages: 'external' }
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
