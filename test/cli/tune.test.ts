import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { buildNetwork } from '../../bench/networks.ts'
import { tunerOf } from '../../src/gpu/tuner.ts'
import { openDevice } from '../../src/node/open.ts'
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

/** Leaves of the questions that `fovea tune` will ask the last `count` open: to compile every variant of all takes minutes. */
async function answerAllBut(count: number): Promise<string[]> {
  const device = await openDevice({ tune: 'cached' })
  const unet = { network: 'unet', features: 1, inChannels: 1, batch: 2, side: 32 }
  const tuner = tunerOf(device)
  await tuner.record(buildNetwork(device, unet).phase('training step'))
  const { open } = tuner
  for (const question of open.slice(0, -count)) tuner.settle(question, question.candidates[0]!.name)
  await tuner.save()
  device.destroy()
  return open.map((question) => question.key)
}

test('tune measures each op that nobody has measured, keeps the answers, and says where', async () => {
  const asked = await answerAllBut(4)
  expect(asked.length).toBeGreaterThan(20)
  const stopped = await fovea(['tune', ...small], { stopAt: 'training step' })
  expect([stopped.code, stopped.err]).toEqual([
    130,
    expect.stringMatching(/stopped; what was measured so far is kept\n$/),
  ])
  const { code, out, err } = await fovea(['tune', ...small, '--json'])
  expect([code, err]).toEqual([0, expect.stringMatching(/Kept in .*tuner.*\.json\.\n$/)])
  const { adapter, timings } = JSON.parse(out) as {
    adapter: string
    timings: { key: string; variant: string; ms: number; chosen: boolean }[]
  }
  expect(err).toContain(adapter)
  expect([...new Set(timings.map((t) => t.key))]).toEqual(asked.slice(-4))
  expect(timings.length).toBeGreaterThan(8)
  expect(timings.filter((t) => t.chosen)).toHaveLength(4)
  for (const { chosen, ms } of timings) if (chosen) expect(ms).toBeGreaterThan(0)
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
