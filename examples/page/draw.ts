import type { Sample } from './samples.ts'

const EXPERT = [0x00, 0xd2, 0x6a] as const
const NETWORK = [0xff, 0x2b, 0xd6] as const
const COLUMNS = 3
/** Canvas pixels of one pixel of an image: outlines are one canvas pixel wide. */
const ZOOM = 4

/** Is this pixel of a zoomed mask on its outline? */
function onOutline(mask: ArrayLike<number>, size: number, x: number, y: number): boolean {
  const at = (px: number, py: number): boolean => {
    const [i, j] = [Math.floor(px / ZOOM), Math.floor(py / ZOOM)]
    return i >= 0 && j >= 0 && i < size && j < size && mask[j * size + i]! > 0.5
  }
  return at(x, y) && !(at(x - 2, y) && at(x + 2, y) && at(x, y - 2) && at(x, y + 2))
}

/** Images with the expert's outline and, where there is one, the network's. */
export function drawMasks(
  canvas: HTMLCanvasElement,
  samples: readonly Sample[],
  predicted: Float32Array | undefined,
  size: number,
): void {
  const side = size * ZOOM
  const gap = 2 * ZOOM
  canvas.width = COLUMNS * (side + gap) - gap
  canvas.height = Math.ceil(samples.length / COLUMNS) * (side + gap) - gap
  const context = canvas.getContext('2d')!
  samples.forEach(({ image, mask }, n) => {
    const guess = predicted?.subarray(n * size * size, (n + 1) * size * size)
    const picture = context.createImageData(side, side)
    for (let y = 0; y < side; y++)
      for (let x = 0; x < side; x++) {
        const from = Math.floor(y / ZOOM) * size + Math.floor(x / ZOOM)
        const grey = (channel: number) => 255 * image[channel * size * size + from]!
        const color =
          guess && onOutline(guess, size, x, y)
            ? NETWORK
            : onOutline(mask, size, x, y)
              ? EXPERT
              : [grey(0), grey(1), grey(2)]
        picture.data.set([...color, 255], 4 * (y * side + x))
      }
    context.putImageData(picture, (n % COLUMNS) * (side + gap), Math.floor(n / COLUMNS) * (side + gap))
  })
}

/** The loss of each step, and the mean of the last ten, on axes from 0 to 1. */
export function drawCurve(canvas: HTMLCanvasElement, losses: readonly number[]): void {
  const scale = devicePixelRatio
  const width = canvas.clientWidth
  const height = Math.round(width * 0.66)
  canvas.width = width * scale
  canvas.height = height * scale
  const context = canvas.getContext('2d')!
  const style = getComputedStyle(canvas)
  const [left, right, top, bottom] = [34, 8, 8, 22]
  const steps = Math.max(50, losses.length)
  const px = (step: number) => left + (step / steps) * (width - left - right)
  const py = (loss: number) => top + (1 - Math.min(1, loss)) * (height - top - bottom)

  context.scale(scale, scale)
  context.font = '12px system-ui, sans-serif'
  context.fillStyle = style.color
  context.strokeStyle = style.color
  context.lineWidth = 1
  context.textAlign = 'right'
  context.textBaseline = 'middle'
  for (const loss of [0, 0.25, 0.5, 0.75, 1]) {
    context.globalAlpha = 0.7
    context.fillText(String(loss), left - 6, py(loss))
    context.globalAlpha = 0.15
    context.beginPath()
    context.moveTo(left, py(loss))
    context.lineTo(width - right, py(loss))
    context.stroke()
  }
  context.globalAlpha = 0.7
  context.textBaseline = 'bottom'
  context.fillText(`step ${steps}`, width - right, height)
  context.textAlign = 'left'
  context.fillText('0', left, height)

  const line = (values: readonly number[], alpha: number, thickness: number) => {
    context.globalAlpha = alpha
    context.lineWidth = thickness
    context.beginPath()
    values.forEach((value, i) => {
      context.lineTo(px(i + 1), py(value))
    })
    context.stroke()
  }
  context.strokeStyle = getComputedStyle(document.querySelector('button')!).backgroundColor
  line(losses, 0.35, 1)
  const means = losses.map((_, i) => {
    const window = losses.slice(Math.max(0, i - 9), i + 1)
    return window.reduce((a, b) => a + b, 0) / window.length
  })
  line(means, 1, 2.5)
}
