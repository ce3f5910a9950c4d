import { describe, expect, test } from 'vitest'
import { ChoiceDatabase } from '../../src/choice-database.ts'
import { type StoredChoice, storedChoices } from '../../src/gpu/tuner-table.ts'

const ADAPTER = 'an adapter of a test'
const choice = (variant: string): StoredChoice => ({ variant, kernels: '0' })
const kept = async (adapter = ADAPTER) =>
  Object.fromEntries(
    [...storedChoices(await new ChoiceDatabase().read(adapter), adapter)].map(([k, c]) => [k, c.variant]),
  )

describe.runIf('indexedDB' in globalThis)('in a page', () => {
  test('a choice is read back; writers at once all keep theirs; each adapter has its record', async () => {
    expect(await kept()).toEqual({})
    const keys = Array.from({ length: 6 }, (_, i) => `key ${i}`)
    await Promise.all(
      keys.map((key) => new ChoiceDatabase().write(ADAPTER, new Map([[key, choice(`v ${key}`)]]))),
    )
    expect(await kept()).toEqual(Object.fromEntries(keys.map((key) => [key, `v ${key}`])))
    expect(await kept('another')).toEqual({})
  })
})

test.runIf(!('indexedDB' in globalThis))(
  'where there is none it refuses, which the tuner passes over',
  async () => {
    await expect(new ChoiceDatabase().read(ADAPTER)).rejects.toThrow()
  },
)
