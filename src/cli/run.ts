import { Command, CommanderError } from 'commander'
import { CheckpointError, DataError } from '../gpu/errors.ts'
import { Interrupted } from '../runs/host.ts'
import { dataCommand } from './data.ts'
import { devicesCommand } from './devices.ts'
import { evaluateCommand } from './evaluate.ts'
import { exportCommand } from './export.ts'
import { EXIT, type Io } from './io.ts'
import { predictCommand } from './predict.ts'
import { trainCommand } from './train.ts'

const AFTER = `
Exit codes: 0 done; 1 an error; 2 wrong usage or data that cannot be used; 130 interrupted by Ctrl-C.
Environment: FOVEA_ADAPTER stands in for --adapter, FOVEA_TUNE for --tune,
FOVEA_PROFILE=1 prints a profile of the kernels,
FOVEA_DEBUG=1 prints the stack of an error, FOVEA_CACHE names the folder for unpacked files.`

async function programFor(argv: readonly string[], io: Io): Promise<Command> {
  const program = new Command('fovea')
    .description('Data-efficient segmentation of medical images on WebGPU: train, score, predict.')
    .addHelpText('after', AFTER)
    .exitOverride()
    .configureOutput({ writeOut: (text) => io.out(text), writeErr: (text) => io.err(text) })
    .showHelpAfterError('(add --help for the options and examples)')
  trainCommand(program, io)
  evaluateCommand(program, io)
  predictCommand(program, io)
  exportCommand(program, io)
  dataCommand(program, io)
  devicesCommand(program, io)
  // They load what no other command needs.
  const [first = '--help'] = argv
  const help = ['help', '--help', '-h'].includes(first)
  if (help || first === 'tune') (await import('./tune.ts')).tuneCommand(program, io)
  if (help || first === 'reproduce') (await import('./reproduce.ts')).reproduceCommand(program, io)
  if (help || first === 'bench') (await import('./bench.ts')).benchCommand(program, io)
  return program
}

/** Runs one command line. Gives the exit code; every error is printed as one sentence. */
export async function runCommand(argv: readonly string[], io: Io): Promise<number> {
  try {
    const program = await programFor(argv, io)
    await program.parseAsync([...argv], { from: 'user' })
    return EXIT.ok
  } catch (error) {
    // Commander has printed its message already.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage
    const { message, stack } = error as Error
    io.err(`fovea: ${process.env.FOVEA_DEBUG === '1' ? stack : message}\n`)
    if (error instanceof Interrupted) return EXIT.interrupted
    return error instanceof DataError || error instanceof CheckpointError ? EXIT.usage : EXIT.error
  }
}
