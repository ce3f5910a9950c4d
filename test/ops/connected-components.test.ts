import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { comb, empty, full, hostile, noise, spiral } from '../../bench/masks.ts'
import { registeredOps } from '../../src/autograd/op.ts'
import { type Components, connectedComponents } from '../../src/autograd/ops/connected-components.ts'
import { hysteresisThreshold } from '../../src/autograd/ops/hysteresis-threshold.ts'
import { largestComponent } from '../../src/autograd/ops/select-component.ts'
import { bands } from '../../src/autograd/ops/union_find.ts'
import { inEveryForm, openDevice, testDevice } from '../device.ts'
import { floodFill, type Labelled } from '../masks.ts'
import { uniforms } from '../oracle.ts'
import { expectClose, reference } from '../reference.ts'

async function read(c: Components) {
  const [labels, count, areas, boxes, centroids] = await Promise.all(
    [c.labels, c.count, c.areas, c.boxes, c.centroids].map((t) => t.data()),
  )
  for (const t of Object.values(c)) t.dispose()
  return { labels: labels!, count: count!, areas: areas!, boxes: boxes!, centroids: centroids! }
}

async function components(mask: Float32Array, n: number, h: number, w: number, options = {}) {
  const device = await testDevice()
  using x = device.tensor(mask, [n, 1, h, w])
  return read(connectedComponents(x, options))
}

/** toEqual on a million elements is slow. */
function expectSame(actual: ArrayLike<number>, expected: ArrayLike<number>, what: string): void {
  expect(actual.length, what).toBe(expected.length)
  for (let i = 0; i < expected.length; i++) {
    if (actual[i] !== expected[i]) throw new Error(`${what}: ${actual[i]} at ${i}, expected ${expected[i]}`)
  }
}

/** Holds a batch to the oracle's images; the tables have `slots` rows. */
function expectImages(
  got: Awaited<ReturnType<typeof read>>,
  images: readonly Labelled[],
  slots: number,
  what: string,
): void {
  const size = got.labels.length / images.length
  images.forEach((image, n) => {
    const at = `${what}, image ${n}`
    expect(got.count[n], `${at}: count`).toBe(image.count)
    expectSame(got.labels.subarray(n * size, (n + 1) * size), image.labels, `${at}: labels`)
    const rows = Math.min(slots, image.count)
    const padded = (values: readonly number[], width: number) => {
      const all = new Float64Array(slots * width)
      all.set(values.slice(0, rows * width))
      return all
    }
    const of = (values: ArrayLike<number>, width: number) =>
      Array.prototype.slice.call(values, n * slots * width, (n + 1) * slots * width) as number[]
    expectSame(of(got.areas, 1), padded(image.areas, 1), `${at}: areas`)
    expectSame(of(got.boxes, 4), padded(image.boxes.flat(), 4), `${at}: boxes`)
    expectClose(of(got.centroids, 2), padded(image.centroids.flat(), 2), 3e-7, 1e-7, `${at}: centroids`)
  })
}

const connectivities = [4, 8] as const

