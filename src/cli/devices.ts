import type { Command } from 'commander'
import { AdapterError } from '../gpu/errors.ts'
import { type AdapterReport, listAdapters } from '../node/adapters.ts'
import type { Io } from './io.ts'
import { formatTable } from './table.ts'

function describe({ platform, entries, reason, hint }: AdapterReport): string {
  const rows = entries.map((e) => [e.chosen ? '→' : '', e.kind, e.found ? 'found' : 'missing', e.detail])
  const table = formatTable(['', 'kind', 'state', 'adapter, or why not'], rows)
  return `WebGPU adapters on ${platform}\n\n${table}\nChosen: ${reason}.\n${hint}\n`
}

/** `fovea devices`: what there is, what is taken and why, how to get a faster one. */
export function devicesCommand(program: Command, io: Io): void {
  program
    .command('devices')
    .description('list the WebGPU adapters of this machine, which one is taken and why')
    .option('--adapter <name>', 'auto, hardware, software, lavapipe, swiftshader or a part of a name', 'auto')
    .option('--json', 'print JSON on standard output')
    .addHelpText(
      'after',
      `
Examples:
  fovea devices                         what this machine has
  fovea devices --adapter swiftshader   what a run with that adapter would take
  fovea devices --json | jq .reason     for machines`,
    )
    .action(async ({ adapter, json }: { adapter: string; json?: boolean }) => {
      const report = await listAdapters({ adapter })
      io.out(json ? `${JSON.stringify(report, null, 2)}\n` : describe(report))
      if (!report.entries.some((e) => e.chosen))
        throw new AdapterError(`${report.reason}; a program that asks for it gets no device`)
    })
}
