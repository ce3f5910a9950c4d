import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Io } from '../../src/cli/io.ts'
import { runCommand } from '../../src/cli/run.ts'
import { writeMask, writePng } from '../../src/node/png.ts'
import { discs } from '../pipelines/discs.ts'

/** Runs `fovea` with this line in this process. `stopAt` presses Ctrl-C when it appears on standard output or error. */
export async function fovea(line: readonly string[], { stopAt }: { stopAt?: string } = {}) {
  const controller = new AbortController()
  const texts = { out: '', err: '' }
  const write = (to: 'out' | 'err') => (text: string) => {
    texts[to] += text
    if (stopAt && texts[to].includes(stopAt)) controller.abort()
  }
  const io: Io = {
    out: write('out'),
    err: write('err'),
    terminal: false,
    signal: controller.signal,
  }
  const code = await runCommand(line, io)
  return { code, ...texts }
}

/** A folder of images of discs with masks, or with instances (one, and a second in every other image). */
export async function discFolder(folder: string, count: number, { size = 32, instances = false } = {}) {
  await mkdir(folder, { recursive: true })
  const samples = await Promise.all(discs(count, { size }).map((s) => s.load()))
  for (const [i, { image, mask }] of samples.entries()) {
    const pixels = image.map((v) => 255 * (v + 0.7) * 0.7)
    const shape = [1, size, size] as const
    await writePng(join(folder, `disc${i}_image.png`), { data: pixels, shape })
    if (instances) {
      await writePng(join(folder, `disc${i}_instances.png`), { data: Uint16Array.from(mask), shape })
    } else await writeMask(join(folder, `disc${i}_mask.png`), mask, { height: size, width: size })
  }
  return folder
}
