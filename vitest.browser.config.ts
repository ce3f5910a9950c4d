import { readdirSync, readFileSync } from 'node:fs'
import { playwright } from '@vitest/browser-playwright'
import { defineConfig } from 'vitest/config'
import { chromiumLaunch } from './test/browser/chromium.ts'
import { sayAdaptersOnce, shared, wgsl } from './vitest.config.ts'

/** Of the engine's folders, what is about Node and says so by an import. */
const nodeOnly = ['autograd', 'gpu', 'nn', 'ops']
  .flatMap((folder) => readdirSync(`test/${folder}`, { recursive: true }).map((f) => `test/${folder}/${f}`))
  .filter((f) => f.endsWith('.test.ts') && /from '(node:|.*\/node\/)/.test(readFileSync(f, 'utf8')))

/** Minutes each on SwiftShader, and nothing in them that a browser does differently: `--all` takes them, too. */
const slow = process.env.FOVEA_TESTS === 'all' ? [] : ['test/nn/soak.test.ts', 'test/ops/reduce.test.ts']

/** The engine's tests once more, the same files, in headless Chromium on SwiftShader. */
export default defineConfig({
  plugins: [wgsl],
  // Found while the tests run, a dependency would be bundled late and the page reloaded.
  optimizeDeps: { include: ['fast-check'] },
  test: {
    ...shared,
    maxWorkers: 2,
    onConsoleLog: sayAdaptersOnce(),
    include: ['test/{autograd,gpu,nn,ops}/**/*.test.ts'],
    exclude: [...nodeOnly, ...slow],
    browser: {
      enabled: true,
      headless: true,
      screenshotFailures: false,
      // While one page compiles, or computes what is expected, both on a single thread, another keeps the processors busy.
      fileParallelism: true,
      provider: playwright({ launchOptions: await chromiumLaunch() }),
      instances: [{ browser: 'chromium' }],
    },
  },
})
