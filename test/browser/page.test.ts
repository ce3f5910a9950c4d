import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { type Browser, chromium, type Page } from 'playwright'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { hasChromium } from '../../scripts/has-chromium.mjs'
import { chromiumLaunch } from './chromium.ts'

describe.runIf(hasChromium)('the example page', () => {
  let server: ChildProcess
  let browser: Browser
  let address = ''

  beforeAll(async () => {
    const script = fileURLToPath(new URL('../../scripts/page.mjs', import.meta.url))
    server = spawn(process.execPath, [script, '0'], { stdio: ['ignore', 'pipe', 'inherit'] })
    const [said] = await once(server.stdout!, 'data')
    address = String(said).trim()
    browser = await chromium.launch(await chromiumLaunch())
  })
  afterAll(async () => {
    await browser?.close()
    server?.kill()
  })

  /** Opens the page and notes what it complains about. */
  async function open(query: string, prepare?: (page: Page) => Promise<unknown>) {
    const page = await browser.newPage()
    const complaints: string[] = []
    page.on('pageerror', (error) => complaints.push(error.message))
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) complaints.push(message.text())
    })
    await prepare?.(page)
    await page.goto(address + query)
    await page.waitForFunction(() => document.body.dataset.done || document.body.dataset.error, undefined, {
      timeout: 380_000,
    })
    return { page, complaints }
  }

  test('trains a U-Net: its loss falls, and nothing complains', async () => {
    const { page, complaints } = await open('?features=4&batch=2&steps=24')
    const { done, error } = await page.evaluate(() => ({ ...document.body.dataset }))
    expect({ error, complaints }).toEqual({ error: undefined, complaints: [] })
    const losses = JSON.parse(done!) as number[]
    const mean = (values: number[]) => values.reduce((a, b) => a + b) / values.length
    expect(losses.length).toBe(24)
    expect(mean(losses.slice(-8))).toBeLessThan(mean(losses.slice(0, 8)))
    expect(await page.textContent('#dice')).toMatch(/soft Dice 0\.\d\d after 24 steps/)
  })

  test.each(['size=30', 'size=abc', 'batch=0', 'batch=1.5', 'features=-1', 'steps=x'])(
    'names what is wrong with ?%s',
    async (query) => {
      const { page, complaints } = await open(`?${query}`)
      expect(await page.textContent('#error')).toContain(`${query} in the address: give a whole number`)
      expect(complaints).toEqual([])
    },
  )

  test('a lost device is said, and what was learned stays in sight', async () => {
    const { page } = await open('?features=2&batch=2', (page) =>
      page.addInitScript(`{
        const request = GPUAdapter.prototype.requestDevice
        GPUAdapter.prototype.requestDevice = async function (...args) {
          const device = await request.apply(this, args)
          const look = setInterval(() => {
            if (!/after 10 steps/.test(document.getElementById('dice')?.textContent)) return
            clearInterval(look)
            device.destroy()
          }, 20)
          return device
        }
      }`),
    )
    expect(await page.textContent('#error')).toMatch(/device (was|is) .*(lost|destroyed)/)
    expect(await page.isVisible('#panels')).toBe(true)
    expect(await page.textContent('#dice')).toMatch(/after 10 steps/)
  })

  test('says what to do in a browser without WebGPU', async () => {
    const { page, complaints } = await open('', (page) =>
      page.addInitScript("Object.defineProperty(Navigator.prototype, 'gpu', { value: undefined })"),
    )
    expect(await page.textContent('#error')).toMatch(/this page has no WebGPU.*Use Chrome/)
    expect(complaints).toEqual([])
  })
})
