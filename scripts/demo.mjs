// npm run demo: builds where needed, then trains and scores on the sample that ships with the project.
// Further options go to the command: npm run demo -- --adapter swiftshader --out runs/other
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

process.chdir(join(import.meta.dirname, '..'))

const newest = (folder) =>
  Math.max(
    ...readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => statSync(join(entry.parentPath, entry.name)).mtimeMs),
  )
const built = existsSync('dist/cli.js') ? statSync('dist/cli.js').mtimeMs : 0
if (built < newest('src') || built < newest('kernels')) {
  console.error('building dist/')
  const { status } = spawnSync(process.execPath, ['scripts/build.mjs'], { stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}
const given = process.argv.slice(2)
const at = given.indexOf('--adapter')
const adapter = at >= 0 ? given.slice(at, at + 2) : []
const { stdout } = spawnSync(process.execPath, ['dist/cli.js', 'devices', '--json', ...adapter], {
  stdio: ['ignore', 'pipe', 'ignore'],
  encoding: 'utf8',
})
const swiftshader =
  stdout.trim() !== '' && JSON.parse(stdout).entries.some((e) => e.chosen && e.kind === 'swiftshader')
// SwiftShader is several times slower than lavapipe: networks of half the width keep it within 12 minutes.
const width = swiftshader ? ['--features', '4', '--lr', '4e-3'] : []
const args = ['train', '--data', 'data/lesion', 'data/nuclei', '--out', 'runs/demo', ...width, ...given]
console.error(`fovea ${args.join(' ')}`)
// Ctrl-C reaches the command itself, which ends with a checkpoint.
process.on('SIGINT', () => {})
const { status } = spawnSync(process.execPath, ['dist/cli.js', ...args], { stdio: 'inherit' })
process.exitCode = status ?? 1
