import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readImage } from '../../src/node/image.ts'
import { tempFolder } from '../data/temp.ts'
import { discFolder, fovea } from './command.ts'

const folder = await tempFolder()
const discs = await discFolder(join(folder, 'discs'), 10)
const cells = await discFolder(join(folder, 'cells'), 8, { size: 48, instances: true })
const small = ['--size', '32', '--features', '2', '--batch', '4', '--lr', '1e-2']
const run = join(folder, 'run')
const train = ['train', '--data', discs, cells, '--out', run, ...small, '--epochs', '3']

test('train scores every method of two folders and writes results, scores and one report; evaluate agrees; predict writes masks', async () => {
  const { code, out } = await fovea([...train, '--json'])
  expect(code).toBe(0)
  const results = JSON.parse(out)
  const [first, second] = results.datasets
  expect(first).toMatchObject({
    name: 'discs',
    method: 'polar',
    images: { train: 8, validation: 1, test: 1 },
  })
  expect(first.methods.map((m: { label: string }) => m.label)).toEqual([
    'Cartesian (baseline)',
    'Polar, ground-truth origins',
    'Polar, Cartesian origins (A)',
  ])
  expect(first.methods[1].polar.dice.count).toBe(1)
  expect(first.methods[1].originError.mean).toBeLessThan(1e-3)
  expect(first.methods[0].polar).toBeUndefined()
  for (const { surface } of [...first.methods, ...second.methods]) {
    expect(surface.unit).toBe('px')
    expect(surface.boundaryIou.count).toBe(1)
    expect(surface.boundaryIou.mean).toBeGreaterThanOrEqual(0)
    // Of an empty mask there is no distance, and no mean of them.
    if (surface.hausdorff95)
      expect(surface.hausdorff95.mean).toBeGreaterThanOrEqual(surface.meanSurfaceDistance.mean)
  }
  const [head, ...lines] = (await readFile(join(run, 'scores.csv'), 'utf8')).trim().split('\n')
  expect(head).toContain(',hausdorff95,meanSurfaceDistance,boundaryIou,distanceUnit,')
  for (const line of lines)
    expect(line.replace(/"[^"]*"/g, '').split(',')).toHaveLength(head!.split(',').length)
  expect(second).toMatchObject({ name: 'cells', method: 'crops' })
  expect(second.networks.map((n: { epochs: number }) => n.epochs)).toEqual([3, 3])
  expect(JSON.parse(await readFile(join(run, 'results.json'), 'utf8'))).toEqual(results)
  expect((await readFile(join(run, 'scores.csv'), 'utf8')).trim().split('\n')).toHaveLength(1 + 3 + 2)
  const report = await readFile(join(run, 'report.html'), 'utf8')
  expect(report).toContain('Segment-then-segment')
  expect(report).toContain('Hausdorff 95 %, px')
  expect(report.match(/data:image\/png/g)).toHaveLength(15)
  expect(report).not.toMatch(/<script|https?:\/\//)

  const stopped = await fovea(['evaluate', '--run', run], { stopAt: 'scoring' })
  expect(stopped).toMatchObject({ code: 130, out: '' })
  expect(stopped.err).toContain('stopped while scoring; every checkpoint is whole')
  const again = await fovea(['evaluate', '--run', run, '--json'])
  expect(again.code).toBe(0)
  JSON.parse(again.out).datasets.forEach((d: { methods: unknown }, i: number) => {
    expect(d.methods).toEqual(results.datasets[i].methods)
  })

  const other = await fovea(['evaluate', '--run', run, '--dataset', 'cells', '--data', cells])
  expect(other.code).toBe(0)
  expect(other.out).toContain('8 held-out images')
  expect(other.out).toMatch(/cells: outlines in Cartesian space, the same images\nmethod +Hausdorff 95 %, px/)

  const masks = join(folder, 'masks')
  const predicted = await fovea([
    'predict',
    cells,
    '--run',
    run,
    '--dataset',
    'cells',
    '--out',
    masks,
    '--overlay',
  ])
  expect(predicted.code).toBe(0)
  expect(predicted.out).toContain('8 masks')
  expect((await readImage(join(masks, 'disc0_mask.png'))).shape).toEqual([1, 48, 48])
  expect((await readImage(join(masks, 'disc7_overlay.png'))).shape[0]).toBe(3)
  const one = await fovea([
    'predict',
    join(cells, 'disc1_image.png'),
    '--run',
    run,
    '--dataset',
    'discs',
    '--out',
    masks,
    '--json',
  ])
  expect(one.code).toBe(0)
  expect((await readImage(JSON.parse(one.out).masks[0].mask)).shape).toEqual([1, 48, 48])

  const unclear = await fovea(['predict', cells, '--run', run, '--out', masks])
  expect(unclear.code).toBe(2)
  expect(unclear.err).toMatch(/choose one by --dataset, discs, cells/)
})

test('Ctrl-C ends with code 130 and says how to go on; the same command ends as the uninterrupted one', async () => {
  const line = ['train', '--data', discs, '--method', 'cartesian', ...small, '--epochs', '3']
  const whole = join(folder, 'whole')
  const cut = join(folder, 'cut')
  expect((await fovea([...line, '--out', whole])).code).toBe(0)
  const stopped = await fovea([...line, '--out', cut], { stopAt: 'epoch 2/3' })
  expect(stopped.code).toBe(130)
  expect(stopped.err).toMatch(/Run the same command again to go on/)
  expect(stopped.out).toBe('')
  const resumed = await fovea([...line, '--out', cut])
  expect(resumed.code).toBe(0)
  expect(resumed.err).not.toContain('epoch 1/3')
  const [a, b] = await Promise.all(
    [whole, cut].map((run) => readFile(join(run, 'discs', 'cartesian', 'best.safetensors'))),
  )
  expect(Buffer.compare(a!, b!)).toBe(0)
  const other = await fovea([...line, '--out', cut, '--seed', '7'])
  expect(other.code).toBe(2)
  expect(other.err).toMatch(/holds a run with other settings/)
})

test('a run trained from the weights of its Cartesian network, with augmentation and early stop, works', async () => {
  const line = ['train', '--data', discs, ...small, '--epochs', '2', '--transfer', '--augment', 'thesis']
  const { code, out } = await fovea([
    ...line,
    '--patience',
    '1',
    '--origins',
    'cartesian',
    '--out',
    join(folder, 't'),
  ])
  expect(code).toBe(0)
  expect(out).toContain('Polar, Cartesian origins (A)')
  expect(out).not.toContain('ground-truth origins')
})
