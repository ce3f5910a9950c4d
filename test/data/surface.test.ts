import { copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { UNet } from '../../src/nn/networks/unet.ts'
import { openDataset } from '../../src/node/folders.ts'
import { writeMask, writePng } from '../../src/node/png.ts'
import { evaluateCartesian } from '../../src/pipelines/evaluate.ts'
import { scoreMasks } from '../../src/pipelines/score-masks.ts'
import { summarizeSurfaces, surfaceScores } from '../../src/pipelines/surface.ts'
import { testDevice } from '../device.ts'
import { referenceArrays, referenceTable } from '../reference.ts'
import { tempFolder } from './temp.ts'

interface Case {
  name: string
  shape: number[]
  spacing: number[]
  hausdorff95: number
  meanSurfaceDistance: number
  boundaryIou: number
}

describe('surfaceScores', () => {
  const arrays = referenceArrays('surface')
  test.each(referenceTable<Case[]>('surface'))('as SciPy: $name', ({ name, shape, spacing, ...expected }) => {
    const [a, b] = ['prediction', 'truth'].map((k) => arrays.get(`${name}/${k}`)!.data)
    const scores = surfaceScores(a!, b!, shape, { spacing })
    for (const key of ['hausdorff95', 'meanSurfaceDistance', 'boundaryIou'] as const)
      expect(scores[key]).toBeCloseTo(expected[key], 9)
  })

  const size = fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 }))
  const pair = size.chain(([h, w]) => {
    const mask = fc.array(fc.constantFrom(0, 1), { minLength: h * w, maxLength: h * w })
    return fc.tuple(fc.constant([h, w]), mask, mask)
  })

  test('symmetric; 0 against itself; in units of the spacing', () => {
    fc.assert(
      fc.property(pair, ([shape, a, b]) => {
        const scores = surfaceScores(a, b, shape)
        expect(surfaceScores(b, a, shape)).toEqual(scores)
        expect(surfaceScores(a, a, shape)).toEqual({ hausdorff95: 0, meanSurfaceDistance: 0, boundaryIou: 1 })
        const doubled = surfaceScores(a, b, shape, { spacing: [2, 2] })
        if (Number.isFinite(scores.hausdorff95)) {
          expect(doubled.hausdorff95).toBeCloseTo(2 * scores.hausdorff95, 9)
          expect(doubled.meanSurfaceDistance).toBeCloseTo(2 * scores.meanSurfaceDistance, 9)
        }
        expect(doubled.boundaryIou).toBe(scores.boundaryIou)
      }),
    )
  })

  test('a square moved by 3 px', () => {
    const square = (left: number) =>
      Array.from({ length: 400 }, (_, i) => {
        const [y, x] = [Math.floor(i / 20), i % 20]
        return y >= 5 && y < 15 && x >= left && x < left + 8 ? 1 : 0
      })
    const { hausdorff95 } = surfaceScores(square(4), square(7), [20, 20], { spacing: [0.5, 0.5] })
    expect(hausdorff95).toBe(1.5)
  })

  test('ground about both masks says nothing, of images and of volumes', () => {
    const volume = fc.tuple(...[4, 4, 4].map((max) => fc.integer({ min: 1, max }))).chain((shape) => {
      const n = shape.reduce((a, b) => a * b)
      const mask = fc.array(fc.constantFrom(0, 1), { minLength: n, maxLength: n })
      return fc.tuple(fc.constant(shape), mask, mask)
    })
    const widened = ([d, h, w]: number[], mask: number[]) => {
      const out = new Float32Array((d! + 5) * (h! + 3) * (w! + 7))
      mask.forEach((v, i) => {
        const [z, y, x] = [Math.floor(i / (h! * w!)) + 2, (Math.floor(i / w!) % h!) + 3, (i % w!) + 4]
        out[(z * (h! + 3) + y) * (w! + 7) + x] = v
      })
      return out
    }
    fc.assert(
      fc.property(volume, ([shape, a, b]) => {
        const options = { spacing: [3, 1.5, 0.5], boundaryWidth: 1 }
        const [d, h, w] = shape as [number, number, number]
        const wide = [d + 5, h + 3, w + 7]
        expect(surfaceScores(widened(shape, a), widened(shape, b), wide, options)).toEqual(
          surfaceScores(a, b, shape, options),
        )
      }),
    )
  })

  test('a width of the band that is none', () => {
    for (const boundaryWidth of [-1, Number.NaN])
      expect(() => surfaceScores([1, 0, 0, 0], [1, 0, 0, 0], [2, 2], { boundaryWidth })).toThrow(
        `boundaryWidth is 0 or more, in units of the spacing, got ${boundaryWidth}`,
      )
  })

  test('empty masks', () => {
    const none = [0, 0, 0, 0]
    const both = surfaceScores(none, none, [2, 2])
    expect(both).toEqual({ hausdorff95: 0, meanSurfaceDistance: 0, boundaryIou: 1 })
    const infinite = Number.POSITIVE_INFINITY
    const one = { hausdorff95: infinite, meanSurfaceDistance: infinite, boundaryIou: 0 }
    expect(surfaceScores([0, 1, 0, 0], none, [2, 2])).toEqual(one)
    expect(surfaceScores(none, [0, 1, 0, 0], [2, 2])).toEqual(one)
  })

  test('lengths and spacings that do not fit', () => {
    expect(() => surfaceScores([1, 0], [1], [1, 2])).toThrow(/prediction has 2 pixels, truth 1; 1×2 wants 2/)
    expect(() => surfaceScores([1], [1], [1, 1], { spacing: [1] })).toThrow(/wants 2 numbers over 0/)
    expect(() => surfaceScores([1], [1], [1, 1], { spacing: [1, 0] })).toThrow(/wants 2 numbers over 0/)
  })
})

