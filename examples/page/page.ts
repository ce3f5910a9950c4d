/**
 * Trains a small U-Net in a web page and shows it learning. The address takes `?size=64&features=8&batch=4`,
 * and `steps=200` to stop there.
 */
import { Adam, type Device, diceLoss, openDevice, Prng, type Tensor, UNet } from '../../src/index.ts'
import { drawCurve, drawMasks } from './draw.ts'
import { loadSamples, type Sample } from './samples.ts'

const query = new URLSearchParams(location.search)
const setting = (name: string, otherwise: number): number => Number(query.get(name) ?? otherwise)
const size = setting('size', 64)
const features = setting('features', 8)
const batch = setting('batch', 4)
const lastStep = setting('steps', Number.POSITIVE_INFINITY)

function checkSettings(): void {
  for (const [name, value] of Object.entries({ size, features, batch, steps: lastStep })) {
    const fits = (Number.isInteger(value) && value >= 1) || (name === 'steps' && value === Infinity)
    if (!fits || (name === 'size' && value % 16 !== 0))
      throw new Error(
        `${name}=${query.get(name)} in the address: give a whole number of at least 1, for size a multiple of 16`,
      )
  }
}

const element = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T
const status = element('status')
const button = element<HTMLButtonElement>('train')

/** A batch as a tensor of images (N, 3, size, size) and one of masks (N, 1, size, size). */
function toTensors(device: Device, samples: readonly Sample[]): { x: Tensor; y: Tensor } {
  const join = (arrays: readonly Float32Array[]) => {
    const all = new Float32Array(arrays.length * arrays[0]!.length)
    arrays.forEach((a, i) => {
      all.set(a, i * a.length)
    })
    return all
  }
  const n = samples.length
  const x = device.tensor(join(samples.map((s) => s.image)), [n, 3, size, size])
  const y = device.tensor(join(samples.map((s) => s.mask)), [n, 1, size, size])
  return { x, y }
}

/** The network's masks of held-out images, and how well they fit. */
async function predict(
  net: UNet,
  held: { x: Tensor; y: Tensor },
): Promise<{ masks: Float32Array; dice: number }> {
  const { device } = net
  net.eval()
  const p = device.noGrad(() => net.forward(held.x))
  net.train()
  const loss = device.noGrad(() => diceLoss(p, held.y))
  const result = { masks: (await p.data()) as Float32Array, dice: 1 - (await loss.item()) }
  p.dispose()
  loss.dispose()
  return result
}

async function main(): Promise<void> {
  checkSettings()
  const device = await openDevice()
  status.textContent = `${device.adapter.name}: loading images …`
  const { train, held } = await loadSamples(size)
  const net = new UNet(device, { inChannels: 3, features, seed: 42 })
  const opt = new Adam(net.parameters(), { lr: 2e-3 })
  const step = device.compile((x: Tensor, y: Tensor) => {
    opt.zeroGrad()
    const loss = diceLoss(net.forward(x), y)
    loss.backward()
    opt.step()
    return loss
  })

  const show = toTensors(device, held)
  const prng = new Prng(42)
  const losses: number[] = []
  let running = true
  let resume = () => {}
  button.disabled = false
  button.onclick = () => {
    running = !running
    button.textContent = running ? 'Pause' : 'Go on'
    if (running) resume()
  }
  status.textContent = `${device.adapter.name}: compiling kernels …`
  drawMasks(element('masks'), held, undefined, size)

  while (losses.length < lastStep) {
    if (!running) await new Promise<void>((go) => (resume = go))
    const started = performance.now()
    const chosen = Array.from({ length: batch }, () => train[Math.floor(prng.uniform() * train.length)]!)
    const { x, y } = toTensors(device, chosen)
    await step.prepare(x, y)
    losses.push(await step(x, y).item())
    x.dispose()
    y.dispose()
    const ms = performance.now() - started
    status.textContent = `${device.adapter.name}: step ${losses.length}, ${ms.toFixed(0)} ms a step, loss ${losses.at(-1)!.toFixed(3)}`
    drawCurve(element('curve'), losses)
    if (losses.length % 10 === 0 || losses.length === lastStep) {
      const { masks, dice } = await predict(net, show)
      drawMasks(element('masks'), held, masks, size)
      element('dice').textContent = ` – soft Dice ${dice.toFixed(2)} after ${losses.length} steps`
    }
    await new Promise(requestAnimationFrame)
  }
  button.disabled = true
  button.textContent = 'Done'
  document.body.dataset.done = JSON.stringify(losses)
}

main().catch((error: Error) => {
  element('controls').hidden = true
  element('panels').hidden = element('dice').textContent === ''
  const box = element('error')
  box.hidden = false
  box.textContent = error.message
  document.body.dataset.error = error.message
})