describe('connectedComponents', () => {
  const file = reference('components')
  it.each(file.cases.filter((c) => c.op === 'connectedComponents').map((c) => [c.name, c] as const))(
    'gives the values of SciPy and scikit-image: %s',
    async (name, c) => {
      const { data, shape } = file.array(c, 'mask')
      const [n, , h, w] = shape as [number, number, number, number]
      const got = await components(data as Float32Array, n, h, w, c.attrs)
      expectSame(got.labels, file.array(c, 'labels').data, `${name}: labels`)
      const counts = file.array(c, 'count').data
      expectSame(got.count, counts, `${name}: count`)
      const compact = (values: ArrayLike<number>, width: number): number[] =>
        Array.from(counts).flatMap((k, i) => {
          const start = i * 1024 * width
          return Array.prototype.slice.call(values, start, start + Math.min(k, 1024) * width)
        })
      expect(Math.max(0, ...counts)).toBeLessThanOrEqual(1024)
      expectSame(compact(got.areas, 1), file.array(c, 'areas').data, `${name}: areas`)
      expectSame(compact(got.boxes, 4), file.array(c, 'boxes').data, `${name}: boxes`)
      expectClose(
        compact(got.centroids, 2),
        file.array(c, 'centroids').data,
        3e-7,
        1e-7,
        `${name}: centroids`,
      )
    },
  )

  it('gives what a flood fill gives, for any size, density and batch', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 1, max: 40 }),
        fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 60, max: 140 })),
        fc.double({ min: 0.05, max: 0.98, noNaN: true }),
        fc.integer(),
        fc.constantFrom(...connectivities),
        async (n, h, w, density, seed, connectivity) => {
          const masks = Array.from({ length: n }, (_, i) => noise(h, w, density, seed + i))
          const batch = Float32Array.from(masks.flatMap((m) => [...m]))
          const got = await components(batch, n, h, w, { connectivity, maxComponents: 37 })
          expectImages(
            got,
            masks.map((m) => floodFill(m, h, w, connectivity)),
            37,
            `${n}×${h}×${w}`,
          )
        },
      ),
      { numRuns: 60 },
    )
  })

  it('joins across the edges of 32-pixel words in every way', async () => {
    // All 2⁸ pictures of two rows of four pixels around a word's edge, one picture every third row.
    const h = 256 * 3
    const w = 66
    const mask = new Float32Array(h * w)
    for (let k = 0; k < 256; k++) {
      for (let bit = 0; bit < 8; bit++) {
        mask[(3 * k + (bit >> 2)) * w + 30 + (bit & 3)] = (k >> bit) & 1
        mask[(3 * k + (bit >> 2)) * w + 62 + (bit & 3)] = (k >> bit) & 1
      }
    }
    for (const connectivity of connectivities) {
      const got = await components(mask, 1, h, w, { connectivity })
      expectImages(got, [floodFill(mask, h, w, connectivity)], 1024, `connectivity ${connectivity}`)
    }
  })

  it('labels are a partition into connected sets, in raster order, and 4-components refine 8-components', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 30 }),
        fc.integer({ min: 1, max: 70 }),
        fc.double({ min: 0.2, max: 0.8, noNaN: true }),
        fc.integer(),
        async (h, w, density, seed) => {
          const mask = noise(h, w, density, seed)
          const four = (await components(mask, 1, h, w, { connectivity: 4 })).labels
          const eight = (await components(mask, 1, h, w, { connectivity: 8 })).labels
          const parent = new Map<number, number>()
          let last = 0
          for (let i = 0; i < h * w; i++) {
            expect(four[i]! > 0).toBe(mask[i]! > 0)
            if (four[i]! > last) expect(four[i]).toBe(++last)
            if (four[i] === 0) continue
            expect(parent.get(four[i]!) ?? eight[i]).toBe(eight[i])
            parent.set(four[i]!, eight[i]!)
            if (i % w > 0 && mask[i - 1]) expect(four[i - 1]).toBe(four[i])
            if (i >= w && mask[i - w]) expect(four[i - w]).toBe(four[i])
          }
          // Each label alone is one component again.
          for (const label of new Set([...four].filter((l) => l > 0 && l <= 3))) {
            expect(
              floodFill(
                four.map((l) => (l === label ? 1 : 0)),
                h,
                w,
                4,
              ).count,
            ).toBe(1)
          }
        },
      ),
      { numRuns: 25 },
    )
  })

  it.each([64, 127, 256, 512])('hostile masks of %i²', async (size) => {
    for (const [name, mask] of Object.entries(hostile(size))) {
      for (const connectivity of connectivities) {
        const got = await components(mask, 1, size, size, { connectivity })
        expectImages(got, [floodFill(mask, size, size, connectivity)], 1024, `${name} ${connectivity}`)
      }
    }
  })

  it('an 8192² spiral: a mask of two bindings', async () => {
    const size = 8192
    // Without guards: the nodes fill a whole binding of 128 MB.
    const device = await openDevice()
    try {
      if (device.native.limits.maxBufferSize < 4 * size * size) {
        expect(() => device.zeros([1, 1, size, size])).toThrow(/a buffer of this adapter holds at most/)
        return
      }
      const mask = spiral(size)
      using x = device.tensor(mask, [1, 1, size, size])
      await device.idle()
      const start = performance.now()
      const result = connectedComponents(x)
      await device.idle()
      const ms = performance.now() - start
      console.log(`connectedComponents of an 8192² spiral: ${ms.toFixed(0)} ms on ${device.adapter.name}`)
      const got = await read(result)
      expectSame(got.labels, mask, 'labels')
      expect(got.count[0]).toBe(1)
      let [area, sx, sy] = [0, 0, 0]
      for (let i = 0; i < mask.length; i++) {
        if (mask[i] === 0) continue
        area++
        sx += i % size
        sy += Math.floor(i / size)
      }
      expect(got.areas[0]).toBe(area)
      expect([...got.boxes.subarray(0, 4)]).toEqual([0, 0, size, size])
      expectClose(got.centroids.subarray(0, 2), [sx / area, sy / area], 1e-7, 0, 'centroid')
    } finally {
      device.destroy()
    }
  })

  it.each([4093, 4096])(
    'a batch larger than a binding, %i px wide: labels, hysteresis, largest',
    async (w) => {
      const device = await testDevice()
      // Bands end inside images, and images begin where no binding can.
      const [n, h] = [3, 3001]
      if (device.native.limits.maxBufferSize < 8 * n * h * w) return
      const plane = h * w
      const images = Array.from({ length: n }, (_, i) => floodFill(noise(h, w, 0.55, i), h, w, 4))
      const next = uniforms(9)
      const values = new Float32Array(n * plane)
      const expected = {
        labels: new Int32Array(n * plane),
        kept: new Float32Array(n * plane),
        largest: new Float32Array(n * plane),
      }
      images.forEach(({ labels, areas }, i) => {
        const strong = new Uint8Array(areas.length + 1)
        const most = 1 + areas.indexOf(areas.reduce((a, b) => Math.max(a, b)))
        for (let k = 0; k < plane; k++) {
          const label = labels[k]!
          if (label === 0) continue
          const isStrong = next() < 0.01
          values[i * plane + k] = isStrong ? 0.9 : 0.3
          if (isStrong) strong[label] = 1
        }
        expected.labels.set(labels, i * plane)
        for (let k = 0; k < plane; k++) {
          expected.kept[i * plane + k] = strong[labels[k]!]!
          expected.largest[i * plane + k] = labels[k] === most ? 1 : 0
        }
      })
      using x = device.tensor(values, [n, 1, h, w])
      const got = await read(connectedComponents(x))
      expect([...got.count]).toEqual(images.map((i) => i.count))
      expectSame(got.labels, expected.labels, 'labels')
      using kept = hysteresisThreshold(x, { low: 0.1, high: 0.5 })
      expectSame(await kept.data(), expected.kept, 'hysteresis')
      using largest = largestComponent(x)
      expectSame(await largest.data(), expected.largest, 'largest')
    },
  )

  it('the forms for CPU drivers and for GPUs', () =>
    inEveryForm(async () => {
      for (const [h, w] of [
        [61, 100],
        [61, 103],
      ] as const) {
        for (const connectivity of connectivities) {
          const masks = [0.3, 0.6].map((density) => noise(h, w, density))
          const got = await components(Float32Array.from(masks.flatMap((m) => [...m])), 2, h, w, {
            connectivity,
            maxComponents: 100,
          })
          const images = masks.map((m) => floodFill(m, h, w, connectivity))
          expectImages(got, images, 100, `${h}×${w}, ${connectivity} neighbours`)
        }
      }
    }))

  it('bands begin where a binding may, hold whole rows and fit a binding', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5000 }),
        fc.integer({ min: 1, max: 3000 }),
        fc.integer({ min: 4000, max: 1e6 }),
        (rows, width, most) => {
          let row = 0
          for (const { firstRow, endRow, skipped, count } of bands(rows, width, most)) {
            expect(firstRow).toBe(row)
            expect(skipped % 64).toBe(0)
            expect(skipped).toBeLessThanOrEqual(firstRow * width)
            expect(skipped + count).toBe(endRow * width)
            expect(count).toBeLessThanOrEqual(most)
            row = endRow
          }
          expect(row).toBe(rows)
        },
      ),
    )
  })

  it('sums of coordinates past 32 bits', async () => {
    const size = 2500 // Σx = 7.8e9
    const got = await components(full(size, size), 1, size, size)
    expect(got.areas[0]).toBe(size * size)
    expect([...got.centroids.subarray(0, 2)]).toEqual([(size - 1) / 2, (size - 1) / 2])
  })

  it('1×1, a row, a column, all full, all empty', async () => {
    for (const [h, w] of [
      [1, 1],
      [1, 1000],
      [1000, 1],
      [3, 33],
    ] as const) {
      for (const mask of [full(h, w), empty(h, w), noise(h, w, 0.6)]) {
        for (const connectivity of connectivities) {
          const got = await components(mask, 1, h, w, { connectivity })
          expectImages(got, [floodFill(mask, h, w, connectivity)], 1024, `${h}×${w}`)
        }
      }
    }
    expect((await components(new Float32Array(0), 2, 0, 5)).count).toEqual(new Int32Array(2))
    expect((await components(new Float32Array(0), 0, 4, 5)).count).toEqual(new Int32Array(0))
  })

  it('more components than rows: labels and count are exact, the tables hold the first', async () => {
    const mask = noise(50, 60, 0.4, 5)
    const oracle = floodFill(mask, 50, 60, 4)
    expect(oracle.count).toBeGreaterThan(100)
    expectImages(await components(mask, 1, 50, 60, { maxComponents: 10 }), [oracle], 10, 'ten rows')
    expectImages(await components(mask, 1, 50, 60, { maxComponents: 1 }), [oracle], 1, 'one row')
  })

  it('foreground is above the threshold; NaN is background, infinity is not', async () => {
    const values = Float32Array.of(Number.NaN, 0.5, 0.6, Number.POSITIVE_INFINITY, -1, Number.NaN, 0, 1e-30)
    expect([...(await components(values, 1, 1, 8)).labels]).toEqual([0, 1, 1, 1, 0, 0, 0, 2])
    expect([...(await components(values, 1, 1, 8, { threshold: 0.5 })).labels]).toEqual([
      0, 0, 1, 1, 0, 0, 0, 0,
    ])
  })

  it('gives the same bits each time, and in a compiled step', async () => {
    const device = await testDevice()
    using x = device.tensor(noise(70, 130, 0.593), [1, 1, 70, 130])
    const once = await read(connectedComponents(x, { connectivity: 8 }))
    expect(await read(connectedComponents(x, { connectivity: 8 }))).toEqual(once)
    const step = device.compile((m: typeof x) => connectedComponents(m, { connectivity: 8 }))
    const { submissions } = device.counters
    const first = step(x)
    expect(device.counters.submissions - submissions).toBeLessThanOrEqual(2)
    expect(await read(first)).toEqual(once)
    using other = device.tensor(comb(70, 130), [1, 1, 70, 130])
    expect(await read(step(other))).toEqual(await read(connectedComponents(other, { connectivity: 8 })))
    step.dispose()
  })

  it('the number of launches follows from the shape alone', async () => {
    const device = await testDevice()
    const launches = async (mask: Float32Array) => {
      using x = device.tensor(mask, [1, 1, 128, 128])
      const step = device.compile((m: typeof x) => connectedComponents(m))
      await read(step(x))
      const { dispatches } = step.captures[0]!
      step.dispose()
      return dispatches
    }
    expect(await launches(spiral(128))).toBe(await launches(empty(128, 128)))
  })

  it('a component in random order of values keeps its label: only > 0 counts', async () => {
    const next = uniforms(3)
    const mask = noise(20, 45, 0.55)
    const scaled = mask.map((v) => (v > 0 ? 1e-3 + next() : -next()))
    expect((await components(scaled, 1, 20, 45)).labels).toEqual((await components(mask, 1, 20, 45)).labels)
  })

  it('refuses other shapes and options by a sentence', async () => {
    const device = await testDevice()
    using wide = device.zeros([2, 3, 4, 5])
    using flat = device.zeros([4, 5])
    using whole = device.zeros([1, 1, 4, 5], { dtype: 'int32' })
    using mask = device.zeros([1, 1, 4, 5])
    expect(() => connectedComponents(wide)).toThrow(
      'connectedComponents: mask must have one channel, (N, 1, H, W), got (2, 3, 4, 5); slice or reshape it',
    )
    expect(() => connectedComponents(flat)).toThrow('got (4, 5)')
    expect(() => connectedComponents(whole)).toThrow('mask must be float32, got int32')
    expect(() => connectedComponents(mask, { connectivity: 6 as never })).toThrow(
      'connectivity is 4 (edges) or 8 (edges and corners), got 6',
    )
    expect(() => connectedComponents(mask, { maxComponents: 0 })).toThrow('maxComponents')
    expect(() => connectedComponents(mask, { threshold: Number.NaN })).toThrow('threshold')
  })

  it('is declared without a gradient', async () => {
    expect(registeredOps.get('connectedComponents')).toMatchObject({ differentiable: false })
    const device = await testDevice()
    using x = device.tensor(full(3, 3), [1, 1, 3, 3], { requiresGrad: true })
    const c = connectedComponents(x)
    expect(c.boxes.requiresGrad).toBe(false)
    for (const t of Object.values(c)) t.dispose()
  })
})