describe('summarizeSurfaces', () => {
  const image = (hausdorff95: number, boundaryIou: number, spacing?: [number, number]) => ({
    scores: { hausdorff95, meanSurfaceDistance: hausdorff95 / 2, boundaryIou },
    ...(spacing ? { spacing } : {}),
  })

  test('means over the images that have a distance, in their unit', () => {
    const none = image(Number.POSITIVE_INFINITY, 0)
    const summary = summarizeSurfaces([image(2, 0.5), none, image(4, 1)])
    expect(summary).toMatchObject({
      unit: 'px',
      hausdorff95: { count: 2, mean: 3 },
      meanSurfaceDistance: { mean: 1.5 },
    })
    expect(summary.boundaryIou).toMatchObject({ count: 3, mean: 0.5 })
    expect(summarizeSurfaces([none])).toMatchObject({ hausdorff95: null, meanSurfaceDistance: null })
    expect(summarizeSurfaces([image(2, 1, [1, 1])]).unit).toBe('mm')
    expect(() => summarizeSurfaces([image(2, 1, [1, 1]), none])).toThrow(/1 of 2 images have a spacing/)
  })
})

describe('scoreMasks', () => {
  test('an entry an image, from tensors', async () => {
    const device = await testDevice()
    const truth = device.tensor(new Float32Array([1, 1, 0, 0, 0, 0, 0, 0]), [2, 1, 2, 2])
    const prediction = device.tensor(new Float32Array([0.9, 0.2, 0, 0, 0, 0, 0, 0]), [2, 1, 2, 2])
    const [first, second] = await scoreMasks(prediction, truth, { spacing: 0.5 })
    expect(first).toMatchObject({
      dice: 2 / 3,
      iou: 0.5,
      precision: 1,
      recall: 0.5,
      hausdorff95: expect.closeTo(0.475),
    })
    expect(second).toMatchObject({ dice: 1, iou: 1, hausdorff95: 0, meanSurfaceDistance: 0, boundaryIou: 1 })
    await expect(scoreMasks(truth, device.zeros([2, 1, 2, 3]))).rejects.toThrow(/one shape \(N, 1, H, W\)/)
  })
})

describe('spacing of images', () => {
  const dicom = fileURLToPath(new URL('../reference/volumes/series/IM0', import.meta.url))

  test('DICOM images are scored in mm of their resized pixels; where one image tells no spacing, all are in px', async () => {
    const folder = await tempFolder()
    const [height, width] = [24, 20]
    const mask = Float32Array.from({ length: height * width }, (_, i) => (i % 3 === 0 ? 1 : 0))
    for (const name of ['a', 'b']) {
      await copyFile(dicom, join(folder, `${name}.dcm`))
      await writeMask(join(folder, `${name}_mask.png`), mask, { height, width })
    }
    const device = await testDevice()
    const net = new UNet(device, { inChannels: 1, features: 2, seed: 1 })
    const scored = async () =>
      evaluateCartesian(device, net, (await openDataset(folder, { size: 32 })).samples)
    const [first] = await scored()
    // 0.7 mm between rows of 24, 0.6 between columns of 20.
    const spacing = [(0.7 * 24) / 32, (0.6 * 20) / 32] as const
    expect(first!.spacing![0]).toBeCloseTo(spacing[0], 9)
    expect(first!.spacing![1]).toBeCloseTo(spacing[1], 9)
    const truth = (await (await openDataset(folder, { size: 32 })).samples[0]!.load()).mask
    const direct = surfaceScores(first!.prediction, truth, [32, 32], { spacing: first!.spacing! })
    expect(first!.scores).toMatchObject(direct)
    expect(summarizeSurfaces(await scored()).unit).toBe('mm')

    await writePng(join(folder, 'c.png'), { data: mask, shape: [1, height, width] })
    await writeMask(join(folder, 'c_mask.png'), mask, { height, width })
    const mixed = await scored()
    expect(mixed.map((e) => e.spacing)).toEqual([undefined, undefined, undefined])
    expect(summarizeSurfaces(mixed).unit).toBe('px')
    net.dispose()
  })
})
