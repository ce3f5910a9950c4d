import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

interface Size {
  readonly page: string
  readonly gzipped: number
  readonly imports: readonly string[]
  readonly packages: readonly string[]
}

test('a web page needs no Node module and no package, and little to load', async () => {
  const root = fileURLToPath(new URL('..', import.meta.url))
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['scripts/bundle-size.mjs', '--json', '--own'],
    {
      cwd: root,
    },
  )
  const [unet, all] = (JSON.parse(stdout) as { fovea: [Size, Size] }).fovea
  for (const { page, imports, packages } of [unet, all])
    expect({ page, imports, packages }).toEqual({ page, imports: [], packages: [] })
  expect(unet.gzipped).toBeLessThan(60_000)
  // Every network, transform and score of the table of contents; a page takes a part of them.
  expect(all.gzipped).toBeLessThan(150_000)
})
