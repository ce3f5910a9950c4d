// npm test: types, style, unused code; then the tests in Node; then the engine's tests in headless Chromium.
//
//   npm test                        everything
//   node scripts/test.mjs browser   a part: checks, node or browser
//   npm test -- --all               besides, what only takes long: every pipeline of the convolutions (test/ops/conv-pipelines.ts), in the
//                                   browser the slow files (vitest.browser.config.ts names them)
//
// The last line counts it all; the exit status says whether all of it passed.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { hasChromium } from './has-chromium.mjs'

const PARTS = ['checks', 'node', 'browser']
const asked = process.argv.slice(2).filter((argument) => argument !== '--all')
if (process.argv.includes('--all')) process.env.FOVEA_TESTS = 'all'
const unknown = asked.filter((part) => !PARTS.includes(part))
if (unknown.length > 0) {
  console.error(`no such part: ${unknown.join(' ')}; choose from ${PARTS.join(', ')}, or name none for all`)
  process.exit(2)
}
const wanted = (part) => asked.length === 0 || asked.includes(part)

const bin = (path) => join('node_modules', path)
const node = (...args) =>
  spawnSync(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit'] }).status
const total = { passed: 0, failed: 0, skipped: 0 }

function check(title, ...command) {
  console.log(`\n${title}`)
  if (node(...command) === 0) total.passed++
  else total.failed++
}

const draft = mkdtempSync(join(tmpdir(), 'fovea-test-run-'))

/** Runs vitest and adds up its JSON report. Gives the number of tests by file. */
function tests(title, config) {
  console.log(`\n${title}`)
  const outputFile = join(draft, `${config}.json`)
  const reporters = ['--reporter=dot', '--reporter=json', `--outputFile.json=${outputFile}`]
  const status = node(bin('vitest/vitest.mjs'), 'run', '--config', config, ...reporters)
  let failed = 0
  const byFile = new Map()
  try {
    for (const file of JSON.parse(readFileSync(outputFile, 'utf8')).testResults) {
      const count = (...states) => file.assertionResults.filter((t) => states.includes(t.status)).length
      byFile.set(relative(process.cwd(), file.name), file.assertionResults.length)
      total.passed += count('passed')
      total.skipped += count('skipped', 'pending', 'todo')
      // A file that could not be loaded fails without a test in it.
      failed += Math.max(count('failed'), file.status === 'failed' ? 1 : 0)
    }
  } catch {
    console.log(`${title}: vitest ended without a report`)
  }
  total.failed += Math.max(failed, status === 0 ? 0 : 1)
  return byFile
}

console.log(`Node ${process.version}, ${process.platform}-${process.arch}`)
if (wanted('checks')) {
  check('Types (tsc)', bin('typescript/bin/tsc'), '--noEmit')
  check('Style (biome)', bin('@biomejs/biome/bin/biome'), 'check', '.')
  check('Unused code (knip)', bin('knip/bin/knip.js'))
}
const inNode = wanted('node') ? tests('Tests in Node', 'vitest.config.ts') : new Map()
if (wanted('browser')) {
  if (hasChromium) {
    tests('Tests in Chromium', 'vitest.browser.config.ts')
  } else {
    const engine = [...inNode].filter(([name]) => /^test[\\/](autograd|gpu|nn|ops)[\\/]/.test(name))
    total.skipped += engine.reduce((sum, [, count]) => sum + count, 0)
    console.log(
      '\nThe tests in Chromium are skipped: there is none, the npm package brings one for Linux on x64 only. ' +
        'Set FOVEA_CHROMIUM to the path of a Chrome or Chromium to run them here.',
    )
  }
}
rmSync(draft, { recursive: true, force: true })

const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : ''
console.log(`\n${total.passed} passed, ${total.failed} failed${skipped}`)
process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0
