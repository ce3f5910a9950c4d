import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { inversePolarWarp, type PolarLayout, polarWarp } from '../../src/autograd/ops/polar-warp.ts'
import { testDevice } from '../device.ts'
import { type Array64, adjoint, checkGradients, randomValues, uniforms } from '../oracle.ts'
import { expectClose, reference, runCase } from '../reference.ts'
import { inverseOracle, sampleOracle, smoothImage, turned } from './warp-oracle.ts'

const file = reference('warps')
const layouts: PolarLayout[] = ['radius-up', 'angles-down']

describe('PyTorch and OpenCV', () => {
  test.each(file.cases.filter((c) => c.op === 'polarWarp'))('$name', async (c) => {
    await runCase(await testDevice(), file, c, ([x, center], attrs) => polarWarp(x!, center!, attrs), {
      atol: 5e-6,
      gradAtol: 2e-5,
    })
  })
  test.each(file.cases.filter((c) => c.op === 'inversePolarWarp'))('$name', async (c) => {
    const options = c.attrs as { height: number; width: number }
    await runCase(await testDevice(), file, c, ([p, center]) => inversePolarWarp(p!, center!, options), {
      atol: 5e-6,
      gradAtol: 2e-5,
    })
  })
})

function polarOracle(
  x: Array64,
  center: Array64,
  angles: number,
  radii: number,
  maxRadius: number,
  layout: PolarLayout,
): Float64Array {
  const m = center.shape[0]!
  const y = sampleOracle(x, [m, angles, radii], (n, i, j) => {
    const [theta, r] = [(2 * Math.PI * i) / angles, (maxRadius * j) / radii]
    return [center.data[2 * n]! + r * Math.cos(theta), center.data[2 * n + 1]! + r * Math.sin(theta)]
  })
  return layout === 'radius-up' ? turned(y, m * x.shape[1]!, angles, radii).data : y
}

describe.each(layouts)('%s', (layout) => {
  test('gradients of polarWarp in image and centre', async () => {
    const center = { shape: [2, 2], data: [3.31, 2.77, 5.13, 1.29] }
    await checkGradients(
      (x, c) => polarWarp(x, c, { angles: 7, radii: 5, maxRadius: 5.5, layout }),
      (x, c) => polarOracle(x, c, 7, 5, 5.5, layout),
      [{ shape: [2, 3, 6, 9] }, center],
    )
    await checkGradients(
      (x, c) => polarWarp(x, c, { angles: 11, radii: 3, maxRadius: 4, layout }),
      (x, c) => polarOracle(x, c, 11, 3, 4, layout),
      [{ shape: [1, 2, 7, 5] }, center],
    )
  })

  test('gradients of inversePolarWarp in image and centre', async () => {
    const center = { shape: [2, 2], data: [3.31, 2.77, 5.13, 1.29] }
    await checkGradients(
      (p, c) => inversePolarWarp(p, c, { height: 6, width: 8, maxRadius: 5.5, layout }),
      (p, c) => inverseOracle(p, c, 6, 8, 5.5, layout),
      [{ shape: [2, 3, 6, 9] }, center],
    )
  })

  test('⟨Ax, y⟩ = ⟨x, Aᵀy⟩ for any shape', async () => {
    const device = await testDevice()
    const size = fc.constantFrom(1, 2, 3, 5, 8, 13)
    await fc.assert(
      fc.asyncProperty(
        fc.tuple(fc.integer({ min: 1, max: 2 }), fc.constantFrom(1, 3), size, size),
        size,
        size,
        fc.constantFrom('zeros' as const, 'border' as const, 'reflection' as const),
        fc.constantFrom('bilinear' as const, 'nearest' as const),
        async (shape, a, b, paddingMode, mode) => {
          const center = device.tensor(randomValues([shape[0], 2], a * 20 + b, -1, 9), [shape[0], 2])
          await adjoint(
            (x) => polarWarp(x, center, { angles: a, radii: b, layout, paddingMode, mode }),
            shape,
          )
          await adjoint((p) => inversePolarWarp(p, center, { height: a, width: b, layout, mode }), shape)
          center.dispose()
        },
      ),
      { numRuns: 15, seed: 42 },
    )
  })

  test('inverse(polar(x)) ≈ x inside the disc, for smooth x', async () => {
    const device = await testDevice()
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 25, max: 40 }),
        fc.integer({ min: 25, max: 40 }),
        fc.integer(),
        async (h, w, seed) => {
          const next = uniforms(seed)
          const values = smoothImage(h, w, next)
          const [cx, cy] = [w * (0.3 + 0.4 * next()), h * (0.3 + 0.4 * next())]
          const x = device.tensor(values, [1, 1, h, w])
          const center = device.tensor([cx, cy], [1, 2])
          const p = polarWarp(x, center, { angles: 256, radii: 96, layout })
          const y = inversePolarWarp(p, center, { height: h, width: w, layout })
          const back = await y.data()
          const reach = Math.hypot(h / 2, w / 2) - 1
          let worst = 0
          for (let v = 2; v < h - 2; v++) {
            for (let u = 2; u < w - 2; u++) {
              if (Math.hypot(u - cx, v - cy) > reach) continue
              worst = Math.max(worst, Math.abs(back[v * w + u]! - values[v * w + u]!))
            }
          }
          for (const t of [x, center, p, y]) t.dispose()
          expect(worst).toBeLessThan(0.02)
        },
      ),
      { numRuns: 10, seed: 42 },
    )
  })

  test('a mask comes back as a mask with nearest', async () => {
    const device = await testDevice()
    const [h, w] = [21, 30]
    const mask = Float32Array.from({ length: h * w }, (_, i) =>
      Math.hypot((i % w) - 14, Math.floor(i / w) - 10) < 7 ? 1 : 0,
    )
    const center = device.tensor([13.3, 9.8], [1, 2])
    const p = polarWarp(device.tensor(mask, [1, 1, h, w]), center, {
      angles: 180,
      radii: 90,
      layout,
      mode: 'nearest',
    })
    const back = await inversePolarWarp(p, center, { height: h, width: w, layout, mode: 'nearest' }).data()
    expect(new Set(back)).toEqual(new Set([0, 1]))
    const wrong = mask.reduce((sum, v, i) => sum + Math.abs(v - back[i]!), 0)
    expect(wrong).toBeLessThan(0.05 * mask.reduce((a, b) => a + b))
  })
})

