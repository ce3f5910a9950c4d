// Writes the measured parts of docs/performance.md and README.md from the JSON files of `fovea bench --json` and others.
//
//   node scripts/performance.mjs           rewrites them
//   node scripts/performance.mjs --check   says whether they are as they would be written (exit status 1 if not)
//
// A measured part stands between two comments and is told by the first what it shows and of which files:
//
//   <!-- measured: floors bench/results/lavapipe-unet16.json -->
//   <!-- end -->
//
// A path that ends in ? may be absent. What stands outside of them is written by hand and left alone.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { SECTIONS } from './performance-sections.mjs'

const PAGES = ['docs/performance.md', 'README.md']
const root = fileURLToPath(new URL('..', import.meta.url))
const MEASURED = /(<!-- measured: ([a-z-]+)((?: \S+)*) -->\n)[\s\S]*?(<!-- end -->)/g

/** What a file holds; nothing for one that may be absent (PATH?) and is. */
function read(given) {
  const path = given.replace(/\?$/, '')
  const file = join(root, path)
  if (path !== given && !existsSync(file)) return []
  if (!existsSync(file))
    throw new Error(`a page wants ${path}, which is not there: measure it (docs/performance.md)`)
  const results = JSON.parse(readFileSync(file, 'utf8'))
  if (results.quick) throw new Error(`${file}: measured with --quick; measure it again without`)
  return results
}

/** The page with its measured parts written anew. */
export function withMeasurements(page) {
  return page.replace(MEASURED, (_, begin, name, paths, end) => {
    const section = SECTIONS[name]
    if (!section)
      throw new Error(
        `measured: there is no section '${name}'; there are ${Object.keys(SECTIONS).join(', ')}`,
      )
    return `${begin}${section(paths.split(' ').filter(Boolean).flatMap(read))}\n${end}`
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const name of PAGES) {
    const file = join(root, name)
    const page = readFileSync(file, 'utf8')
    const written = withMeasurements(page)
    if (!process.argv.includes('--check')) writeFileSync(file, written)
    else if (written !== page) {
      console.error(`${name} differs from its measurements: run node scripts/performance.mjs`)
      process.exitCode = 1
    }
  }
}
