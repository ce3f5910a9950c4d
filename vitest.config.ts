import { defineConfig } from 'vitest/config'
import { readKernel } from './scripts/wgsl.mjs'

/** Kernels are imported as text, as esbuild's `text` loader does in the build. */
export const wgsl = {
  name: 'wgsl',
  enforce: 'pre' as const,
  load(id: string) {
    if (id.endsWith('.wgsl')) return `export default ${JSON.stringify(readKernel(id))}`
    return undefined
  },
}

/** Each test file says its adapter; a run says each adapter once. */
export function sayAdaptersOnce(): (log: string) => false | undefined {
  const said = new Set<string>()
  return (log) => {
    if (!log.startsWith('adapter: ')) return undefined
    if (!said.has(log)) process.stdout.write(log)
    said.add(log)
    return false
  }
}

export const shared = {
  // The first run on a machine compiles every kernel: a software driver takes its time over it.
  testTimeout: 400_000,
  hookTimeout: 120_000,
  reporters: ['dot'],
}

export default defineConfig({
  plugins: [wgsl],
  test: {
    ...shared,
    include: ['test/**/*.test.ts'],
    // Dawn is a native module: worker threads would load it twice into one process.
    pool: 'forks',
    maxWorkers: 2,
    onConsoleLog: sayAdaptersOnce(),
  },
})
