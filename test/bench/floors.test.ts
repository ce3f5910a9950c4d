import { expect, test } from 'vitest'
import { bandwidthFor, type Ceiling } from '../../bench/ceiling.ts'
import { byKernel, byOp, floorOf, leastLaunches } from '../../bench/floors.ts'
import { median } from '../../bench/measure.ts'

/** 100 GFLOP/s, 10 GB/s from memory, 40 GB/s where a copy of 1 MB stays in a cache. */
const ceiling: Ceiling = {
  gflops: 100,
  gathers: 2,
  gbs: 10,
  copies: [
    { bytes: 2 ** 18, gbs: 20 },
    { bytes: 2 ** 20, gbs: 40 },
    { bytes: 2 ** 26, gbs: 10 },
  ],
}
const launch = (kernel: string, op: string, ms: number, flops: number, bytes: number) => ({
  kernel,
  op,
  ms,
  flops,
  bytes,
})

test('bandwidth: the best of copies as large or larger; beyond the largest, that of memory', () => {
  expect(bandwidthFor(1000, ceiling)).toBe(40)
  expect(bandwidthFor(2 ** 20, ceiling)).toBe(40)
  expect(bandwidthFor(2 ** 20 + 1, ceiling)).toBe(10)
  expect(bandwidthFor(2 ** 30, ceiling)).toBe(10)
})

test('a floor is that of bytes or of operations, whichever takes longer', () => {
  expect(floorOf({ flops: 0, bytes: 100e6 }, ceiling)).toBeCloseTo(10)
  expect(floorOf({ flops: 2e9, bytes: 100e6 }, ceiling)).toBeCloseTo(20)
  expect(floorOf({ flops: 2e9, bytes: 100e6, taps: 60e6 }, ceiling)).toBeCloseTo(30)
})

test('floors add up launch by launch, not over sums; most lost comes first; ops are sums of kernels', () => {
  const launches = [
    launch('conv/conv', 'conv2d', 30, 1e9, 0),
    launch('conv/conv', 'conv2d', 15, 0, 100e6),
    launch('reduce/reduce', 'conv2d', 1, 0, 0),
    launch('relu/relu', 'relu', 90, 0, 100e6),
  ]
  const rows = byKernel(launches, ceiling)
  expect(rows.map((r) => [r.kernel, r.launches, r.ms])).toEqual([
    ['relu/relu', 1, 90],
    ['conv/conv', 2, 45],
    ['reduce/reduce', 1, 1],
  ])
  expect(rows[1]!.floorMs).toBeCloseTo(20)
  expect(rows[1]!.lostMs).toBeCloseTo(25)
  expect(rows[1]!.gflops).toBeCloseTo(1e9 / 45 / 1e6)
  const ops = byOp(rows)
  expect(ops.map((r) => [r.op, r.launches, r.ms])).toEqual([
    ['relu', 1, 90],
    ['conv2d', 3, 46],
  ])
  expect(ops[1]!.floorMs).toBeCloseTo(20)
  expect(ops[1]!.gflops).toBeCloseTo(1e9 / 46 / 1e6)
})

test('launches take the least of their profiles; profiles of different steps are refused', () => {
  const of = (...ms: number[]) => ms.map((t, i) => launch(`k${i}/k`, 'op', t, 0, 0))
  expect(leastLaunches([of(1, 9), of(5, 2), of(3, 4)]).map((l) => l.ms)).toEqual([1, 2])
  expect(() => leastLaunches([of(1, 2), of(1)])).toThrow(/different steps/)
})

test('the median of an even number of values is the mean of the two in the middle', () => {
  expect(median([4, 1, 3, 2])).toBe(2.5)
  expect(median([5, 1, 3])).toBe(3)
})
