import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { segmentLocalised } from '../../src/pipelines/localise.ts'
import { predictorLoss } from '../../src/pipelines/predictor.ts'
import { maskCentre, scoreMask } from '../../src/pipelines/scores.ts'
import * as transforms from '../../src/pipelines/transforms/index.ts'
import { testDevice } from '../device.ts'
import { type Array64, checkGradients } from '../oracle.ts'

const {
  affineTransform,
  boxOfMap,
  brightestOfMap,
  centreOfMap,
  composeTransforms,
  cropTransform,
  joinParameters,
  polarTransform,
  rescaleTransform,
  scaleToFill,
  softArgmaxOfMap,
  softBoxOfMap,
  softCentreOfMap,
  translateTransform,
  windowOfMap,
  windowTransform,
} = transforms

const H = 40
const W = 48

/** An ellipse of ones, (1, 1, H, W) in raster order. */
function ellipse(cx: number, cy: number, rx: number, ry: number): Float32Array {
  return Float32Array.from({ length: H * W }, (_, i) =>
    ((i % W) - cx) ** 2 / rx ** 2 + (Math.floor(i / W) - cy) ** 2 / ry ** 2 <= 1 ? 1 : 0,
  )
}

const shape = [1, 1, H, W]
const object = fc.record({
  cx: fc.double({ min: 16, max: 32, noNaN: true }),
  cy: fc.double({ min: 14, max: 26, noNaN: true }),
  rx: fc.double({ min: 6, max: 10, noNaN: true }),
  ry: fc.double({ min: 6, max: 10, noNaN: true }),
})

/**
 * Each transform with the f_ϕ that finds its parameters. Two resamplings move an outline by up to a pixel: an ellipse of
 * radius r keeps 1 − slack/r of its DSC.
 */
const cases = [
  { name: 'polar', transform: polarTransform(), parameters: centreOfMap(), slack: 0.9 },
  {
    name: 'polar, finer',
    transform: polarTransform({ angles: 96, radii: 64, maxRadius: 30 }),
    parameters: centreOfMap(),
    slack: 0.9,
  },
  { name: 'crop', transform: cropTransform({ size: 32 }), parameters: boxOfMap({ padding: 3 }), slack: 0.9 },
  {
    name: 'soft crop',
    transform: cropTransform({ size: 32 }),
    parameters: softBoxOfMap({ padding: 2 }),
    slack: 0.9,
  },
  { name: 'rescale', transform: rescaleTransform(), parameters: scaleToFill({ share: 0.35 }), slack: 0.9 },
  { name: 'translate', transform: translateTransform(), parameters: centreOfMap(), slack: 0.9 },
  { name: 'window', transform: windowTransform(), parameters: windowOfMap(), slack: 0 },
  {
    name: 'translate, then polar about the centre',
    transform: composeTransforms(translateTransform(), polarTransform()),
    parameters: (map: Tensor, x: Tensor) =>
      joinParameters(centreOfMap(), () => map.device.tensor([(W - 1) / 2, (H - 1) / 2], [1, 2]))(map, x),
    slack: 0.9,
  },
  {
    name: 'crop, then polar in the crop',
    transform: composeTransforms(cropTransform({ size: 48 }), polarTransform()),
    parameters: (map: Tensor, x: Tensor) =>
      joinParameters(boxOfMap({ padding: 4 }), () => map.device.tensor([23.5, 23.5], [1, 2]))(map, x),
    slack: 0.9,
  },
]

test('a composition wants as many parameters as its parts have', async () => {
  const device = await testDevice()
  const both = composeTransforms(translateTransform(), polarTransform())
  const x = device.zeros([1, 1, 16, 16])
  for (const count of [2, 5])
    expect(() => both.apply(x, device.zeros([1, count]))).toThrow(
      `translate+polar: parameters must be (N, 4), 2 of translate and 2 of polar, got (1, ${count})`,
    )
})

