// Prints what fovea and its peers weigh in a web page: minified, and gzipped as a server sends it.
//
//   node scripts/bundle-size.mjs [--json] [--own]
//
// The peers are those of bench/peers (npm ci --prefix bench/peers); --own leaves them out.
import { existsSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { wgslForPages } from './build.mjs'

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
    // What is imported when it is asked for lies in files of its own, as in dist/.
    splitting: true,
    outdir: 'page',
    // A Node module is reported here, not refused by esbuild.
    external: ['node:*'],
    plugins: [wgslForPages],
  })
  const { loaded, later } = reached(metafile.outputs)
  const bytesOf = (name) => outputFiles.find((file) => file.path.endsWith(name)).contents
  const sizeOf = (names) => names.reduce((sum, name) => sum + gzipSync(bytesOf(name), { level: 9 }).length, 0)
  const modules = (names) =>
    names.flatMap((name) =>
      Object.entries(metafile.outputs[name].inputs).flatMap(([path, { bytesInOutput }]) =>
        bytesInOutput > 0 ? [path] : [],
      ),
    )
  const laterBytes = (holds) => sizeOf(later.filter((name) => modules([name]).some(holds)))
  const packages = (names) => modules(names).filter((path) => path.includes('node_modules'))
  const imports = [...Object.values(metafile.inputs), ...Object.values(metafile.outputs)].flatMap((file) =>
    file.imports
      // `<runtime>` is esbuild's own, for syntax newer than the target.
      .filter((i) => (i.external && i.path !== '<runtime>') || isBuiltin(i.path))
      .map((i) => i.path),
  )
  return {
    page,
    minified: loaded.reduce((sum, name) => sum + bytesOf(name).length, 0),
    gzipped: sizeOf(loaded),
    imports,
    modules: modules(loaded).filter((path) => path.startsWith('src/')),
    // What it loads besides on adapters with subgroups, on a CPU driver; and all that it may ever ask for.
    withSubgroups: laterBytes((module) => module.endsWith('kernels-for-subgroups')),
    onCpu: laterBytes((module) => module === 'src/autograd/ops/conv2d_cpu_kernels.ts'),
    everything: sizeOf(loaded) + sizeOf(later),
    packages: packages(loaded),
    packagesLater: packages(later),
  }
}

/** The files that a page loads at once, and those that they or what they load may ask for later. */
function reached(outputs) {
  const importsOf = (name, kinds) =>
    outputs[name].imports
      .filter(({ path, kind }) => outputs[path] && kinds.includes(kind))
      .map(({ path }) => path)
  const closure = (names, ...kinds) => {
    const all = new Set(names)
    for (const name of all) for (const path of importsOf(name, kinds)) all.add(path)
    return all
  }
  const page = Object.keys(outputs).find((name) => outputs[name].entryPoint === '<stdin>')
  const loaded = closure([page], 'import-statement')
  const all = closure([page], 'import-statement', 'dynamic-import')
  return { loaded: [...loaded], later: [...all].filter((name) => !loaded.has(name)) }
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
  for (const [name, { minified, gzipped, withSubgroups, onCpu, everything }] of rows) {
    const more = onCpu
      ? `; more with subgroups ${kilobytes(withSubgroups).trim()}, on a CPU driver ${kilobytes(onCpu).trim()}; all its files ${kilobytes(everything).trim()}`
      : ''
    console.log(`${name.padEnd(36)}${kilobytes(minified)} minified${kilobytes(gzipped)} gzipped${more}`)
  }
}
