import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { tempFolder } from '../data/temp.ts'
import { fovea } from './command.ts'

const cache = join(await tempFolder(), 'cache')
await mkdir(cache)
const before = process.env.FOVEA_CACHE
process.env.FOVEA_CACHE = cache
afterAll(() => {
  if (before === undefined) delete process.env.FOVEA_CACHE
  else process.env.FOVEA_CACHE = before
})

const small = ['--features', '1', '--batch', '2', '--size', '32']

test('tune measures each op once, keeps the answers, and says where', async () => {
  const { code, out, err } = await fovea(['tune', ...small, '--json'])
  expect([code, err]).toEqual([0, expect.stringMatching(/Kept in .*tuner.*\.json\.\n$/)])
  const { adapter, timings } = JSON.parse(out) as {
    adapter: string
    timings: { key: string; variant: string; ms: number; chosen: boolean }[]
  }
  expect(err).toContain(adapter)
  const keys = new Set(timings.map((t) => t.key))
  expect(keys.size).toBeGreaterThan(20)
  expect(timings.filter((t) => t.chosen)).toHaveLength(keys.size)
  expect(await readdir(join(cache, 'tuner'))).toHaveLength(1)
  const again = await fovea(['tune', ...small])
  expect([again.code, again.out]).toEqual([0, 'Everything was measured before; --again measures anew.\n'])
})

test('a size that the network cannot take, a mode that is none: code 2', async () => {
  const size = await fovea(['tune', '--size', '50'])
  expect([size.code, size.err]).toEqual([2, expect.stringMatching(/tune --size 50: unet takes sides/)])
  const mode = await fovea(['train', '--data', 'x', '--tune', 'always'])
  expect([mode.code, mode.err]).toEqual([2, expect.stringMatching(/off, defaults, cached, measure/)])
})
