/**
 * The size of each peer's browser bundle that can run and train a U-Net: `node bench/peers/bundle-size.mjs [--json]`.
 * Bundled and minified by esbuild, each file gzipped at level 9; files that load on demand count, but those of
 * another backend (jax-js's WebGL) do not.
 */
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { packageVersion } from './measure.mjs'

const ENTRIES = {
  tfjs: '@tensorflow/tfjs-backend-webgpu',
  jaxjs: '@jax-js/jax',
}

const split = {
  bundle: true,
  minify: true,
  splitting: true,
  format: 'esm',
  platform: 'browser',
  target: 'es2022',
}

/** Minified and gzipped bytes of what esbuild makes of `entry`: `{ minified, gzipped }`. */
export async function bundleSize(entry) {
  const { outputFiles } = await build({
    ...split,
    entryPoints: [entry],
    outdir: '/bundle',
    write: false,
    logLevel: 'error',
  })
  const files = outputFiles.filter(({ path }) => !/webgl/.test(path))
  const sum = (size) => files.reduce((total, { contents }) => total + size(contents), 0)
  return {
    minified: sum((bytes) => bytes.length),
    gzipped: sum((bytes) => gzipSync(bytes, { level: 9 }).length),
  }
}

/** The same for every peer that has a browser bundle: `[{ peer, version, minified, gzipped }]`. */
export async function peerBundleSizes() {
  const sizes = []
  for (const [peer, name] of Object.entries(ENTRIES)) {
    const entry = fileURLToPath(new URL(`entries/${peer}.mjs`, import.meta.url))
    sizes.push({ peer, version: packageVersion(name), ...(await bundleSize(entry)) })
  }
  return sizes
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const sizes = await peerBundleSizes()
  if (process.argv.includes('--json')) process.stdout.write(`${JSON.stringify(sizes)}\n`)
  else
    for (const { peer, version, minified, gzipped } of sizes) {
      const kb = (bytes) => `${(bytes / 1000).toFixed(1).padStart(7)} KB`
      process.stdout.write(
        `${`${peer} ${version}`.padEnd(16)}${kb(minified)} minified${kb(gzipped)} gzipped\n`,
      )
    }
}
