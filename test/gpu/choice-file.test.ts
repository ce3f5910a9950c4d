import { execFile } from 'node:child_process'
import { mkdir, readdir, readFile, stat, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { type StoredChoice, storedChoices } from '../../src/gpu/tuner-table.ts'
import { ChoiceFile } from '../../src/node/choice-file.ts'
import { tempFolder } from '../data/temp.ts'
import { probe } from './probes.ts'

const folder = await tempFolder()
const ADAPTER = 'an adapter, driver 1.2'
const choice = (variant: string): StoredChoice => ({ variant, kernels: '0' })
const kept = async (file: ChoiceFile, adapter = ADAPTER) =>
  Object.fromEntries([...storedChoices(await file.read(adapter), adapter)].map(([k, c]) => [k, c.variant]))

test('a choice is read back, others join it, each adapter has its file', async () => {
  const file = new ChoiceFile(join(folder, 'plain'))
  expect(await kept(file)).toEqual({})
  await file.write(ADAPTER, new Map([['one', choice('a')]]))
  await file.write(ADAPTER, new Map([['two', choice('b')]]))
  await file.write('another', new Map([['one', choice('c')]]))
  const again = new ChoiceFile(join(folder, 'plain'))
  expect(await kept(again)).toEqual({ one: 'a', two: 'b' })
  expect(await kept(again, 'another')).toEqual({ one: 'c' })
  expect((await readdir(join(folder, 'plain'))).length).toBe(2)
})

test('an empty, truncated, foreign or binary file is as good as none, and is replaced', async () => {
  const file = new ChoiceFile(join(folder, 'broken'))
  await file.write(ADAPTER, new Map([['one', choice('a')]]))
  const path = file.pathOf(ADAPTER)
  const whole = await readFile(path)
  const stale = whole.toString().replace(/"fovea": "[^"]*"/, '"fovea": "0.0.1"')
  for (const bytes of [
    Buffer.alloc(0),
    whole.subarray(0, whole.length / 2),
    Buffer.from([0, 255, 7]),
    Buffer.from(stale),
    Buffer.from(whole.toString().replace('driver 1.2', 'driver 1.1')),
  ]) {
    await writeFile(path, bytes)
    expect(await kept(file)).toEqual({})
  }
  await file.write(ADAPTER, new Map([['two', choice('b')]]))
  expect(await kept(file)).toEqual({ two: 'b' })
  // A folder where the file should be cannot be replaced: that is said, nothing is lost.
  const blocked = new ChoiceFile(join(folder, 'blocked'))
  await mkdir(join(blocked.pathOf(ADAPTER), 'in the way'), { recursive: true })
  await expect(blocked.write(ADAPTER, new Map([['one', choice('a')]]))).rejects.toThrow('cannot write')
  expect(await kept(blocked)).toEqual({})
})

test('many writers at once: the file is whole at every moment, and no temporary file stays', async () => {
  const place = join(folder, 'many')
  const reader = new ChoiceFile(place)
  const path = reader.pathOf(ADAPTER)
  let writing = true
  const looks = (async () => {
    let seen = 0
    while (writing) {
      const text = await readFile(path, 'utf8').catch(() => undefined)
      if (text === undefined) continue
      JSON.parse(text)
      seen++
    }
    return seen
  })()
  await Promise.all(
    Array.from({ length: 8 }, (_, i) =>
      new ChoiceFile(place).write(ADAPTER, new Map([[`key ${i}`, choice(`v${i}`)]])),
    ),
  )
  writing = false
  expect(await looks).toBeGreaterThan(0)
  expect(Object.keys(await kept(reader)).length).toBeGreaterThan(4)
  expect(await readdir(dirname(path))).toEqual([path.split('/').at(-1)])
})

test('any number of writers at once keep all; a lock that was left behind is taken', async () => {
  const file = new ChoiceFile(join(folder, 'many'))
  await mkdir(`${file.pathOf(ADAPTER)}.lock`, { recursive: true })
  await utimes(`${file.pathOf(ADAPTER)}.lock`, 0, 0)
  const keys = Array.from({ length: 12 }, (_, i) => `key ${i}`)
  await Promise.all(keys.map((key) => file.write(ADAPTER, new Map([[key, choice('a')]]))))
  expect(Object.keys(await kept(file)).sort()).toEqual([...keys].sort())
  expect(await readdir(join(folder, 'many'))).toHaveLength(1)
})

describe('processes', () => {
  const program = probe(new URL('./tuner-probe.ts', import.meta.url))

  async function run(rows: number, tune: string, cache: string) {
    const env = { ...process.env, FOVEA_TUNE: tune, FOVEA_CACHE: cache }
    const { stdout } = await promisify(execFile)(process.execPath, [program, String(rows)], { env })
    return JSON.parse(stdout) as { measured: number; choices: Record<string, string> }
  }

  test('what one process measured the next takes; without being asked none measures or looks', async () => {
    const cache = join(folder, 'cache')
    await mkdir(cache)
    const plain = await run(48, '', cache)
    expect(plain.measured).toBe(0)
    await expect(stat(join(cache, 'tuner'))).rejects.toThrow('ENOENT')
    const first = await run(48, 'measure', cache)
    expect(first.measured).toBe(1)
    const second = await run(48, 'measure', cache)
    expect(second).toEqual({ measured: 0, choices: first.choices })
    expect(await run(48, 'cached', cache)).toEqual(second)
    // The file says otherwise: it is believed. It is broken: it is as if it were not there.
    const [name] = await readdir(join(cache, 'tuner'))
    const path = join(cache, 'tuner', name!)
    const text = await readFile(path, 'utf8')
    const [key] = Object.keys(first.choices)
    // Two forms that every adapter has.
    const other = first.choices[key!] === 'tiles' ? 'registers' : 'tiles'
    await writeFile(path, text.replace(/"variant": "\w+"/, `"variant": "${other}"`))
    expect((await run(48, 'cached', cache)).choices[key!]).toBe(other)
    await writeFile(path, text.slice(0, 40))
    expect(await run(48, 'cached', cache)).toEqual(plain)
  })

  test('two that measure at once keep both', async () => {
    const cache = join(folder, 'two')
    await mkdir(cache)
    await Promise.all([run(33, 'measure', cache), run(65, 'measure', cache)])
    const both = await Promise.all([run(33, 'measure', cache), run(65, 'measure', cache)])
    expect(both.map((r) => r.measured)).toEqual([0, 0])
  })
})
