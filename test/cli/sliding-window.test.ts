import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { readImage, readMask } from '../../src/node/image.ts'
import { writeMask, writePng } from '../../src/node/png.ts'
import { scoreMask } from '../../src/pipelines/scores.ts'
import { tempFolder } from '../data/temp.ts'
import { discFolder, fovea } from './command.ts'

const folder = await tempFolder()
const run = join(folder, 'run')
const large = join(folder, 'large')
/** Images of 3×2 discs side by side, as large as the ones of training. */
const [side, rows, columns] = [32, 2, 3]
const [height, width] = [rows * side, columns * side]

beforeAll(async () => {
  const data = await discFolder(join(folder, 'discs'), 12)
  const small = ['--size', '32', '--features', '2', '--lr', '2e-2', '--epochs', '12']
  const train = (out: string, method: string, ...more: string[]) =>
    fovea(['train', '--data', data, '--method', method, '--out', out, ...small, ...more])
  expect((await train(run, 'cartesian')).code).toBe(0)
  expect((await train(join(folder, 'polar'), 'polar', '--epochs', '1')).code).toBe(0)
  await mkdir(large)
  for (const n of [0, 1]) {
    const [image, mask] = [new Float32Array(height * width), new Float32Array(height * width)]
    for (let k = 0; k < rows * columns; k++) {
      const name = join(data, `disc${6 * n + k}`)
      const [one, truth] = [await readImage(`${name}_image.png`), await readMask(`${name}_mask.png`)]
      for (let i = 0; i < side * side; i++) {
        const [y, x] = [
          Math.floor(k / columns) * side + Math.floor(i / side),
          (k % columns) * side + (i % side),
        ]
        image[y * width + x] = one.data[i]!
        mask[y * width + x] = truth.mask[i]!
      }
    }
    await writePng(join(large, `l${n}.png`), { data: image, shape: [1, height, width] })
    await writeMask(join(large, `l${n}_mask.png`), mask, { height, width })
  }
})

const diceOf = async (mask: string): Promise<number> =>
  scoreMask((await readMask(mask)).mask, (await readMask(join(large, 'l0_mask.png'))).mask).dice

test('objects as large as in training: tiles find them, the whole image shrunken does not', async () => {
  const predict = async (name: string, ...more: string[]) => {
    const out = join(folder, name)
    const { code, err } = await fovea(['predict', join(large, 'l0.png'), '--run', run, '--out', out, ...more])
    expect(err).not.toMatch(/^fovea:/m)
    expect(code).toBe(0)
    return join(out, 'l0_mask.png')
  }
  const whole = await diceOf(await predict('whole'))
  const tiles = await predict('tiles', '--sliding-window', '32', '--overlap', '0')
  expect(await diceOf(tiles)).toBeGreaterThan(0.85)
  expect(await diceOf(tiles)).toBeGreaterThan(whole)
  const overlapping = await predict('overlapping', '--sliding-window', '32')
  // Other tiles, other masks: the default is half a tile.
  expect(await readFile(overlapping)).not.toEqual(await readFile(tiles))
  expect(await readFile(overlapping)).toEqual(
    await readFile(await predict('half', '--sliding-window', '32', '--overlap', '0.5')),
  )

  const scored = async (...more: string[]) => {
    const { code, out } = await fovea(['evaluate', '--run', run, '--data', large, '--json', ...more])
    expect(code).toBe(0)
    return JSON.parse(out).datasets[0].methods[0].cartesian.dice
  }
  const { count, mean } = await scored('--sliding-window', '32', '--overlap', '0')
  expect(count).toBe(2)
  expect(mean).toBeGreaterThan(0.8)
  const same = await scored('--sliding-window', '32', '--overlap', '0')
  expect(same.mean).toBe(mean)
  // The run's own images are one tile each.
  const own = async (...more: string[]) =>
    JSON.parse((await fovea(['evaluate', '--run', run, '--json', ...more])).out).datasets[0].methods
  expect(await own('--sliding-window', '32')).toEqual(await own())
})

test('tiles that cannot be', async () => {
  const said = async (path: string, from: string, ...more: string[]) => {
    const { code, err } = await fovea([
      'predict',
      path,
      '--run',
      from,
      '--out',
      join(folder, 'none'),
      ...more,
    ])
    expect(code).toBe(2)
    return err
  }
  const image = join(large, 'l0.png')
  expect(await said(image, run, '--sliding-window', '80')).toMatch(
    /l0\.png is 96×64 px \(width×height\), smaller than the tiles of --sliding-window 80; pass 64 at most, or leave it out/,
  )
  expect(await said(image, run, '--sliding-window', '20')).toMatch(
    /--sliding-window 20: U-Net wants a multiple of 16; pass 32/,
  )
  for (const overlap of ['1', '-0.1', 'x'])
    expect(await said(image, run, '--sliding-window', '32', '--overlap', overlap)).toMatch(
      /overlap.*It must be a number of at least 0 and under 1/,
    )
  expect(await said(image, run, '--sliding-window', '32', '--overlap', '0.98')).toMatch(
    /--overlap 0.98: tiles of 32 px would lie less than 1 px apart; pass 0.75 at most/,
  )
  expect(await said(image, run, '--overlap', '0.5')).toMatch(/--overlap 0.5: .*pass --sliding-window, too/)
  expect(await said(image, join(folder, 'polar'), '--sliding-window', '32')).toMatch(
    /--sliding-window: method polar finds its objects in the whole image.* it is for runs of --method cartesian and eat/,
  )
  const evaluate = ['evaluate', '--run', run, '--data', large, '--sliding-window', '96']
  expect((await fovea(evaluate)).err).toMatch(/l0 is 96×64 px/)
})
