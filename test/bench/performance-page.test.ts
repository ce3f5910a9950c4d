import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'

test('the measured parts of docs/performance.md are what their JSON files say', () => {
  const { status, stderr } = spawnSync(process.execPath, ['scripts/performance.mjs', '--check'], {
    encoding: 'utf8',
  })
  expect([status, stderr]).toEqual([0, ''])
})
