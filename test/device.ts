import { afterAll } from 'vitest'
import type { Device } from '../src/autograd/device.ts'
import { openDevice } from '../src/node/open.ts'

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