describe('there and back', () => {
  test.each(cases)('$name', async ({ transform, parameters, slack }) => {
    const device = await testDevice()
    await fc.assert(
      fc.asyncProperty(object, async ({ cx, cy, rx, ry }) => {
        const truth = ellipse(cx, cy, rx, ry)
        const [mask, size] = device.noGrad(() =>
          device.scope(() => {
            const y = device.tensor(truth, shape)
            const phi = parameters(y, y)
            const there = transform.apply(y, phi, { mode: 'nearest' })
            const back = transform.invert(there, phi, { height: H, width: W })
            return [back, there]
          }),
        )
        const expected = transform.outputSize({ height: H, width: W })
        expect(size.shape).toEqual([1, 1, expected.height, expected.width])
        expect(scoreMask(await mask.data(), truth).dice).toBeGreaterThanOrEqual(1 - slack / Math.min(rx, ry))
        mask.dispose()
        size.dispose()
      }),
      { numRuns: 12 },
    )
  })

  test('an affine matrix and its inverse are one', async () => {
    const device = await testDevice()
    const truth = ellipse(24, 20, 9, 7)
    const y = device.tensor(truth, shape)
    const phi = device.tensor([0.9, 0.3, -3, -0.2, 1.1, 2], [1, 6])
    const back = affineTransform().invert(affineTransform().apply(y, phi), phi, { height: H, width: W })
    expect(scoreMask(await back.data(), truth).dice).toBeGreaterThan(0.93)
    const matrix = device.tensor([1, 0, 0, 0, 1, 0], [1, 6])
    expect(await affineTransform().apply(y, matrix).data()).toEqual(truth)
  })

  test('translate brings the centre to the reference, rescale the box to its share', async () => {
    const device = await testDevice()
    const y = device.tensor(ellipse(17, 25, 6, 8), shape)
    const moved = translateTransform({ reference: [30, 12] }).apply(y, centreOfMap()(y))
    const [x0, y0] = maskCentre(await moved.data(), H, W)
    expect([Math.abs(x0 - 30), Math.abs(y0 - 12)].every((d) => d < 0.05)).toBe(true)
    const still = device.tensor(ellipse((W - 1) / 2, (H - 1) / 2, 6, 8), shape)
    const scaled = rescaleTransform().apply(
      still,
      scaleToFill({ share: 0.8, keepAspect: false })(still, still),
    )
    const [, , width, height] = await boxOfMap()(scaled, scaled).data()
    expect(Math.abs(width! - 0.8 * W)).toBeLessThan(3.5)
    expect(Math.abs(height! - 0.8 * H)).toBeLessThan(3.5)
  })
})

