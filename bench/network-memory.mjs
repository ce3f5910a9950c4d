// Trains each large network of the thesis for two steps at batch 8 and 256², with activation checkpointing, in a process of its
// own, and prints what its plan says and the most that the process held. On a CPU driver that is all of its memory, the GPU's too.
//
//   npm run build && node bench/network-memory.mjs [hourglass …]
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import * as fovea from '../dist/node.js'

const [BATCH, SIDE] = [8, 256]
const shared = { inChannels: 3, activationCheckpointing: true }
const NETWORKS = {
  deeplabv3plus: (device) => new fovea.DeepLabV3Plus(device, shared),
  unetplusplus: (device) => new fovea.UNetPlusPlus(device, shared),
  hourglass: (device) => new fovea.StackedHourglass(device, { ...shared, stacks: 8, features: 256 }),
}

async function measure(name) {
  const device = await fovea.openDevice()
  const net = NETWORKS[name](device)
  const optimizer = new fovea.Adam(net.parameters(), { lr: 1e-3 })
  const heatmaps = name === 'hourglass'
  const loss = heatmaps ? fovea.meanOverStacks() : fovea.diceLoss
  const pixels = Float32Array.from({ length: BATCH * 3 * SIDE ** 2 }, (_, i) => Math.sin(i))
  const x = device.tensor(pixels, [BATCH, 3, SIDE, SIDE])
  const y = device.zeros([BATCH, 1, ...(heatmaps ? [SIDE / 4, SIDE / 4] : [SIDE, SIDE])])
  const step = device.compile((images, target) => {
    optimizer.zeroGrad()
    const value = loss(net.forward(images), target)
    value.backward()
    optimizer.step()
    return value
  })
  const losses = [await step(x, y).item(), await step(x, y).item()]
  const planned = step.captures[0].memory.peak / 1e9
  const process_ = process.resourceUsage().maxRSS / 1e6
  device.destroy()
  console.log(
    `${name}: planned ${planned.toFixed(2)} GB, the process at most ${process_.toFixed(2)} GB, ` +
      `loss ${losses.map((v) => v.toFixed(6)).join(', then ')}; ${device.adapter.name}`,
  )
}

const [first, ...others] = process.argv.slice(2)
if (first && first in NETWORKS && others.length === 0 && process.env.FOVEA_NETWORK_MEMORY)
  await measure(first)
else {
  const names = first ? [first, ...others] : Object.keys(NETWORKS)
  for (const name of names) {
    if (!(name in NETWORKS))
      throw new Error(`network ${name}: take one of ${Object.keys(NETWORKS).join(', ')}`)
    const env = { ...process.env, FOVEA_NETWORK_MEMORY: '1' }
    const { status } = spawnSync(process.execPath, [fileURLToPath(import.meta.url), name], {
      stdio: 'inherit',
      env,
    })
    if (status !== 0) process.exitCode = 1
  }
}
