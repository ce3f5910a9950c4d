// Prints what fovea weighs in a web page: minified, and gzipped as a server sends it.
//
//   node scripts/bundle-size.mjs [--json]
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
  return { page, minified: bytes.length, gzipped: gzipSync(bytes).length, imports, packages }
}

const sizes = await Promise.all(Object.entries(pages).map(weigh))
if (process.argv.includes('--json')) console.log(JSON.stringify(sizes))
else {
  const kilobytes = (n) => `${(n / 1000).toFixed(1)} kB`
  for (const { page, minified, gzipped } of sizes)
    console.log(`${page}: ${kilobytes(minified)} minified, ${kilobytes(gzipped)} gzipped`)
}
