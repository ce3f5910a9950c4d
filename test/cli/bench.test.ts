import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { writeMask, writePng } from '../../src/node/png.ts'
import { tempFolder } from '../data/temp.ts'
import { fovea } from './command.ts'

/** Refused lines and what must be said of them: what was given, and what there is. */
const REFUSED: readonly [line: string[], said: RegExp][] = [
  [['--features', 'abc'], /'abc' is invalid\. It must be whole numbers of at least 1/],
  [['--size', '64,x'], /'64,x' is invalid/],
  [['--batch', '0'], /'0' is invalid/],
  [['--channels', '1,3'], /one whole number/],
  [['--only', 'nonsense'], /'nonsense' is invalid\. No kernel's name contains it; there are conv2d, matmul/],
  [['--only', '8×32→32×256²'], /only large convolutions contain it; add --large/],
  [['--only', 'relu', '--no-kernels'], /leave out --no-kernels/],
  [['--network', 'unet,vnet'], /There is no network vnet; choose from unet/],
  [['--size', '72'], /--size 72: unet takes sides that are multiples of 16/],
  [['--objects', '--network', 'hourglass'], /hourglass gives no masks/],
  [['--peers', '--no-networks'], /leave out --no-networks/],
  [['--data', 'nuclei'], /add --objects/],
  [['--objects', '--data', 'no/such/folder'], /no\/such\/folder: not a folder that can be read/],
  [['--objects', '--profile'], /bench --profile --objects: each is in place of the rest/],
  [['--dealt', '--pixels'], /bench --dealt --pixels: each is in place of the rest/],
  [['--pixels', '--no-networks'], /bench --pixels: it measures networks; leave out --no-networks/],
  [['--pixels', '--only', 'conv2d', '--size', '64,128'], /bench --pixels: .*leave out --only/],
  [['--pixels', '--tune', '--size', '64,128'], /bench --pixels: .*leave out --tune/],
  [['--pixels'], /bench --pixels --size 64: it compares sizes; name two or more/],
  [['--dealt', '--no-kernels', '--no-networks'], /nothing is left to measure/],
  [['--quick', '--input'], /bench --quick: --input takes its own time; leave out --quick/],
  [['--quick', '--tune'], /bench --quick: --tune takes its own time/],
  [['--start', '--peers'], /bench --start: .*leave out --peers/],
  [['--no-kernels', '--no-networks'], /nothing is left to measure/],
]

test.each(REFUSED)('bench %j: code 2 before anything is measured, and a sentence', async (line, said) => {
  const { code, out, err } = await fovea(['bench', ...line])
  expect([code, out]).toEqual([2, ''])
  expect(err).toMatch(said)
})

test('the script for graphics processors asks for options that there are', async () => {
  const script = await readFile(new URL('../../bench/gpu/measure.mjs', import.meta.url), 'utf8')
  const calls = [...script.matchAll(/(?:bench|fovea)\((?:[^()]*)\)/g)].map(([call]) => call).join(' ')
  const asked = new Set(calls.match(/--[a-z-]+/g))
  expect(asked).toContain('--subgroup-matrices')
  const { out } = await fovea(['bench', '--help'])
  for (const option of asked) expect(out).toContain(option)
})

test.each(['bench', 'train --data data/lesion --out runs/none'])(
  '%s --subgroup-matrices: code 1 and a sentence where the adapter offers none',
  async (command) => {
    const { code, out, err } = await fovea([...command.split(' '), '--subgroup-matrices'])
    expect([code, out]).toEqual([1, ''])
    expect(err).toMatch(/offers no chromium-experimental-subgroup-matrix/)
  },
)

test('bench --objects --data: networks and the rest by parts, of discs and of the first image of 100 objects or more', async () => {
  const folder = await tempFolder()
  const side = 160
  /** Squares of 6 px, one every `step` px. */
  const squares = async (id: string, step: number) => {
    const mask = Float32Array.from({ length: side * side }, (_, i) =>
      (i % side) % step < 6 && Math.floor(i / side) % step < 6 ? 1 : 0,
    )
    const size = { height: side, width: side }
    await writePng(join(folder, `${id}_image.png`), { data: mask, shape: [1, side, side] })
    await writeMask(join(folder, `${id}_mask.png`), mask, size)
  }
  await squares('a', 20)
  const line = [
    'bench',
    '--objects',
    '--data',
    folder,
    '--features',
    '1',
    '--batch',
    '1',
    '--size',
    '32',
    '--quick',
    '--json',
  ]
  const few = await fovea(line)
  expect([few.code, few.err]).toEqual([2, expect.stringMatching(/none of its 1 images has 100 objects/)])
  await squares('b', 10)
  await squares('c', 8)
  const many = await fovea(line)
  expect(many.err).not.toMatch(/^fovea:/m)
  const { objects } = JSON.parse(many.out)
  const title = (row: { method: string }) => row.method.split(', ').at(-1)
  expect(objects.map(title)).toEqual(['discs', 'discs', 'b', 'b'])
  // Of the 154 discs some are one in a rough image of 32 px.
  expect(objects.map((row: { objects: number }) => row.objects)).toEqual([145, 154, 256, 256])
  const ops = (row: { parts: { op: string }[] }) => row.parts.map((p) => p.op)
  for (const row of objects) {
    expect(row.share).toBeCloseTo(row.restMs / (row.roughMs + row.fineMs), 3)
    expect(row.passes / (row.ms / row.roughMs)).toBeCloseTo(1, 2)
  }
  for (const row of [objects[0], objects[2]])
    expect(ops(row)).toEqual(expect.arrayContaining(['connectedComponents', 'cropResize', 'pasteBoxes']))
  for (const row of [objects[1], objects[3]])
    expect(ops(row)).toEqual(expect.arrayContaining(['polarWarp', 'fusePolar', 'hysteresisThreshold']))
})

test('Ctrl-C ends a bench at once, with code 130', async () => {
  const { code, out, err } = await fovea(['bench', '--only', 'relu', '--no-networks'], {
    stopAt: 'ceiling: ',
  })
  expect([code, err]).toEqual([130, 'fovea: stopped before everything was measured\n'])
  expect(out).not.toContain('relu 4')
})

test('bench --profile --json: every kernel of both phases against its floor', async () => {
  const line = [
    'bench',
    '--profile',
    '--features',
    '2',
    '--batch',
    '1',
    '--size',
    '32,48',
    '--quick',
    '--json',
  ]
  const { code, out } = await fovea(line)
  expect(code).toBe(0)
  const result = JSON.parse(out)
  expect(result.quick).toBe(true)
  expect(result.adapter).not.toBe('')
  expect(result.ceiling.gflops).toBeGreaterThan(0)
  expect(result.overheadUs).toBeGreaterThan(0)
  expect(result.profiles.map((p: { name: string }) => p.name)).toEqual([
    'unet2 inference 1x1x32x32',
    'unet2 training step 1x1x32x32',
    'unet2 inference 1x1x48x48',
    'unet2 training step 1x1x48x48',
  ])
  for (const p of result.profiles) {
    expect(p).toMatchObject({ submissions: 1, newBuffers: 0 })
    const launches = p.byKernel.reduce((sum: number, r: { launches: number }) => sum + r.launches, 0)
    expect(launches).toBe(p.dispatches)
    const conv = p.byKernel.filter((r: { op: string }) => r.op === 'conv2d')
    expect(conv.length).toBeGreaterThan(0)
    expect(p.floorMs).toBeGreaterThan(0)
    expect(p.peakBytes).toBeGreaterThan(p.plannedBytes)
  }
})
