import type { Command } from 'commander'
import { NETWORKS } from '../../bench/catalog.ts'
import { buildNetwork, nameOf, PHASES } from '../../bench/networks.ts'
import { tune, type VariantTiming } from '../gpu/tune.ts'
import { tunerOf } from '../gpu/tuner.ts'
import { ChoiceFile } from '../node/choice-file.ts'
import { openDevice } from '../node/open.ts'
import { Interrupted } from '../runs/host.ts'
import { type CaseOptions, casesOf, count, counts, networks } from './bench-options.ts'
import { type Io, unlessInterrupted } from './io.ts'
import { adapterOption, precisionOption } from './options.ts'
import { formatTable } from './table.ts'

interface TuneOptions extends CaseOptions {
  readonly adapter: string
  readonly again?: boolean
  readonly json?: boolean
}

/** `fovea tune`: measures the kernels that compute the same and keeps the fastest for this machine. */
export function tuneCommand(program: Command, io: Io): void {
  program
    .command('tune')
    .description('measure which kernels are fastest here for the shapes of a network, and keep the answers')
    .addOption(adapterOption())
    .option('--network <names>', `of ${Object.keys(NETWORKS).join(', ')}`, networks, ['unet'])
    .option('--features <n,…>', 'channels of the first level, for networks that have a width', counts, [8])
    .option('--channels <n>', 'channels of the images', count, 1)
    .option('--batch <n,…>', 'images a batch', counts, [4])
    .option('--size <px,…>', 'sides of the images, pixels', counts, [64])
    .addOption(precisionOption('arithmetic of the networks').default('float32'))
    .option('--again', 'measure also what was measured before')
    .option('--json', 'print every timing as JSON on standard output')
    .addHelpText(
      'after',
      `
The answers are kept in fovea's cache folder, a file an adapter, and taken by programs that ask for them: by
--tune cached, FOVEA_TUNE=cached, or openDevice({ tune: 'cached' }). Other kernels add in another order, so
results differ in their last bits; a run notes its choices in its checkpoint and is resumed with the same.

Examples:
  fovea tune                                        U-Net with 8 features, batches of 4 images of 64²
  fovea tune --features 32 --batch 8 --size 256     as in the thesis
  fovea train --data data/lesion --tune cached      trains with the answers`,
    )
    .action((options: TuneOptions) => runTune(options, io))
}

async function runTune(options: TuneOptions, io: Io): Promise<void> {
  const cases = casesOf('tune', options)
  const device = await openDevice({ adapter: options.adapter, tune: 'measure' })
  const tuner = tunerOf(device)
  try {
    io.err(`adapter: ${tuner.adapter}\n`)
    if (options.again) tuner.clear()
    const timings: VariantTiming[] = []
    for (const each of cases) {
      const built = buildNetwork(device, each)
      for (const phase of PHASES) {
        io.err(`${nameOf(each, phase)} …\n`)
        const tuned = tune(device, built.phase(phase))
        timings.push(...(await unlessInterrupted(io, tuned, 'stopped; what was measured so far is kept')))
      }
      built.dispose()
    }
    const { adapter } = tuner
    if (options.json) io.out(`${JSON.stringify({ adapter, timings }, null, 1)}\n`)
    else io.out(tuneText(timings))
    const kept = await tuner.save()
    io.err(
      kept
        ? `Kept in ${new ChoiceFile().pathOf(adapter)}.\n`
        : 'Nothing could be kept: the cache folder cannot be written.\n',
    )
  } catch (error) {
    if (error instanceof Interrupted) await tuner.save()
    throw error
  } finally {
    device.destroy()
  }
}

/** One line for each question: what is taken, and what it is faster than. */
function tuneText(timings: readonly VariantTiming[]): string {
  if (timings.length === 0) return 'Everything was measured before; --again measures anew.\n'
  const keys = [...new Set(timings.map((t) => t.key))]
  const rows = keys.map((key) => {
    const [first, ...others] = timings.filter((t) => t.key === key)
    const taken = [first!, ...others].find((t) => t.chosen) ?? first!
    return [key, taken.variant, taken.ms.toFixed(3), first!.variant, first!.ms.toFixed(3)]
  })
  return formatTable(['op', 'taken', 'ms', 'first candidate', 'ms'], rows)
}