test('a centred disc is a straight edge at its radius; the object lies at the bottom', async () => {
  const device = await testDevice()
  const [n, radius, radii, maxRadius] = [33, 9.4, 64, 16]
  const disc = Float32Array.from({ length: n * n }, (_, i) => {
    const r = Math.hypot((i % n) - 16, Math.floor(i / n) - 16)
    return Math.min(1, Math.max(0, radius - r + 0.5))
  })
  const p = polarWarp(device.tensor(disc, [1, 1, n, n]), device.tensor([16, 16], [1, 2]), {
    angles: 90,
    radii,
    maxRadius,
  })
  expect(p.shape).toEqual([1, 1, radii, 90])
  const values = await p.data()
  for (let i = 0; i < 90; i++) {
    const column = Array.from({ length: radii }, (_, row) => values[row * 90 + i]!)
    expect(column[radii - 1]).toBe(1)
    expect(column[0]).toBe(0)
    // Σ over radii counts them up to the edge, each maxRadius/radii px.
    const edge = (column.reduce((a, b) => a + b) * maxRadius) / radii
    expect(Math.abs(edge - radius)).toBeLessThan(0.25)
  }
})

test('shifting image and origin together changes nothing', async () => {
  const device = await testDevice()
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 0, max: 6 }),
      fc.integer({ min: 0, max: 6 }),
      fc.integer(),
      async (dx, dy, seed) => {
        const content = randomValues([7, 6], seed)
        const [cx, cy] = [2 + 3 * uniforms(seed)(), 3.7]
        const polar = async (sx: number, sy: number) => {
          const canvas = new Float32Array(20 * 20)
          for (let i = 0; i < 7; i++)
            canvas.set(content.subarray(6 * i, 6 * i + 6), (i + 4 + sy) * 20 + 4 + sx)
          const x = device.tensor(canvas, [1, 1, 20, 20])
          const center = device.tensor([4 + sx + cx, 4 + sy + cy], [1, 2])
          return polarWarp(x, center, { angles: 24, radii: 9, maxRadius: 9 }).data()
        }
        expectClose(await polar(dx, dy), await polar(0, 0), 0, 1e-5, 'shifted')
      },
    ),
    { numRuns: 8, seed: 42 },
  )
})