describe('f_ϕ', () => {
  test('by hand', async () => {
    const device = await testDevice()
    const map = device.tensor(ellipse(20, 15, 8, 5), shape)
    expect([...(await boxOfMap()(map, map).data())]).toEqual([12, 10, 17, 11])
    for (const f of [centreOfMap(), softCentreOfMap()]) {
      const [x, y] = await f(map, map).data()
      expect([x, y].map((v) => Math.round(v! * 1e4) / 1e4)).toEqual([20, 15])
    }
    const peak = new Float32Array(H * W)
    peak[11 * W + 33] = 1
    const heat = device.tensor(peak, shape)
    expect([...(await brightestOfMap()(heat, heat).data())]).toEqual([33, 11])
    const [sx, sy] = await softArgmaxOfMap()(heat, heat).data()
    expect(Math.hypot(sx! - 33, sy! - 11)).toBeLessThan(1e-3)
    const image = device.tensor(
      Float32Array.from({ length: H * W }, (_, i) => i % W),
      shape,
    )
    expect([...(await windowOfMap()(map, image).data())]).toEqual([12, 28])
    expect([...(await windowOfMap()(device.zeros(shape), image).data())]).toEqual([0, W - 1])
  })

  test('the soft box of a filled ellipse is its box', async () => {
    const device = await testDevice()
    const map = device.tensor(ellipse(20, 15, 12, 8), shape)
    const box = await softBoxOfMap()(map, map).data()
    // The box holds the whole pixels of the tips, a pixel more across than the ellipse's axis that the spread measures.
    for (const [i, v] of [8, 7, 25, 17].entries()) expect(Math.abs(box[i]! - v)).toBeLessThan(1.5)
  })

  /** Centre of mass of weights (1, 1, 5, 6) in float64. */
  const centre = (v: ArrayLike<number>) => {
    let [m, x, y] = [0, 0, 0]
    for (let i = 0; i < 30; i++) {
      m += v[i]!
      x += v[i]! * (i % 6)
      y += v[i]! * Math.floor(i / 6)
    }
    return [x / m, y / m, m] as const
  }

  test('soft ones against finite differences', async () => {
    const input = [{ shape: [1, 1, 5, 6], low: 0.2, high: 0.8 }]
    const through = (f: transforms.ParameterFunction) => (x: Tensor) => f(x, x)
    await checkGradients(through(softCentreOfMap()), (x) => centre(x.data).slice(0, 2), input)
    const soft = ([x]: readonly Array64[]) => centre(x!.data.map((v) => Math.exp(3 * v))).slice(0, 2)
    await checkGradients(through(softArgmaxOfMap(3)), (x) => soft([x]), input)
    const box = ({ data }: Array64) => {
      const [cx, cy, m] = centre(data)
      const half = (of: (i: number) => number, c: number) => {
        let sum = 0
        for (let i = 0; i < 30; i++) sum += data[i]! * (of(i) - c) ** 2
        return 2 * Math.sqrt(sum / (m + 1e-6) + 1e-6)
      }
      const [w, h] = [2 * half((i) => i % 6, cx) + 2, 2 * half((i) => Math.floor(i / 6), cy) + 2]
      return [cx - w / 2 + 0.5, cy - h / 2 + 0.5, w, h]
    }
    await checkGradients(through(softBoxOfMap({ padding: 1 })), box, input)
  })

  test('a wrong number of parameters is said by the transform', async () => {
    const device = await testDevice()
    const x = device.zeros(shape)
    const parts = { localise: (v: Tensor) => v, segment: (v: Tensor) => v, transform: polarTransform() }
    expect(() => segmentLocalised({ ...parts, parameters: boxOfMap() }, x)).toThrow(
      /polar: takes \(N, 2\) parameters, f_ϕ gave \(1, 4\)/,
    )
  })
})

describe('predictorLoss', () => {
  test('α weighs the parameters, β the map', async () => {
    const device = await testDevice()
    const truth = device.tensor(ellipse(20, 15, 8, 5), shape)
    const moved = device.tensor(ellipse(23, 15, 8, 5), shape)
    const parameters = softCentreOfMap()
    const only = predictorLoss({ alpha: 2, beta: 0, parameters, scale: 1 / 3 })
    // Mean over (x, y) of squared thirds: (1² + 0²)/2, times 2.
    expect(await only(moved, truth).item()).toBeCloseTo(1, 3)
    expect(await predictorLoss({ alpha: 0, beta: 1, parameters })(truth, truth).item()).toBeCloseTo(0, 5)
    expect(() => predictorLoss({ alpha: 0, beta: 0, parameters })).toThrow(/one of them above/)
  })
})

test('the transform of the docs is a transform', async () => {
  const page = readFileSync(new URL('../../docs/transforms.md', import.meta.url), 'utf8')
  const code = /```js\n(\/\/ A transform of your own[\s\S]*?)```/.exec(page)![1]!
  const names = /import \{ (.*) \}/.exec(code)![1]!
  const body = code.replace(/import .*\n/, '').replaceAll('export const', 'const')
  const make = new Function('fovea', `const { ${names} } = fovea\n${body}\nreturn { mirror, liesRight }`)
  const { mirror, liesRight } = make(await import('../../src/index.ts')) as {
    mirror: transforms.Transform
    liesRight: transforms.ParameterFunction
  }
  const device = await testDevice()
  for (const cx of [12, 40]) {
    const y = device.tensor(ellipse(cx, 15, 6, 5), shape)
    const there = mirror.apply(y, liesRight(y, y))
    const [x] = maskCentre(await there.data(), H, W)
    expect(x).toBeCloseTo(cx === 12 ? 12 : W - 1 - 40, 3)
    expect(await mirror.invert(there, liesRight(y, y), { height: H, width: W }).data()).toEqual(
      await y.data(),
    )
  }
})
