import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  fillHolesInVolume,
  keepLargestInVolume,
  labelComponents,
  type VolumeConnectivity,
} from '../../src/pipelines/components.ts'

type Shape = readonly [number, number, number]

/** Components by flooding, one voxel after the other: their voxels, in raster order of the first ones. */
function flooded(isIn: (i: number) => boolean, [d, h, w]: Shape, connectivity: number): number[][] {
  // Voxels that share a face differ in one coordinate, an edge in two, a corner in three.
  const most = { 6: 1, 18: 2, 26: 3 }[connectivity]!
  const steps = [-1, 0, 1].flatMap((z) =>
    [-1, 0, 1].flatMap((y) => [-1, 0, 1].map((x) => [z, y, x] as const)),
  )
  const near = steps.filter((s) => {
    const n = s.filter((v) => v !== 0).length
    return n > 0 && n <= most
  })
  const seen = new Set<number>()
  const found: number[][] = []
  for (let start = 0; start < d * h * w; start++) {
    if (!isIn(start) || seen.has(start)) continue
    const voxels = [start]
    seen.add(start)
    for (const at of voxels)
      for (const [dz, dy, dx] of near) {
        const [z, y, x] = [Math.floor(at / (h * w)) + dz, (Math.floor(at / w) % h) + dy, (at % w) + dx]
        const i = (z * h + y) * w + x
        if (z < 0 || z >= d || y < 0 || y >= h || x < 0 || x >= w || !isIn(i) || seen.has(i)) continue
        seen.add(i)
        voxels.push(i)
      }
    found.push(voxels)
  }
  return found
}

const cases = fc
  .tuple(...[5, 6, 7].map((max) => fc.integer({ min: 1, max })), fc.constantFrom(0.3, 0.5, 0.8))
  .chain(([d, h, w, share]) => {
    const n = d! * h! * w!
    const voxel = fc.double({ min: 0, max: 1, noNaN: true }).map((v) => (v < share! ? 0.9 : 0.2))
    return fc.record({
      shape: fc.constant([d!, h!, w!] as Shape),
      mask: fc.array(voxel, { minLength: n, maxLength: n }),
      connectivity: fc.constantFrom<VolumeConnectivity>(6, 18, 26),
      k: fc.integer({ min: 1, max: 4 }),
    })
  })

describe('components of volumes', () => {
  test('the k largest are those that flooding finds', () => {
    fc.assert(
      fc.property(cases, ({ shape, mask, connectivity, k }) => {
        const found = flooded((i) => mask[i]! > 0.5, shape, connectivity)
        const kept = found.map((voxels, c) => ({ voxels, c }))
        kept.sort((a, b) => b.voxels.length - a.voxels.length || a.c - b.c)
        const want = new Float32Array(mask.length)
        for (const { voxels } of kept.slice(0, k)) for (const i of voxels) want[i] = 1
        expect(keepLargestInVolume(mask, shape, { k, connectivity })).toEqual(want)
      }),
    )
  })

  test('holes are what flooding does not reach from the border', () => {
    fc.assert(
      fc.property(cases, ({ shape, mask, connectivity }) => {
        const [d, h, w] = shape
        const want = Float32Array.from(mask, (v) => (v > 0.5 ? 1 : 0))
        for (const voxels of flooded((i) => !(mask[i]! > 0.5), shape, connectivity)) {
          const open = voxels.some((i) => {
            const [z, y, x] = [Math.floor(i / (h * w)), Math.floor(i / w) % h, i % w]
            return (d > 1 && (z === 0 || z === d - 1)) || y === 0 || y === h - 1 || x === 0 || x === w - 1
          })
          if (!open) for (const i of voxels) want[i] = 1
        }
        const got = fillHolesInVolume(mask, shape, { connectivity })
        expect(got).toEqual(want)
        // Nothing is left to fill.
        expect(fillHolesInVolume(got, shape, { connectivity })).toEqual(got)
      }),
    )
  })

  test('labels of a plane, in raster order', () => {
    fc.assert(
      fc.property(cases, ({ shape: [, h, w], mask }) => {
        const want = new Int32Array(h * w)
        flooded((i) => mask[i]! > 0.5, [1, h, w], 6).forEach((voxels, c) => {
          for (const i of voxels) want[i] = c + 1
        })
        expect(labelComponents(mask.slice(0, h * w), h, w)).toEqual(want)
      }),
    )
  })

  test('what hangs together over slices is one; a tunnel is no hole', () => {
    // Two slices of two pixels each that meet in one corner of the upper one.
    const bridge = [1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]
    expect([...keepLargestInVolume(bridge, [3, 2, 2])]).toEqual([1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    expect([...keepLargestInVolume(bridge, [3, 2, 2], { connectivity: 26 })]).toEqual(bridge)
    const ring = [1, 1, 1, 1, 0, 1, 1, 1, 1]
    const lid = new Array<number>(9).fill(1)
    expect([...fillHolesInVolume([...ring, ...ring, ...ring], [3, 3, 3])]).toEqual([
      ...ring,
      ...ring,
      ...ring,
    ])
    expect([...fillHolesInVolume([...lid, ...ring, ...lid], [3, 3, 3])]).toEqual([...lid, ...lid, ...lid])
    expect([...fillHolesInVolume(ring, [1, 3, 3])]).toEqual(lid)
  })

  test('what cannot be', () => {
    expect(() => keepLargestInVolume([1, 0], [1, 2, 2])).toThrow(/2 voxels do not fill 1×2×2, which wants 4/)
    expect(() => keepLargestInVolume([1], [1, 1, 1], { k: 0 })).toThrow(/k must be a whole number/)
    expect(() => fillHolesInVolume([1], [1, 1, 1], { connectivity: 8 as 6 })).toThrow(/6, 18 or 26, got 8/)
  })
})
