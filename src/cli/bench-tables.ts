import type { Ceiling } from '../../bench/ceiling.ts'
import type { Comparison, PeerReport } from '../../bench/compare.ts'
import type { DealtRow } from '../../bench/dealt.ts'
import { byOp, type FloorRow } from '../../bench/floors.ts'
import type { InputReport, InputRow } from '../../bench/input.ts'
import type { KernelRow } from '../../bench/kernels.ts'
import type { WorkRow } from '../../bench/networks.ts'
import type { ObjectsRow } from '../../bench/objects.ts'
import { type PixelsRow, spread } from '../../bench/pixels.ts'
import type { NetworkProfile } from '../../bench/profile.ts'
import type { StartTimes, startTimes } from '../../bench/start.ts'

const cell = (text: string | number, width: number): string => String(text).padStart(width)
/** A column: its head, its width, and what stands in it. */
type Column<T> = readonly [head: string, width: number, of: (row: T) => string]

const head = <T>(columns: readonly Column<T>[]): string =>
  columns.map(([name, width], i) => (i === 0 ? name.padEnd(width) : cell(name, width))).join('')
const line = <T>(columns: readonly Column<T>[], row: T): string =>
  columns.map(([, width, of], i) => (i === 0 ? of(row).padEnd(width) : cell(of(row), width))).join('')

const percent = (part: number): string => `${(100 * part).toFixed(0)} %`
const megabytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(1)

export const ceilingLine = ({ gflops, gathers, copies }: Ceiling): string =>
  `ceiling: ${gflops.toFixed(1)} GFLOP/s multiply-adds; ${gathers.toFixed(2)} G values/s gathered; copies of ` +
  copies.map((c) => `${megabytes(c.bytes / 2)} MB ${c.gbs.toFixed(1)} GB/s`).join(', ')

const KERNEL: readonly Column<KernelRow>[] = [
  ['kernel', 52, (r) => r.name],
  ['least ms', 10, (r) => r.min.toFixed(3)],
  ['median', 10, (r) => r.median.toFixed(3)],
  ['GFLOP/s', 10, (r) => r.gflops.toFixed(2)],
  ['GB/s', 9, (r) => r.gbs.toFixed(2)],
  ['floor/time', 11, (r) => percent(r.share)],
  ['ns/pixel', 10, (r) => r.nsPerPixel?.toFixed(2) ?? ''],
]
export const kernelHead = head(KERNEL)
export const kernelLine = (r: KernelRow): string => line(KERNEL, r)

const WORK: readonly Column<WorkRow>[] = [
  ['work', 46, (r) => r.name],
  ['median ms', 11, (r) => r.ms.toFixed(1)],
  ['least', 10, (r) => r.min.toFixed(1)],
  ['ns/pixel', 10, (r) => ((1e6 * r.ms) / r.pixels).toFixed(0)],
  ['launches', 10, (r) => String(r.dispatches)],
  ['submits', 9, (r) => String(r.submissions)],
  ['buffers', 9, (r) => String(r.newBuffers)],
  ['JS ms', 8, (r) => r.jsMs.toFixed(2)],
  ['least', 7, (r) => r.jsMinMs.toFixed(2)],
  ['first ms', 10, (r) => r.firstMs.toFixed(0)],
  ['GPU MB', 9, (r) => megabytes(r.heldBytes)],
]
export const workHead = head(WORK)
export const workLine = (r: WorkRow): string => line(WORK, r)

const floorColumns = (name: string, of: (r: FloorRow) => string): readonly Column<FloorRow>[] => [
  [name, 62, of],
  ['launches', 9, (r) => String(r.launches)],
  ['ms', 10, (r) => r.ms.toFixed(2)],
  ['floor', 10, (r) => r.floorMs.toFixed(2)],
  ['lost', 10, (r) => r.lostMs.toFixed(2)],
  ['GFLOP/s', 9, (r) => (r.gflops > 0 ? r.gflops.toFixed(1) : '–')],
  ['GB/s', 8, (r) => r.gbs.toFixed(1)],
]
const BY_KERNEL = floorColumns('kernel, op', ({ kernel, op }) => {
  const [file, entry] = kernel.split('/')
  return `${file!.startsWith(entry!) ? file : kernel}, ${op}`
})
const BY_OP = floorColumns('op', (r) => r.op)

const floorLines = (columns: readonly Column<FloorRow>[], rows: readonly FloorRow[], totalMs: number) => [
  `  ${head(columns)}`,
  ...rows.filter((r) => r.ms >= 0.005 * totalMs).map((r) => `  ${line(columns, r)}`),
]

/** A profile of a network: totals, then kernels and ops, most lost first; those under 0.5 % of the time are left out. */
export function profileText(p: NetworkProfile): string {
  return [
    `${p.name}: ${p.ms.toFixed(1)} ms median, ${p.min.toFixed(1)} least of ${p.runs} runs, ` +
      `${((1e6 * p.ms) / p.pixels).toFixed(0)} ns a pixel`,
    `  ${p.kernelMs.toFixed(1)} ms in ${p.dispatches} launches (${p.clock}, each one's least), floor ${p.floorMs.toFixed(1)} ms; ` +
      `${p.submissions} submission, ${p.newBuffers} new buffers, ${p.jsMs.toFixed(2)} ms JavaScript (least ${p.jsMinMs.toFixed(2)}); ` +
      `peak ${megabytes(p.peakBytes)} MB`,
    ...floorLines(BY_KERNEL, p.byKernel, p.kernelMs),
    ...floorLines(BY_OP, byOp(p.byKernel), p.kernelMs),
    '',
  ].join('\n')
}

