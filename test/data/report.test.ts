import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { readImage } from '../../src/node/image.ts'
import { overlayPng, writeReport } from '../../src/node/report.ts'
import { drawOverlay } from '../../src/report/overlay.ts'
import { distributions, learningCurves, renderPlot } from '../../src/report/plots.ts'
import { renderReport } from '../../src/report/report.ts'
import { tempFolder } from './temp.ts'

const square = (size: number, from: number, to: number) =>
  Float32Array.from({ length: size * size }, (_, i) => {
    const x = i % size
    const y = Math.floor(i / size)
    return x >= from && x < to && y >= from && y < to ? 1 : 0
  })

describe('overlays', () => {
  const image = { image: new Float32Array(64).fill(0.5), channels: 1, height: 8, width: 8 }
  const at = (drawn: ReturnType<typeof drawOverlay>, x: number, y: number) => {
    const [, h, w] = drawn.shape
    return [0, 1, 2].map((c) => Math.round(drawn.data[c * h * w + y * w + x]!))
  }

  test('truth is green, prediction magenta, both white, the rim dark, the rest the image', () => {
    const drawn = drawOverlay(image, square(8, 2, 3), square(8, 2, 3), { range: [0, 1], minSide: 1 })
    expect(at(drawn, 2, 2)).toEqual([255, 255, 255])
    expect(at(drawn, 1, 2)).toEqual([45, 45, 45])
    expect(at(drawn, 6, 6)).toEqual([128, 128, 128])
    const apart = drawOverlay(image, square(8, 0, 1), square(8, 7, 8), { range: [0, 1], minSide: 1 })
    expect(at(apart, 0, 0)).toEqual([40, 220, 90])
    expect(at(apart, 7, 7)).toEqual([255, 60, 220])
  })

  test('inside a large mask the image shows; a mask that fills the image is drawn along its border', () => {
    const drawn = drawOverlay(image, square(8, 0, 8), square(8, 9, 9), { range: [0, 1], minSide: 1 })
    expect(at(drawn, 0, 4)).toEqual([40, 220, 90])
    expect(at(drawn, 4, 4)).toEqual([128, 128, 128])
  })

  test('small images are enlarged by a whole factor; the PNG opens', async () => {
    const png = await readImage(await overlayPng(image, square(8, 2, 5), square(8, 3, 6), { minSide: 20 }))
    expect(png.shape).toEqual([3, 24, 24])
    const flat = { ...image, image: new Float32Array(64) }
    expect(
      (await readImage(await overlayPng(flat, square(8, 9, 9), square(8, 9, 9)))).data.every((v) => v === 0),
    ).toBe(true)
  })

  test('sizes that do not fit', () => {
    expect(() => drawOverlay(image, new Float32Array(63), new Float32Array(64))).toThrow(/truth 63.*need 64/)
  })
})

describe('plots', () => {
  test('learning curves: one path a series, gaps for NaN, no links', async () => {
    const svg = await learningCurves(
      [
        { name: 'a', epochs: [1, 2, 3], values: [0.1, Number.NaN, 0.3] },
        { name: 'b', epochs: [1, 2, 3], values: [0.2, 0.3, 0.4] },
      ],
      'DSC',
    )
    expect(svg).toMatch(/^<svg/)
    expect(svg).not.toMatch(/https?:|NaN/)
    expect(svg.match(/aria-roledescription="line mark"/g)).toHaveLength(2)
    expect(svg).toContain('>DSC<')
  })

  test('distributions name their groups in full', async () => {
    const name = 'Polar, with origins from the Cartesian network'
    expect(await distributions([{ name, values: [0.1, 0.5, 0.9] }], 'DSC')).toContain(name)
  })

  test('renderPlot takes any chart', async () => {
    const spec = {
      data: { values: [{ x: 1 }] },
      mark: 'point',
      encoding: { x: { field: 'x', type: 'quantitative' } },
    }
    expect(await renderPlot(spec as Parameters<typeof renderPlot>[0])).toMatch(/^<svg.*<\/svg>$/s)
  })
})

describe('the report', () => {
  const report = {
    title: 'A <b>bold</b> & "quoted" title',
    adapter: 'llvmpipe',
    tables: [
      {
        title: 'Scores',
        columns: ['Method', 'DSC', 'ms', 'n'],
        rows: [
          ['x', 0.91234, 24, 3],
          ['y', Number.NaN, 122.44, 4],
          ['z', -0.5, 1, 5],
        ],
        note: 'note',
      },
    ],
    curves: [{ title: 'Loss', yLabel: 'loss', series: [{ name: '<i>', epochs: [1, 2], values: [1, 0.5] }] }],
    distributions: [{ title: 'Spread', xLabel: 'DSC', groups: [{ name: 'x', values: [0.5, 0.7] }] }],
    overlays: [{ title: 'Worst', figures: [{ caption: 'id', png: Uint8Array.from([1, 2, 3]) }] }],
  }

  test('is one file that fetches nothing and escapes what it is given', async () => {
    const path = join(await tempFolder(), 'report.html')
    await writeReport(path, report)
    const html = await readFile(path, 'utf8')
    expect(html).toMatch(/^<!doctype html>/)
    expect(html).not.toMatch(/https?:|<script|<link|<b>|<i>|@import|url\(/)
    expect(html).toContain('A &lt;b&gt;bold&lt;/b&gt; &amp; &quot;quoted&quot; title')
    expect(html).toContain('data:image/png;base64,AQID')
    expect(html.match(/<svg class="chart"|class="chart"/g)).toHaveLength(2)
  })

  test('numbers of a column share their decimals', async () => {
    const html = await renderReport(report)
    for (const cell of ['0.912', '–', '−0.500', '24.0', '122.4', '1.0', '3']) {
      expect(html).toContain(`<td class="number">${cell}</td>`)
    }
  })

  test('needs only a title and an adapter', async () => {
    expect(await renderReport({ title: 'x', adapter: 'y' })).not.toMatch(/undefined|<h2>/)
  })
})
