import { readFileSync } from 'node:fs'
import { defineConfig } from 'vitest/config'

/** Kernels are imported as text, as esbuild's `text` loader does in the build. */
const wgsl = {
  name: 'wgsl',
  enforce: 'pre' as const,
  load(id: string) {
    if (id.endsWith('.wgsl')) return `export default ${JSON.stringify(readFileSync(id, 'utf8'))}`
    return undefined
  },
}

export default defineConfig({
  plugins: [wgsl],
  test: {
    include: ['test/**/*.test.ts'],
    // Dawn is a native module: worker threads would load it twice into one process.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    reporters: ['dot'],
  },
})
