import { playwright } from '@vitest/browser-playwright'
import { defineConfig } from 'vitest/config'
import { chromiumLaunch } from './test/browser/chromium.ts'
import { sayAdaptersOnce, shared, wgsl } from './vitest.config.ts'

/** Of the engine's folders, what is about Node. */
const nodeOnly = ['test/gpu/adapters.test.ts']

/** The engine's tests once more, the same files, in headless Chromium on SwiftShader. */
export default defineConfig({
  plugins: [wgsl],
  // Found while the tests run, a dependency would be bundled late and the page reloaded.
  optimizeDeps: { include: ['fast-check'] },
  test: {
    ...shared,
    onConsoleLog: sayAdaptersOnce(),
    include: ['test/{autograd,gpu,nn,ops}/**/*.test.ts'],
    exclude: nodeOnly,
    browser: {
      enabled: true,
      headless: true,
      screenshotFailures: false,
      // SwiftShader takes all processors for one page.
      fileParallelism: false,
      provider: playwright({ launchOptions: await chromiumLaunch() }),
      instances: [{ browser: 'chromium' }],
    },
  },
})
