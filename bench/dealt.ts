import type { Device } from '../src/autograd/device.ts'
import { FoveaError } from '../src/gpu/errors.ts'
import { median, timeInTurns } from './measure.ts'

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
    const forms: ReturnType<Work['setup']>[] = []
    try {
      for (const form of [undefined, deal]) {
        device.deal = form
        const made = setup(device)
        // Captured and compiled, in this form.
        made.call()
        forms.push(made)
      }
    } finally {
      device.deal = deal
    }
    const calls = forms.map((form) => form.call)
    const [cut, dealt] = (await timeInTurns(device, calls, { budgetMs })) as [number[], number[]]
    for (const form of forms) form.dispose()
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
