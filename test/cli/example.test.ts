import { execFile } from 'node:child_process'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { expect, test } from 'vitest'
import { wgsl } from '../../scripts/wgsl.mjs'
import { readImage } from '../../src/node/image.ts'
import { tempFolder } from '../data/temp.ts'
import { discFolder } from './command.ts'

test('examples/train.mjs trains and writes a mask, in at most 20 lines of code', async () => {
  const folder = await tempFolder()
  const source = await readFile('examples/train.mjs', 'utf8')
  const code = source.split('\n').filter((line) => line !== '' && !line.startsWith('//'))
  expect(code.length).toBeLessThanOrEqual(20)
  // The README shows this very code.
  expect(await readFile('README.md', 'utf8')).toContain(source.slice(source.indexOf('import * as')))
  // Beside the project's packages, so that they are found.
  const cache = 'node_modules/.cache/fovea-test'
  await mkdir(cache, { recursive: true })
  const outfile = join(cache, `example-${process.pid}.mjs`)
  await build({
    entryPoints: ['examples/train.mjs'],
    alias: { fovea: './src/node.ts' },
    plugins: [wgsl],
    ...{ bundle: true, format: 'esm', platform: 'node', packages: 'external', logLevel: 'error', outfile },
  })
  const discs = await discFolder(join(folder, 'discs'), 6)
  const mask = join(folder, 'mask.png')
  const { stdout } = await promisify(execFile)(process.execPath, [outfile, discs, '1', mask])
  expect(stdout).toMatch(/epoch 1: loss 0\.\d+, DSC [\d.]+\nDSC [\d.]+ for disc\d/)
  expect((await readImage(mask)).shape).toEqual([1, 64, 64])
})
