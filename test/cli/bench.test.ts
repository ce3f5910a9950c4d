import { expect, test } from 'vitest'
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
]

test.each(REFUSED)('bench %j: code 2 before anything is measured, and a sentence', async (line, said) => {
  const { code, out, err } = await fovea(['bench', ...line])
  expect([code, out]).toEqual([2, ''])
  expect(err).toMatch(said)
})

test('bench --objects: networks and the rest, by parts', async () => {
  const line = ['bench', '--objects', '--features', '1', '--batch', '1', '--size', '32', '--json']
  const { code, out } = await fovea(line)
  expect(code).toBe(0)
  const [crops, several] = JSON.parse(out).objects
  for (const row of [crops, several]) {
    expect(row.objects).toBeGreaterThan(100)
    expect(row.share).toBeCloseTo(row.restMs / (row.roughMs + row.fineMs), 3)
  }
  const ops = (row: { parts: { op: string }[] }) => row.parts.map((p) => p.op)
  expect(ops(crops)).toEqual(expect.arrayContaining(['connectedComponents', 'cropResize', 'pasteBoxes']))
  expect(ops(several)).toEqual(expect.arrayContaining(['polarWarp', 'fusePolar', 'hysteresisThreshold']))
})

test('bench --profile --json: every kernel of both phases against its floor', async () => {
  const line = ['bench', '--profile', '--features', '2', '--batch', '1', '--size', '32,48', '--json']
  const { code, out } = await fovea(line)
  expect(code).toBe(0)
  const result = JSON.parse(out)
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