test('turning the image by a quarter shifts the angle axis by a quarter', async () => {
  const device = await testDevice()
  const [h, w, angles, radii] = [9, 12, 20, 7]
  const values = randomValues([h, w])
  // Clockwise on the screen: (u, v) goes to (h − 1 − v, u).
  const quarter = new Float32Array(h * w)
  for (let v = 0; v < h; v++) for (let u = 0; u < w; u++) quarter[u * h + (h - 1 - v)] = values[v * w + u]!
  const options = { angles, radii, maxRadius: 6, layout: 'angles-down' as const }
  const before = await polarWarp(
    device.tensor(values, [1, 1, h, w]),
    device.tensor([5.25, 3.5], [1, 2]),
    options,
  ).data()
  const after = await polarWarp(
    device.tensor(quarter, [1, 1, w, h]),
    device.tensor([h - 1 - 3.5, 5.25], [1, 2]),
    options,
  ).data()
  const shift = (angles / 4) * radii
  const expected = Float32Array.from(before, (_, i) => before[(i + before.length - shift) % before.length]!)
  expectClose(after, expected, 0, 1e-5, 'turned')
})

test.each([360, 257, 1024])('positions are right to 1e-6 of the radius: %i angles', async (angles) => {
  const device = await testDevice()
  // A ramp shows its position: x(u, v) = u in channel 0, v in channel 1.
  const n = 65
  const ramp = Float32Array.from({ length: 2 * n * n }, (_, i) => (i < n * n ? i % n : Math.floor(i / n) - n))
  const y = await polarWarp(device.tensor(ramp, [1, 2, n, n]), device.tensor([32, 32], [1, 2]), {
    angles,
    radii: 2,
    maxRadius: 60,
    layout: 'angles-down',
  }).data()
  for (let i = 0; i < angles; i++) {
    const theta = (2 * Math.PI * i) / angles
    expect(Math.abs(y[2 * i + 1]! - 32 - 30 * Math.cos(theta))).toBeLessThan(1.2e-5)
    expect(Math.abs(y[2 * (angles + i) + 1]! - 32 - 30 * Math.sin(theta))).toBeLessThan(1.2e-5)
  }
})

test('angles of the inverse are right to 2e-6 rad, and there is no seam', async () => {
  const device = await testDevice()
  const [angles, size] = [16, 41]
  // Channel 0: cosine of the row's angle; bilinear between rows is the chord.
  const p = Float32Array.from({ length: angles * 40 }, (_, i) => Math.floor(i / 40))
  const center = device.tensor([20.25, 19.5], [1, 2])
  const y = await inversePolarWarp(device.tensor(p, [1, 1, angles, 40]), center, {
    height: size,
    width: size,
    maxRadius: 40,
    layout: 'angles-down',
  }).data()
  for (let v = 0; v < size; v++) {
    for (let u = 0; u < size; u++) {
      const turn = Math.atan2(v - 19.5, u - 20.25) / (2 * Math.PI)
      const row = (turn - Math.floor(turn)) * angles
      // From the last row the ramp falls back to the first.
      const expected = row <= angles - 1 ? row : (angles - 1) * (angles - row)
      expect(Math.abs(y[v * size + u]! - expected)).toBeLessThan(row <= angles - 1 ? 5e-6 : 8e-5)
    }
  }
})