export function startText({ cold, warm, oneByOne }: ReturnType<typeof startTimes>): string {
  const columns: readonly Column<readonly [string, StartTimes]>[] = [
    ['start, medians in ms', 36, ([name]) => name],
    ['to device', 11, ([, t]) => t.openMs.toFixed(0)],
    ['network', 9, ([, t]) => t.buildMs.toFixed(0)],
    ['first step', 12, ([, t]) => t.firstStepMs.toFixed(0)],
    ['second', 9, ([, t]) => t.secondStepMs.toFixed(0)],
    ['pipelines', 11, ([, t]) => String(t.pipelines)],
  ]
  const rows = [
    ['shader cache empty', cold],
    ['shader cache full', warm],
    ['full, kernels one after the other', oneByOne],
  ] as const
  return [head(columns), ...rows.map((row) => line(columns, row)), ''].join('\n')
}

const DEALT: readonly Column<DealtRow>[] = [
  ['work, ms', 46, (r) => r.name],
  ['cut', 9, (r) => r.cutMs.toFixed(1)],
  ['least', 9, (r) => r.cutMin.toFixed(1)],
  ['dealt out', 11, (r) => r.dealtMs.toFixed(1)],
  ['least', 9, (r) => r.dealtMin.toFixed(1)],
  ['ratio', 8, (r) => (r.dealtMs / r.cutMs).toFixed(2)],
  ['least', 7, (r) => (r.dealtMin / r.cutMin).toFixed(2)],
  ['rounds', 8, (r) => String(r.rounds)],
]
export const dealtHead = head(DEALT)
export const dealtLine = (r: DealtRow): string => line(DEALT, r)

const PIXELS: readonly Column<PixelsRow>[] = [
  ['work', 46, (r) => `${r.title} ${r.phase} ${r.batch}×${r.side}²`],
  ['median ms', 11, (r) => r.ms.toFixed(1)],
  ['least', 10, (r) => r.min.toFixed(1)],
  ['ns/pixel', 10, (r) => ((1e6 * r.ms) / r.pixels).toFixed(0)],
  ['least', 10, (r) => ((1e6 * r.min) / r.pixels).toFixed(0)],
  ['rounds', 8, (r) => String(r.rounds)],
]
export const pixelsHead = head(PIXELS)
/** Rows of one phase at all sizes, and how far they lie apart. */
export const pixelsLines = (rows: readonly PixelsRow[]): string =>
  [
    ...rows.map((r) => line(PIXELS, r)),
    `  dearest / cheapest pixel: ${spread(rows, (r) => r.ms).toFixed(2)} by medians, ` +
      `${spread(rows, (r) => r.min).toFixed(2)} by the least`,
  ].join('\n')

export function inputText({
  folder,
  images,
  decodeMs,
  rows,
  network,
  batch,
  channels,
  side,
}: InputReport): string {
  const columns: readonly Column<InputRow>[] = [
    ['images come from', 30, (r) => r.source],
    ['step ms', 10, (r) => r.ms.toFixed(1)],
    ['waits ms', 10, (r) => r.waitMs.toFixed(2)],
    ['longest', 10, (r) => r.longestWaitMs.toFixed(2)],
    ['at start', 10, (r) => r.fillingMs.toFixed(1)],
    ['GPU idle ms', 13, (r) => r.idleMs?.toFixed(2) ?? ''],
    ['idle at most', 14, (r) => r.longestIdleMs?.toFixed(2) ?? ''],
  ]
  const files =
    `training step of ${network}, ${batch}×${channels}×${side}²; ${folder}: ${images} images; one takes ` +
    `${decodeMs.toFixed(1)} ms to read, decode and resize`
  return [files, '', head(columns), ...rows.map((row) => line(columns, row)), ''].join('\n')
}

export function objectsText(rows: readonly ObjectsRow[]): string {
  const columns: readonly Column<ObjectsRow>[] = [
    ['method, networks of', 58, (r) => r.method],
    ['images', 8, (r) => String(r.images)],
    ['objects', 9, (r) => String(r.objects)],
    ['whole ms', 10, (r) => r.ms.toFixed(1)],
    ['rough', 9, (r) => r.roughMs.toFixed(1)],
    ['fine', 9, (r) => r.fineMs.toFixed(1)],
    ['rest', 9, (r) => r.restMs.toFixed(1)],
    ['rest/nets', 11, (r) => percent(r.share)],
    ['whole/rough', 13, (r) => `${r.passes.toFixed(1)}×`],
  ]
  const parts = (r: ObjectsRow) =>
    r.parts
      .filter((p) => p.ms >= 0.05)
      .map((p) => `${p.op} ${p.ms.toFixed(1)}`)
      .join(', ')
  return [
    head(columns),
    ...rows.map((row) => line(columns, row)),
    '',
    ...rows.map((r) => `rest of ${r.method} on the GPU, ms: ${parts(r)}`),
    '',
  ].join('\n')
}

export function comparisonText(rows: readonly Comparison[], peers: readonly PeerReport[]): string {
  const lines = [
    `\n${'median ms'.padEnd(46)}${cell('fovea', 10)}${peers.map((p) => cell(p.peer, 28)).join('')}`,
  ]
  for (const r of rows) {
    const others = peers.map((p) => {
      const found = r.peers.find((x) => x.peer === p.peer)
      return cell(found ? `${found.ms.toFixed(1)} (${found.ratio.toFixed(1)}×)` : '–', 28)
    })
    lines.push(`${r.name.padEnd(46)}${cell(r.fovea.toFixed(1), 10)}${others.join('')}`)
  }
  return lines.join('\n')
}
