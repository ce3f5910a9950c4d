import { afterAll } from 'vitest'
import type { Device } from '../src/autograd/device.ts'

/** The host's own `openDevice`: the `navigator.gpu` of a browser or of Deno, or Dawn in Node. */
export const { openDevice } =
  'window' in globalThis || 'Deno' in globalThis
    ? await import('../src/open.ts')
    : await import('../src/node/open.ts')

let opened: Promise<Device> | undefined

/** One device a test file, in test mode: fresh tensors hold NaN and guard words lie behind them. */
export function testDevice(): Promise<Device> {
  opened ??= open()
  return opened
}

async function open(): Promise<Device> {
  const device = await openDevice({ debug: { guard: true } })
  console.log(`adapter: ${device.adapter.name}`)
  return device
}

afterAll(async () => {
  const device = await opened
  if (!device || device.lost) return
  await device.checkGuards()
})