test('many origins of one image; a batchIndex', async () => {
  const device = await testDevice()
  const x = device.tensor(randomValues([2, 1, 6, 7]), [2, 1, 6, 7], { requiresGrad: true })
  const center = device.tensor(randomValues([4, 2], 3, 1, 5), [4, 2])
  const batchIndex = device.tensor(Int32Array.of(1, 0, -1, 1), [4])
  const y = polarWarp(x, center, { angles: 5, radii: 4, batchIndex })
  const values = await y.data()
  y.backward(device.ones(y.shape))
  expect(values.subarray(40, 60).every((v) => v === 0)).toBe(true)
  const only = device.tensor((await x.data()).slice(42), [1, 1, 6, 7], { requiresGrad: true })
  const from1 = polarWarp(only, center, { angles: 5, radii: 4 })
  const expected = await from1.data()
  expect([...values.subarray(0, 20)]).toEqual([...expected.subarray(0, 20)])
  expect([...values.subarray(60)]).toEqual([...expected.subarray(60)])
  from1.backward(
    device.tensor(
      Float32Array.from({ length: 80 }, (_, i) => (i < 20 || i >= 60 ? 1 : 0)),
      [4, 1, 4, 5],
    ),
  )
  expectClose((await x.grad!.data()).subarray(42), await only.grad!.data(), 1e-6, 1e-7, 'dx of image 1')
})

test.each(layouts)('inverse: many centres of one polar image; a batchIndex; %s', async (layout) => {
  const device = await testDevice()
  const options = { height: 5, width: 6, maxRadius: 5, layout }
  const [shape, plane] = [[2, 3, 8, 7], 3 * 5 * 6]
  const p = device.tensor(randomValues(shape), shape, { requiresGrad: true })
  const center = device.tensor(randomValues([4, 2], 3, 1, 5), [4, 2], { requiresGrad: true })
  const batchIndex = device.tensor(Int32Array.of(1, 0, 2, 1), [4])
  const y = inversePolarWarp(p, center, { ...options, batchIndex })
  expect(y.shape).toEqual([4, 3, 5, 6])
  const values = await y.data()
  y.backward(device.ones(y.shape))
  expect(values.subarray(2 * plane, 3 * plane).every((v) => v === 0)).toBe(true)
  // The second polar image by itself, with its centres.
  const only = device.tensor((await p.data()).slice(p.size / 2), [1, 3, 8, 7], { requiresGrad: true })
  const centers = await center.data()
  const own = device.tensor([...centers.subarray(0, 2), ...centers.subarray(6)], [2, 2], {
    requiresGrad: true,
  })
  const from1 = inversePolarWarp(only, own, options)
  const expected = await from1.data()
  expect([...values.subarray(0, plane)]).toEqual([...expected.subarray(0, plane)])
  expect([...values.subarray(3 * plane)]).toEqual([...expected.subarray(plane)])
  from1.backward(device.ones(from1.shape))
  expectClose((await p.grad!.data()).subarray(p.size / 2), await only.grad!.data(), 1e-6, 1e-6, 'dp')
  const dcenter = await center.grad!.data()
  expectClose(
    [...dcenter.subarray(0, 2), ...dcenter.subarray(6)],
    await own.grad!.data(),
    1e-5,
    1e-5,
    'dcenter',
  )
  expect([...dcenter.subarray(4, 6)]).toEqual([0, 0])
})

test('defaults, and what does not fit', async () => {
  const device = await testDevice()
  const x = device.zeros([2, 3, 6, 8])
  const center = device.zeros([2, 2])
  expect(polarWarp(x, center).shape).toEqual([2, 3, 8, 6])
  expect(polarWarp(x, center, { layout: 'angles-down' }).shape).toEqual([2, 3, 6, 8])
  expect(inversePolarWarp(x, center, { height: 4, width: 5 }).shape).toEqual([2, 3, 4, 5])
  expect(() => polarWarp(x, device.zeros([2, 3]))).toThrow(
    'polarWarp: center must be (N, 2), an (x, y) in pixels each, got (2, 3)',
  )
  expect(() => polarWarp(x, device.zeros([3, 2]))).toThrow(/center \(3, 2\) holds 3 rows, x has 2 images/)
  expect(() => polarWarp(x, center, { angles: 0 })).toThrow(/angles is a whole number of at least 1, got 0/)
  expect(() => inversePolarWarp(x, center, { height: 4, width: 5, maxRadius: -1 })).toThrow(
    /maxRadius is a length in pixels above 0, got -1/,
  )
  expect(() => polarWarp(x, center, { batchIndex: device.zeros([2]) })).toThrow(
    /batchIndex is float32 \(2\); it must be int32 \(2\)/,
  )
})
