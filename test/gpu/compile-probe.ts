import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { diceLoss } from '../../src/autograd/ops/dice-loss.ts'
import { UNet } from '../../src/nn/networks/unet.ts'
import { openDevice } from '../../src/node/open.ts'

/**
 * Run as a process of its own, with a folder for Mesa's cache of compiled shaders: prepares a step, which is not run. Prints, as JSON, the
 * bytes of the cache before and after; with `exit` as first argument it ends, with status 3, while kernels are compiled.
 */
const folder = process.env.MESA_SHADER_CACHE_DIR!
const cached = (): number =>
  readdirSync(folder, { recursive: true })
    .map((name) => statSync(join(folder, String(name))))
    .reduce((sum, file) => sum + (file.isFile() ? file.size : 0), 0)

const device = await openDevice({ adapter: 'lavapipe' })
const net = new UNet(device, { inChannels: 1, features: 8 })
const [x, y] = [device.ones([1, 1, 32, 32]), device.ones([1, 1, 32, 32])]
const step = device.compile(() => diceLoss(net.forward(x), y).backward())
const before = cached()
const prepared = step.prepare()
if (process.argv[2] === 'exit') setTimeout(() => process.exit(3), 700)
await prepared
process.stdout.write(`${JSON.stringify({ pipelines: device.counters.pipelines, before, after: cached() })}\n`)
device.destroy()
