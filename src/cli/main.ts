#!/usr/bin/env node
import { hostIo } from './io.ts'

try {
  const { runCommand } = await import('./run.ts')
  process.exitCode = await runCommand(process.argv.slice(2), hostIo())
} catch (error) {
  const missing = (error as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND'
  const advice = missing ? '; run `npm install` without --omit=optional' : ''
  process.stderr.write(`fovea: ${(error as Error).message.split('\n')[0]}${advice}\n`)
  process.exitCode = 1
}
// Dawn keeps the event loop alive as long as a device is open.
const { exitCode } = process
process.stdout.write('', () => process.exit(exitCode))
