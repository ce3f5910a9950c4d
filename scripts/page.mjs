// npm run page: serves examples/page, built anew at each reload.
//
//   node scripts/page.mjs [port]
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { context } from 'esbuild'
import { wgslForPages } from './build.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const ids = readdirSync(`${root}/data/lesion`)
  .filter((name) => name.endsWith('.jpg'))
  .map((name) => name.slice(0, -4))

const page = await context({
  entryPoints: [`${root}/examples/page/page.ts`],
  outdir: `${root}/examples/page`,
  write: false,
  bundle: true,
  format: 'esm',
  target: 'es2022',
  sourcemap: 'inline',
  define: { LESION_IDS: JSON.stringify(ids) },
  plugins: [wgslForPages],
})
const { port } = await page.serve({
  host: '127.0.0.1',
  port: Number(process.argv[2] ?? 8000),
  servedir: root,
})
console.log(`http://localhost:${port}/examples/page/`)
