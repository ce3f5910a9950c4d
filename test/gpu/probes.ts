import { rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { afterAll, beforeAll } from 'vitest'
import { wgsl } from '../../scripts/wgsl.mjs'

/** Bundles a file as a program for processes of their own, while the tests around it run. Gives the program's path. */
export function probe(source: URL): string {
  const entry = fileURLToPath(source)
  // Beside node_modules, from which the bundle takes Dawn.
  const folder = join(process.cwd(), 'node_modules', '.cache', 'fovea')
  const outfile = join(folder, `${basename(entry, '.ts')}-${process.pid}.mjs`)
  beforeAll(async () => {
    const shape = { bundle: true, platform: 'node', format: 'esm', packages: 'external' } as const
    await build({ ...shape, entryPoints: [entry], outfile, plugins: [wgsl] })
  })
  afterAll(() => rmSync(outfile, { force: true }))
  return outfile
}
