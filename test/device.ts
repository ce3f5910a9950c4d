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

/** Runs `fn` with the forms of kernels for CPU drivers, for GPUs, and for GPUs with subgroups if this adapter has them. */
export async function inEveryForm(fn: () => Promise<unknown>): Promise<void> {
  const { adapter } = await testDevice()
  const { cpu, subgroups } = adapter
  const forms = [
    { cpu: true, subgroups },
    { cpu: false, subgroups: false },
    { cpu: false, subgroups },
  ]
  for (const form of subgroups ? forms : forms.slice(0, 2)) {
    Object.assign(adapter, form)
    try {
      await fn()
    } finally {
      Object.assign(adapter, { cpu, subgroups })
    }
  }
}

afterAll(async () => {
  const device = await opened
  if (!device || device.lost) return
  await device.checkGuards()
})
