import { afterAll } from 'vitest'
import type { Device } from '../src/autograd/device.ts'
import { openOn } from '../src/open.ts'

let opened: Promise<Device> | undefined

/** One device a test file, in test mode: fresh tensors hold NaN and guard words lie behind them. */
export function testDevice(): Promise<Device> {
  opened ??= open()
  return opened
}

async function open(): Promise<Device> {
  process.env.VK_ICD_FILENAMES = '/usr/share/vulkan/icd.d/lvp_icd.json'
  process.env.XDG_RUNTIME_DIR ??= '/tmp'
  const { create, globals } = await import('webgpu')
  Object.assign(globalThis, globals)
  const gpu = create([])
  Object.assign(globalThis, { foveaGpu: gpu })
  const adapter = await gpu.requestAdapter()
  const device = await openOn(adapter!, { debug: { guard: true } })
  console.log(`adapter: ${device.adapter.name}`)
  return device
}

afterAll(async () => {
  const device = await opened
  if (!device || device.lost) return
  await device.checkGuards()
})
