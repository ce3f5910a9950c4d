import { totalmem } from 'node:os'
import type { Device } from '../autograd/device.ts'
import { setPooledBatchNorm } from '../autograd/ops/batch-norm.ts'
import { batchNormPooled } from '../autograd/ops/conv2d_cpu_kernels.ts'
import { addTunedConvKernels } from '../autograd/ops/conv2d_tuned_kernels.ts'
import { runsOnCpu } from '../gpu/gpu.ts'
import { formatProfile, type Profile } from '../gpu/profile.ts'
import type { TuneMode } from '../gpu/tuner.ts'
import { type OpenOptions, openDevice as openFromNavigator, openOn } from '../open.ts'
import { findAdapter } from './adapters.ts'
import { ChoiceFile } from './choice-file.ts'
import { compileAhead } from './compile-ahead.ts'

/** Bytes that there are for this process, the machine's or its container's: a CPU driver's buffers are of them. */
function processMemory(): number {
  const container = process.constrainedMemory()
  return container > 0 ? Math.min(container, totalmem()) : totalmem()
}

/**
 * Opens a GPU device in Node: a hardware driver, else lavapipe, else SwiftShader, which fovea unpacks itself.
 * `FOVEA_ADAPTER` stands in for 'auto', `FOVEA_TUNE` for `tune`; `FOVEA_PROFILE=1` prints a profile of everything when the device is
 * destroyed or the program ends. Throws an AdapterError that says what to install.
 */
export async function openDevice(options: OpenOptions = {}): Promise<Device> {
  // Deno brings its own WebGPU.
  if ('Deno' in globalThis) return openFromNavigator(options)
  const experimental = options.subgroupMatrices !== undefined && options.subgroupMatrices !== false
  const find = () => findAdapter({ adapter: options.adapter, experimental })
  const { adapter, kind } = await find()
  if (kind === 'lavapipe') compileAhead(adapter, async () => (await find()).adapter)
  addTunedConvKernels()
  setPooledBatchNorm(batchNormPooled)
  const tune = options.tune ?? ((process.env.FOVEA_TUNE || undefined) as TuneMode | undefined)
  const { memoryLimit = runsOnCpu(adapter.info) ? processMemory() : Number.POSITIVE_INFINITY } = options
  const settled = { ...options, memoryLimit, ...(tune ? { tune } : {}) }
  const device = await openOn(adapter, settled, () => new ChoiceFile())
  if (process.env.FOVEA_PROFILE === '1') await profileUntilTheEnd(device)
  return device
}

/** Profiles everything; the table goes to standard error when the device is destroyed or the program ends. */
async function profileUntilTheEnd(device: Device): Promise<void> {
  let end = () => {}
  let taken!: Promise<Profile>
  await new Promise<void>((begun, failed) => {
    const all = () =>
      new Promise<void>((resolve) => {
        end = resolve
        begun()
      })
    taken = device.profile(all, { print: false })
    taken.catch(failed)
  })
  let said = false
  const say = async () => {
    if (said || device.lost) return
    said = true
    end()
    console.error(formatProfile(await taken))
  }
  const destroy = device.destroy.bind(device)
  device.destroy = () => void say().finally(destroy)
  process.once('beforeExit', say)
}
