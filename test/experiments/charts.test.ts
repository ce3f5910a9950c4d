import { expect, test } from 'vitest'
import { lines, violins } from '../../src/experiments/charts.ts'

test('a violin is as wide as its values are spread, with a line at their median', async () => {
  const svg = await violins(
    [
      { name: 'all alike', values: new Array(9).fill(0) },
      { name: 'spread', values: [0.1, 0.5, 0.6, 0.7, 0.9] },
      { name: 'DermIS → DermQuest, U-Net, trained as long, 32²', values: [0.5] },
    ],
    'DSC',
  )
  expect(svg).toContain('trained as long, 32²</text>')
  // Bands begin at the left, the x of DSC 0, and are 400 px wide for 1.
  const bands = [...svg.matchAll(/aria-roledescription="area mark"[^>]* d="([^"]*)"/g)].map(([, path]) =>
    [...path!.matchAll(/([\d.]+),([\d.]+)/g)].map(([, x, y]) => [Number(x), Number(y)] as const),
  )
  const spans = bands.map((points) => points.filter(([, y]) => Math.abs(y - 23) > 0.5).map(([x]) => x))
  expect(Math.min(...spans[0]!)).toBe(0)
  expect(Math.max(...spans[0]!)).toBeLessThan(16)
  expect(Math.max(...spans[1]!)).toBeGreaterThan(380)
  const medians = [...svg.matchAll(/aria-roledescription="rule mark" transform="translate\(([\d.]+),/g)]
  expect(medians.map(([, x]) => Number(x))).toEqual([0, 240, 200])
})

test('a line over one share or size has that number on its axis, without decimals', async () => {
  const svg = await lines([{ name: 'a', points: [{ x: 100, y: 0.5, sd: 0.1 }] }], 'share, %', 'DSC')
  expect(svg).toMatch(/>100</)
  expect(svg).not.toMatch(/100\.0/)
  const points = [32, 64].map((x) => ({ x, y: 0.5 }))
  const sizes = await lines([{ name: 'a', points }], 'input size, px', 'DSC')
  expect(sizes).toMatch(/>32<[\s\S]*>64</)
})
