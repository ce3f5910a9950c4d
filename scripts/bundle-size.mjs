// Prints what fovea and its peers weigh in a web page: minified, and gzipped as a server sends it.
//
//   node scripts/bundle-size.mjs [--json] [--own]
//
// The peers are those of bench/peers (npm ci --prefix bench/peers); --own leaves them out.
import { existsSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { wgsl } from './build.mjs'

const pages = {
  'a page that trains a U-Net': "export { Adam, diceLoss, openDevice, UNet } from './src/index.ts'",
  'all of fovea': "export * from './src/index.ts'",
}

async function weigh([page, contents]) {
  const { outputFiles, metafile } = await build({
    stdin: { contents, resolveDir: '.' },
    bundle: true,
    minify: true,
    write: false,
    metafile: true,
    format: 'esm',
    target: 'es2022',
    platform: 'browser',
    // A Node module is reported here, not refused by esbuild.
    external: ['node:*'],
    plugins: [wgsl],
  })
  const bytes = outputFiles[0].contents
  const imports = [...Object.values(metafile.inputs), ...Object.values(metafile.outputs)].flatMap((file) =>
    file.imports.filter((i) => i.external || isBuiltin(i.path)).map((i) => i.path),
  )
  const packages = Object.keys(metafile.inputs).filter((path) => path.includes('node_modules'))
  return { page, minified: bytes.length, gzipped: gzipSync(bytes, { level: 9 }).length, imports, packages }
}

const INSTALLED = new URL('../bench/peers/node_modules', import.meta.url)

async function peerSizes() {
  if (process.argv.includes('--own')) return []
  if (!existsSync(INSTALLED)) {
    console.error('the peers are not installed: npm ci --prefix bench/peers, or pass --own')
    return []
  }
  const { peerBundleSizes } = await import('../bench/peers/bundle-size.mjs')
  return peerBundleSizes()
}

const fovea = await Promise.all(Object.entries(pages).map(weigh))
const peers = await peerSizes()
if (process.argv.includes('--json')) {
  const date = new Date().toISOString().slice(0, 10)
  console.log(JSON.stringify({ date, fovea, peers }, null, 1))
} else {
  const kilobytes = (n) => `${(n / 1000).toFixed(1)} kB`.padStart(10)
  const rows = [
    ...fovea.map((f) => [`fovea: ${f.page}`, f]),
    ...peers.map((p) => [`${p.peer} ${p.version}`, p]),
  ]
  for (const [name, { minified, gzipped }] of rows)
    console.log(`${name.padEnd(36)}${kilobytes(minified)} minified${kilobytes(gzipped)} gzipped`)
}
