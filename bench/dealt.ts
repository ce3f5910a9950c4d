import type { Device } from '../src/autograd/device.ts'
import { FoveaError } from '../src/gpu/errors.ts'
import { batchMs, median } from './measure.ts'

/** A piece of work with its launches' workgroups dealt out (src/gpu/deal.ts) and as the driver cuts them, in turns. */
export interface DealtRow {
  readonly name: string
  /** Milliseconds, medians and least of `rounds`. */
  readonly cutMs: number
  readonly cutMin: number
  readonly dealtMs: number
  readonly dealtMin: number
  readonly rounds: number
}

/** What is timed: `setup` makes it anew for each form. */
export interface Work {
  readonly name: string
  setup(device: Device): { readonly call: () => void; dispose(): void }
}

/** Milliseconds of a round of one form, about. */
const ROUND_MS = 120

/** Times work in turns on one device. Throws a FoveaError on an adapter whose launches are not dealt out. */
export async function benchDealt(
  device: Device,
  works: readonly Work[],
  { budgetMs = 4000, onRow = (_: DealtRow) => {} } = {},
): Promise<DealtRow[]> {
  const { deal } = device
  if (!deal) {
    throw new FoveaError(
      `bench --dealt: ${device.adapter.name} is given launches as they are; it takes lavapipe, a CPU driver with subgroups of eight`,
    )
  }
  const rows: DealtRow[] = []
  for (const { name, setup } of works) {
    const forms: { made: ReturnType<Work['setup']>; times: number[] }[] = []
    try {
      for (const form of [undefined, deal]) {
        device.deal = form
        const made = setup(device)
        // Captured and compiled, in this form.
        made.call()
        forms.push({ made, times: [] })
      }
    } finally {
      device.deal = deal
    }
    const [cut, dealt] = forms.map((f) => f.times) as [number[], number[]]
    await device.idle()
    const first = await batchMs(device, forms[0]!.made.call, 1)
    const count = Math.min(1000, Math.max(1, Math.round(ROUND_MS / first)))
    const end = performance.now() + budgetMs
    while (dealt.length < 5 || performance.now() < end) {
      for (const { made, times } of forms) times.push((await batchMs(device, made.call, count)) / count)
    }
    for (const { made } of forms) made.dispose()
    rows.push({
      name,
      cutMs: median(cut),
      cutMin: Math.min(...cut),
      dealtMs: median(dealt),
      dealtMin: Math.min(...dealt),
      rounds: dealt.length,
    })
    onRow(rows.at(-1)!)
  }
  return rows
}
